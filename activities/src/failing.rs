//! Records persistent failures, on the same path for all activities and for the parts of long ones. It logs an error
//! and raises an alarm; Temporal stores the failure, which `settle explain` and the dashboard show.
//!
//! Nothing is given up here. Stored data may have been written by another version of settle; the version that can read
//! it, or a recovered database, continues the work.

use crate::dependencies::Context;
use crate::failure::{self, Failed};
use crate::streak::Streak;
use domain::{CollapseKey, DestinationId, PlatformId, TransferId};
use std::future::Future;
use std::time::Duration;
use storage::{About, Error, Refusal, chain};
use temporalio_common::ActivityError;
use temporalio_sdk::activities::ActivityContext;
use tokio::time::Instant;

/// The attempt that raises an alarm if the database permanently refuses a write. It is made a few seconds after the
/// first one, or half a minute for a delivery, which is retried more slowly. Every further attempt raises it too, since
/// an attempt that is lost with its worker, or takes too long, raises none.
const REFUSALS: u32 = 3;
/// Number of consecutive temporary failures that raise an alarm. Every further failure raises it too.
const FAILURES: u32 = 5;
/// If the first failure is at least this old, the second and every further failure raise the alarm too.
const FAILING_FOR: Duration = Duration::from_secs(30);
/// While nothing succeeds, only every failure whose number is a multiple of this one raises the alarm: the database is
/// then unavailable, for which there are separate alarms.
const FAILURES_WITHOUT_DATABASE: u32 = 20;
/// The work of an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The settling of a purchase.
    Settling(CollapseKey),
    /// The deliveries of a purchase to a destination.
    Lane(CollapseKey, DestinationId),
    /// All pending deliveries of a destination.
    Backlog(DestinationId),
    /// The device events for a destination.
    Stream(DestinationId),
    /// The claims of the devices on a platform.
    Claims(PlatformId),
    Sweep,
    /// The announcement of a large transfer by the sweep.
    Transfer(TransferId),
    /// An admin's request about a purchase.
    PurchaseRequest(CollapseKey),
    /// An admin's request about a destination.
    DestinationRequest(DestinationId),
}

/// A failure of an activity, or of a part of it.
#[derive(Debug, Clone, Copy)]
pub struct FailedAttempt<'a> {
    pub activity: &'a str,
    /// Number of the failed attempt, from 1.
    pub attempt: u32,
    /// The consecutive failures that include this one.
    pub streak: Streak,
    pub error: &'a Error,
}

impl Context {
    /// Runs an activity, records its failure, and converts the failure into Temporal's form.
    pub async fn noting<T, E>(
        &self,
        ctx: &ActivityContext,
        work: Work,
        run: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ActivityError>
    where
        Failed: From<E>,
    {
        let (activity, attempt) = (ctx.info().activity_type.as_str(), ctx.info().attempt);
        let name = || format!("{activity}/{work:?}");
        let failed = match run.await.map_err(Failed::from) {
            Err(Failed::Storage(error)) => error,
            other => {
                // A request that waits for an endpoint has already read and written everything it needed.
                self.raised.streaks.succeeded(name, Instant::now());
                return other.map_err(|failed| failure::failure(failed, attempt));
            }
        };
        let streak = self.raised.streaks.failed(name(), Instant::now());
        self.note(
            work,
            FailedAttempt {
                activity,
                attempt,
                streak,
                error: &failed,
            },
        )
        .await;
        Err(failure::failure(Failed::Storage(failed), streak.count))
    }

    /// Records that the database permanently refuses a part of an activity, which continues without that part.
    pub async fn note_part(&self, work: Work, activity: &str, error: &Error) {
        let streak = Streak {
            count: FAILURES,
            age: FAILING_FOR,
            others_succeed: true,
        };
        self.note(
            work,
            FailedAttempt {
                activity,
                attempt: FAILURES,
                streak,
                error,
            },
        )
        .await;
    }

    async fn note(&self, work: Work, failure: FailedAttempt<'_>) {
        let FailedAttempt {
            activity,
            attempt,
            streak,
            error,
        } = failure;
        let (key, destination, platform) = work.ids();
        let cause = chain(error);
        if error.is_of_request() {
            // Nothing is retried: the request is wrong, or its subject no longer exists.
            tracing::warn!(
                activity,
                collapse_key = key,
                destination.id = destination,
                error = cause,
                "an activity failed"
            );
            return;
        }
        if !is_too_many(attempt, streak, error) {
            tracing::debug!(
                activity,
                collapse_key = key,
                destination.id = destination,
                attempt,
                error = cause,
                "an activity failed, and is tried again"
            );
            return;
        }
        tracing::error!(
            activity,
            collapse_key = key,
            destination.id = destination,
            platform.id = platform,
            attempt,
            error = cause,
            "an activity keeps failing"
        );
        let (kind, detail) = (work.alarm(), detail(work, error));
        let about = self.about(work, error).await;
        let alarm = format!("{kind}/{about:?}/{detail}");
        if self.raised.is_due(&alarm, Instant::now())
            && let Err(error) = self.store.alarm(about, kind, &detail).await
        {
            self.raised.forget(&alarm);
            tracing::warn!(
                activity,
                kind,
                error = chain(&error),
                "the alarm about an activity that keeps failing was not stored"
            );
        }
    }

    /// Returns the subject of an alarm: the failing work, or the installation if the cause affects all work.
    async fn about(&self, work: Work, error: &Error) -> About {
        if !is_of_data(error) {
            return About::All;
        }
        match work {
            Work::Settling(key) | Work::PurchaseRequest(key) => self
                .store
                .platform_of(key)
                .await
                .ok()
                .flatten()
                .map_or(About::All, About::Platform),
            Work::Lane(_, id)
            | Work::Backlog(id)
            | Work::Stream(id)
            | Work::DestinationRequest(id) => About::Destination(id),
            Work::Claims(id) => About::Platform(id),
            Work::Sweep | Work::Transfer(_) => About::All,
        }
    }
}

impl Work {
    /// Returns the kind of the alarm.
    const fn alarm(self) -> &'static str {
        match self {
            Self::Settling(_) => "settling_fails",
            Self::Lane(..) | Self::Backlog(_) | Self::Stream(_) => "delivering_fails",
            Self::Claims(_) => "claims_fail",
            Self::Sweep | Self::Transfer(_) => "sweep_fails",
            Self::PurchaseRequest(_) | Self::DestinationRequest(_) => "request_fails",
        }
    }

    /// Returns what fails, and where to find details. The texts name no purchase, so that there is a single such alarm,
    /// which is counted.
    const fn sentences(self) -> (&'static str, &'static str) {
        match self {
            Self::Settling(_) => (
                "a purchase cannot be settled and is retried",
                "the log names the purchase, and `settle explain purchase ID` shows its failure",
            ),
            Self::Lane(..) | Self::Backlog(_) => (
                "deliveries to this destination cannot be made or recorded and are retried",
                "the log names the purchase, and `settle explain destination ID` shows the failure",
            ),
            Self::Stream(_) => (
                "events of devices cannot be delivered to this destination or recorded and are retried",
                "`settle explain destination ID` shows the failure",
            ),
            Self::Claims(_) => (
                "a purchase that a device reported cannot be verified and is retried",
                "the log names the purchase, and `settle explain purchase ID` shows its failure",
            ),
            Self::Sweep => (
                "the sweep fails and is retried",
                "`settle status` shows the last one that finished",
            ),
            Self::Transfer(_) => (
                "a transfer of purchases cannot be announced and is retried",
                "later transfers of its two customers wait for it",
            ),
            Self::PurchaseRequest(_) => (
                "the request of an admin about a purchase cannot be executed and is retried",
                "the log names the purchase, and `settle explain purchase ID` shows its failure",
            ),
            Self::DestinationRequest(_) => (
                "the request of an admin about a destination cannot be executed and is retried",
                "the log names the destination, and `settle explain destination ID` shows its failure",
            ),
        }
    }

    /// Returns the ids of the purchase, the destination and the platform, for the log.
    fn ids(self) -> (Option<String>, Option<String>, Option<String>) {
        match self {
            Self::Settling(key) | Self::PurchaseRequest(key) => (Some(key.to_string()), None, None),
            Self::Lane(key, id) => (Some(key.to_string()), Some(id.to_string()), None),
            Self::Backlog(id) | Self::Stream(id) | Self::DestinationRequest(id) => {
                (None, Some(id.to_string()), None)
            }
            Self::Claims(id) => (None, None, Some(id.to_string())),
            Self::Sweep | Self::Transfer(_) => (None, None, None),
        }
    }
}

fn is_too_many(attempt: u32, streak: Streak, error: &Error) -> bool {
    match error {
        Error::Refused { .. } => attempt >= REFUSALS,
        Error::Unavailable(_) if !streak.others_succeed => {
            streak.count.is_multiple_of(FAILURES_WITHOUT_DATABASE)
        }
        _ => streak.count >= FAILURES || streak.count > 1 && streak.age >= FAILING_FOR,
    }
}

/// Whether the failure depends on the data, so that other purchases may succeed.
const fn is_of_data(error: &Error) -> bool {
    match error {
        Error::Refused { refusal, .. } => matches!(refusal, Refusal::Value | Refusal::Rule),
        Error::Raced(_) | Error::Corrupt { .. } | Error::Missing { .. } => true,
        _ => false,
    }
}

/// Returns the detail of the alarm: what fails, why, and what to do.
fn detail(work: Work, error: &Error) -> String {
    let why = match error {
        Error::Corrupt { .. } => "stored data is unreadable, or another version of settle wrote it".to_owned(),
        // A race normally ends with the first repetition.
        Error::Raced(_) => {
            "a row with the same key exists each time; after a restore of data alone, or a fail-over to a \
            logical replica, set the sequences of the tables behind their highest numbers"
                .to_owned()
        }
        other => other.to_string(),
    };
    let (what, shown) = work.sentences();
    let which = if let Work::Transfer(id) = work {
        format!(" ({id})")
    } else {
        String::new()
    };
    format!("{what}{which}: {why}; {shown}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use storage::Cause;
    use uuid::Uuid;

    fn cause() -> Cause {
        Arc::new(std::fmt::Error)
    }

    fn errors() -> Vec<Error> {
        let refused = [
            Refusal::Value,
            Refusal::Rule,
            Refusal::Rights,
            Refusal::Statement,
            Refusal::Damage,
        ];
        let refused = refused.map(|refusal| Error::Refused {
            refusal,
            source: cause(),
        });
        let others = [
            Error::Corrupt {
                what: "a row".to_owned(),
                source: None,
            },
            Error::Unavailable(cause()),
            Error::Raced(cause()),
            Error::MissingKeys(vec!["0badc0de".to_owned()]),
        ];
        refused.into_iter().chain(others).collect()
    }

    #[test]
    fn the_fifth_failure_and_the_third_refusal_are_too_many() {
        let too_many = |error: &Error, others_succeed| -> Vec<u32> {
            let streak = |count| Streak {
                count,
                age: Duration::ZERO,
                others_succeed,
            };
            (1..=41)
                .filter(|attempt| is_too_many(*attempt, streak(*attempt), error))
                .collect()
        };
        for error in errors() {
            let expected: Vec<u32> = if matches!(error, Error::Refused { .. }) {
                3..=41
            } else {
                5..=41
            }
            .collect();
            assert_eq!(too_many(&error, true), expected, "{error}");
            let is_alone: Vec<u32> = if matches!(error, Error::Unavailable(_)) {
                vec![20, 40]
            } else {
                expected
            };
            assert_eq!(too_many(&error, false), is_alone, "{error}");
        }
    }

    #[test]
    fn half_a_minute_of_failures_is_too_much_and_waiting_is_none() {
        let long = Streak {
            count: 2,
            age: FAILING_FOR,
            others_succeed: true,
        };
        for error in errors() {
            assert!(
                is_too_many(3, long, &error),
                "{error}: a lane is tried again after minutes"
            );
            let first = Streak {
                count: 1,
                age: Duration::ZERO,
                others_succeed: true,
            };
            let is_refused = matches!(error, Error::Refused { .. });
            assert_eq!(
                is_too_many(400, first, &error),
                is_refused,
                "{error}: the attempts before waited"
            );
        }
    }

    #[test]
    fn each_alarm_fits_into_its_row_and_names_no_purchase() {
        let (key, id) = (
            CollapseKey::new(Uuid::max()),
            DestinationId::new(Uuid::max()),
        );
        let all = [
            Work::Settling(key),
            Work::Lane(key, id),
            Work::Backlog(id),
            Work::Stream(id),
            Work::Claims(PlatformId::new(Uuid::max())),
            Work::Sweep,
            Work::PurchaseRequest(key),
            Work::DestinationRequest(id),
        ];
        for work in all {
            for error in errors() {
                let detail = detail(work, &error);
                assert!(detail.len() < 500 && !detail.contains("ffff"), "{detail}");
            }
        }
        // There are few transfers, and no request shows which of them fails.
        let transfer = TransferId::new(Uuid::max());
        for error in errors() {
            let detail = detail(Work::Transfer(transfer), &error);
            assert!(
                detail.len() < 500 && detail.contains(&format!("({transfer})")),
                "{detail}"
            );
        }
    }
}
