//! Judges a response by Amplitude's documentation (<https://amplitude.com/docs/apis/analytics/http-v2>), and by
//! undocumented responses that its SDKs handle. This folder's README has a table of all responses.
//!
//! Within seven days Amplitude counts a repeated event once, so a retry is safe. So every event that is neither clearly
//! accepted nor clearly refused is retried.

use super::GIVES_UP_AFTER;
use super::answer::{Answer, is_search};
use super::body::{Frozen, batch_size};
use super::config::Config;
use super::keys::Key;
use crate::destinations::exchange::Exchange;
use crate::destinations::schedule::{Step, retry_after_ms};
use crate::http::Reply;
use domain::Timestamp;
use domain::time::{duration, millis};
use std::cmp::Ordering;
use storage::{Attempt, AttemptClass, DeliveryResult, EndpointSignal, EventResult, Verdict};

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Pause for a throttled user, and minimum pause for a throttled project.
const THROTTLE_MS: i64 = 30 * 1000;
/// Minimum wait after a 403, which probably applies to all our requests.
const REFUSED_MS: i64 = 15 * MINUTE_MS;
/// The last attempt is planned this long before [`GIVES_UP_AFTER`], so that it is still sent if it starts a little
/// late.
const MARGIN_MS: i64 = 10 * MINUTE_MS;
/// Number of undocumented refusals after which an event that was alone in its request fails for good. It then no longer
/// blocks the events behind it.
const MAX_REFUSALS: i64 = 5;
/// Number of the attempt at which an event counts as delivered although Amplitude counted fewer events than were sent.
/// Further retries may never help, since Amplitude may not count an event that it already has.
const ATTEMPTS_IF_TOO_FEW: i64 = 3;

/// Judges a reply for each event and for the project as a whole. Results never repeat a text from Amplitude.
pub fn judge(config: &Config, exchange: Exchange<'_, Reply>) -> DeliveryResult {
    let Exchange {
        events,
        reply,
        at,
        jitter,
    } = exchange;
    let (sent, left) = events
        .split_at_checked(batch_size(events.iter().map(|one| one.body.as_str())))
        .unwrap_or((events, &[]));
    let retry_after = match reply {
        Reply::Answer { retry_after, .. } => retry_after
            .as_deref()
            .and_then(|text| retry_after_ms(text, at)),
        Reply::Failure { .. } => None,
    };
    let case = Case {
        config,
        sent,
        jitter,
        at,
        retry_after,
    };
    let mut result = match reply {
        Reply::Answer { status, body, .. } => case.answered(*status, Answer::read(body)),
        Reply::Failure { class, message } => case.failure(Reason::new(*class, message), None),
    }
    .with_retry_after(retry_after.map(duration));
    let postponed = Reason::without_step(
        AttemptClass::Postponed,
        "its project is another one: it is sent separately",
    );
    result
        .events
        .extend(left.iter().map(|one| retry(one, 0, postponed)));
    result
}

/// Describes the reply to a connection test.
///
/// # Errors
/// Returns why the connection does not work, as a sentence.
pub fn describe_test(config: &Config, reply: &Reply) -> Result<String, String> {
    let key = config.keys.test_key();
    let wrong = match reply {
        Reply::Answer { status: 200, body, .. } if is_search(body) => {
            let is_all = key == Key::Sandbox || config.keys.get(Key::Sandbox).is_none();
            let rest = if is_all { "" } else { "; the `sandbox_api_key` was not tried" };
            return Ok(format!("Amplitude knows the `{}` and the `secret_key`{rest}", key.name()));
        }
        Reply::Answer { status: 200, .. } => {
            "the search for a user was answered 200, but not by Amplitude: check for a proxy in between".to_owned()
        }
        Reply::Answer { status: 401, .. } => "Amplitude does not know the key with this `secret_key`".to_owned(),
        Reply::Answer { status: 403, .. } => "Amplitude denied access: the keys lack permission, or a firewall or the \
             region blocks the request"
            .to_owned(),
        Reply::Answer { status: 429, .. } => "Amplitude is throttling requests: try again in a minute".to_owned(),
        Reply::Answer { status, .. } => format!("Amplitude answered {status} to a search for a user"),
        // The request got no response, so no key was tried.
        Reply::Failure { message, .. } => return Err(message.clone()),
    };
    Err(format!("{wrong} (the `{}` was tried)", key.name()))
}

/// Why an event was not accepted.
#[derive(Clone, Copy)]
struct Reason<'a> {
    class: AttemptClass,
    why: &'a str,
    /// Whether the attempt counts as a step of the schedule.
    counts: bool,
}

impl<'a> Reason<'a> {
    const fn new(class: AttemptClass, why: &'a str) -> Self {
        Self {
            class,
            why,
            counts: true,
        }
    }

    /// Returns a reason unrelated to the event itself: the attempt uses no step of the schedule.
    const fn without_step(class: AttemptClass, why: &'a str) -> Self {
        Self {
            class,
            why,
            counts: false,
        }
    }
}

struct Case<'a> {
    config: &'a Config,
    /// The events that the request held, in its order.
    sent: &'a [Attempt],
    jitter: f64,
    at: Timestamp,
    retry_after: Option<i64>,
}

impl Case<'_> {
    fn answered(&self, status: u16, answer: Option<Answer>) -> DeliveryResult {
        match (status, answer) {
            (200, Some(answer))
                if answer.code.is_none_or(|code| code == 200) && answer.error.is_empty() =>
            {
                self.accepted(&answer)
            }
            (200, _) => self.failure(
                Reason::new(
                    AttemptClass::Unreadable,
                    "the answer was 200, but its body is not Amplitude's",
                ),
                None,
            ),
            (400 | 401 | 403, Some(answer)) if answer.refuses_key() => self.key_refused(),
            (400, Some(answer)) if answer.is_misdirected() => self.misdirected(),
            (400, Some(answer)) if answer.is_defect() => self.defect(),
            (400 | 429, Some(answer)) if self.blames(&answer) => self.judge_named(status, &answer),
            (400, Some(_)) => self.refused(),
            (403, _) => self.forbidden(),
            (413, _) => self.too_large(),
            (429, _) => self.throttled(),
            (502..=504, _) => self.failure(
                Reason::new(AttemptClass::ServerError, &describe(status)),
                Some(self.pause_ms()),
            ),
            _ => self.failure(
                Reason::new(class(status), &describe(status)),
                self.retry_after.map(|_| self.pause_ms()),
            ),
        }
    }

    fn accepted(&self, answer: &Answer) -> DeliveryResult {
        let sent = i64::try_from(self.sent.len()).unwrap_or(i64::MAX);
        let ingested = answer.ingested.unwrap_or(sent);
        let result = self.all(EndpointSignal::Success, |one| {
            match (ingested < sent, one.number < ATTEMPTS_IF_TOO_FEW) {
                (true, true) => self.by_schedule(
                    one,
                    Reason::new(
                        AttemptClass::TooFew,
                        "Amplitude counted fewer events than the request held",
                    ),
                ),
                _ => EventResult {
                    delivery_id: one.delivery_id,
                    verdict: Verdict::Delivered,
                    class: AttemptClass::Success,
                    error: None,
                    counts: true,
                },
            }
        });
        let comes_again = result
            .events
            .iter()
            .any(|one| one.class == AttemptClass::TooFew);
        let alarm = match ingested.cmp(&sent) {
            Ordering::Less if comes_again => {
                "Amplitude counted fewer events than a request held: they are sent again"
            }
            Ordering::Less => {
                "Amplitude counted fewer events than a request held, and they are taken as delivered"
            }
            Ordering::Greater => "Amplitude counted more events than a request held",
            Ordering::Equal => return result,
        };
        DeliveryResult {
            alarm: Some(alarm.to_owned()),
            ..result
        }
    }

    /// Handles an API key that Amplitude does not know. The production key, or the only key, disables the integration.
    /// A sandbox key beside a production key raises an alarm, and its events are retried hourly.
    fn key_refused(&self) -> DeliveryResult {
        let first = self.sent.first().and_then(|one| Frozen::read(&one.body));
        let key = Key::of(first.map(|frozen| frozen.environment()).unwrap_or_default());
        let why = format!("Amplitude does not know the key `{}`", key.name());
        let goes_on = key == Key::Sandbox && self.config.keys.get(Key::Production).is_some();
        let (endpoint_signal, alarm) = if goes_on {
            (EndpointSignal::Neutral, Some(why.clone()))
        } else {
            (
                EndpointSignal::Gone {
                    reason: why.clone(),
                },
                None,
            )
        };
        let reason = Reason::without_step(AttemptClass::InvalidApiKey, &why);
        let result = self.all(endpoint_signal, |one| self.later(one, HOUR_MS, reason));
        DeliveryResult { alarm, ..result }
    }

    /// Handles a wrong URL, or a proxy that drops bodies. The events are retried by the schedule, so that an operator
    /// has time to correct it.
    fn misdirected(&self) -> DeliveryResult {
        let why = "Amplitude received no usable request: the path is wrong, or the body was lost on the way";
        let alarm = format!("{why}. Check the endpoint's URL, and proxies");
        DeliveryResult {
            alarm: Some(alarm),
            ..self.failure(Reason::new(AttemptClass::Misdirected, why), None)
        }
    }

    /// Handles a malformed request, a defect that only a new version of settle can correct. Its events fail for good.
    fn defect(&self) -> DeliveryResult {
        let why = "Amplitude could not parse the request";
        let result = self.all(EndpointSignal::Failure { pause: None }, |one| {
            failed(one, Reason::new(AttemptClass::Defect, why))
        });
        DeliveryResult {
            alarm: Some(format!("{why}: this is a bug in settle")),
            ..result
        }
    }

    /// Returns whether the response names an event of the request, or throttles its user.
    fn blames(&self, answer: &Answer) -> bool {
        let is_named = |place: usize| self.verdict(answer, place).is_some();
        answer.is_throttled || answer.is_over_quota || (0..self.sent.len()).any(is_named)
    }

    /// Returns the verdict on an event that the response names; `None` if it does not name the event. A response names
    /// only the first invalid event; the others are retried at once, and each request removes at least one.
    fn verdict(&self, answer: &Answer, place: usize) -> Option<EventResult> {
        let one = self.sent.get(place)?;
        if let Some((_, field)) = answer.wrong.iter().find(|(wrong, _)| *wrong == place) {
            let field = field.map_or("one of its fields".to_owned(), |field| {
                format!("its `{field}`")
            });
            let why = format!("Amplitude refused the event for {field}");
            return Some(failed(one, Reason::new(AttemptClass::Refused, &why)));
        }
        let device = || {
            Frozen::read(&one.body)?
                .event
                .get("device_id")?
                .as_str()
                .map(str::to_owned)
        };
        let is_silenced = answer.silenced.contains(&place)
            || (!answer.silenced_devices.is_empty()
                && device().is_some_and(|device| answer.silenced_devices.contains(&device)));
        let silenced = Reason::new(
            AttemptClass::Silenced,
            "Amplitude has silenced the customer: it accepts none of their events",
        );
        is_silenced.then(|| failed(one, silenced))
    }

    /// Applies the verdicts on the events that the response names. The others are retried: after a pause if their user
    /// is throttled or over quota, else at once.
    fn judge_named(&self, status: u16, answer: &Answer) -> DeliveryResult {
        let (class, why, pause_ms) = match (answer.is_over_quota, answer.is_throttled) {
            (true, _) => (
                AttemptClass::Quota,
                "the customer has used up a day's events at Amplitude",
                Some(HOUR_MS),
            ),
            (false, true) => (
                AttemptClass::Throttled,
                "the customer has too many events at Amplitude at the moment",
                Some(THROTTLE_MS),
            ),
            (false, false) => (
                AttemptClass::NotTaken,
                "another event of the same request was refused",
                None,
            ),
        };
        let reason = Reason::without_step(class, why);
        let others = |one: &Attempt| match pause_ms {
            Some(pause_ms) => self.later(one, pause_ms, reason),
            None => retry(one, 0, reason),
        };
        let verdict_of = |(place, one): (usize, &Attempt)| {
            self.verdict(answer, place).unwrap_or_else(|| others(one))
        };
        let events: Vec<_> = self.sent.iter().enumerate().map(verdict_of).collect();
        let is_silenced = events.iter().any(|one| one.class == AttemptClass::Silenced);
        // A refused event shows that the project works. A throttled user says nothing about the project.
        let endpoint_signal = if status == 400 && pause_ms.is_none() {
            EndpointSignal::Success
        } else {
            EndpointSignal::Neutral
        };
        let alarm = is_silenced.then(|| "Amplitude has silenced a customer".to_owned());
        DeliveryResult {
            events,
            endpoint_signal,
            lane_pause: None,
            user_pause: pause_ms.map(duration),
            at_most: None,
            alarm,
        }
    }

    /// Handles an undocumented refusal. Halving the request finds the refused event, which is then retried alone until
    /// its refusals reach [`MAX_REFUSALS`].
    fn refused(&self) -> DeliveryResult {
        let why = "Amplitude rejected the event for an undocumented reason";
        if let [one] = self.sent {
            let is_last = one.refusals.saturating_add(1) >= MAX_REFUSALS;
            let reason = Reason::new(AttemptClass::Refused, why);
            let verdict = if is_last {
                failed(one, reason)
            } else {
                self.by_schedule(one, reason)
            };
            return self.all(EndpointSignal::Failure { pause: None }, |_| verdict.clone());
        }
        self.halved(Reason::without_step(AttemptClass::Refused, why))
    }

    /// Handles a refusal by Amplitude's firewall, or a region that Amplitude does not serve. The events are retried
    /// slowly.
    fn forbidden(&self) -> DeliveryResult {
        let why = "Amplitude's firewall rejected the request, or Amplitude does not serve the region (403)";
        let reason = Reason::new(AttemptClass::Forbidden, why);
        let slow = |one: &Attempt| match self.wait_ms(one) {
            Some(wait_ms) => self.later(one, wait_ms.max(REFUSED_MS), reason),
            None => failed(one, reason),
        };
        DeliveryResult {
            alarm: Some(why.to_owned()),
            ..self.all(EndpointSignal::Failure { pause: None }, slow)
        }
    }

    fn too_large(&self) -> DeliveryResult {
        if self.sent.len() > 1 {
            return self.halved(Reason::without_step(
                AttemptClass::TooLarge,
                "the request was too large and is sent in halves",
            ));
        }
        let why = "Amplitude rejected a single event as too large";
        DeliveryResult {
            alarm: Some(why.to_owned()),
            ..self.all(EndpointSignal::Neutral, |one| {
                failed(one, Reason::new(AttemptClass::TooLarge, why))
            })
        }
    }

    /// Handles a throttled project: the response names no user. The attempt uses no step of the schedule, since pauses
    /// and recoveries can alternate quickly and would soon use up all steps.
    fn throttled(&self) -> DeliveryResult {
        let pause_ms = self
            .retry_after
            .unwrap_or_default()
            .clamp(THROTTLE_MS, HOUR_MS);
        let why = "Amplitude accepts no more events of the project at the moment (429)";
        let reason = Reason::without_step(AttemptClass::Throttled, why);
        self.all(
            EndpointSignal::Failure {
                pause: Some(duration(pause_ms)),
            },
            |one| self.later(one, pause_ms, reason),
        )
    }

    /// Handles a failure of the project or the network, which says nothing about the events. They are retried by the
    /// schedule.
    fn failure(&self, reason: Reason<'_>, pause_ms: Option<i64>) -> DeliveryResult {
        self.all(
            EndpointSignal::Failure {
                pause: pause_ms.map(duration),
            },
            |one| self.by_schedule(one, reason),
        )
    }

    /// Retries all events at once, in requests of half the size.
    fn halved(&self, reason: Reason<'_>) -> DeliveryResult {
        let half = i64::try_from(self.sent.len() / 2).unwrap_or(1).max(1);
        DeliveryResult {
            at_most: Some(half),
            ..self.all(EndpointSignal::Neutral, |one| retry(one, 0, reason))
        }
    }

    fn all(
        &self,
        endpoint_signal: EndpointSignal,
        judge: impl Fn(&Attempt) -> EventResult,
    ) -> DeliveryResult {
        let events = self.sent.iter().map(judge).collect();
        DeliveryResult {
            events,
            endpoint_signal,
            lane_pause: None,
            user_pause: None,
            at_most: None,
            alarm: None,
        }
    }

    fn by_schedule(&self, one: &Attempt, reason: Reason<'_>) -> EventResult {
        match self.wait_ms(one) {
            Some(wait_ms) => self.later(one, wait_ms, reason),
            None => failed(one, reason),
        }
    }

    /// Returns a retry after a wait. The last retry is [`MARGIN_MS`] before [`GIVES_UP_AFTER`]; after that, the event
    /// fails for good.
    fn later(&self, one: &Attempt, wait_ms: i64, reason: Reason<'_>) -> EventResult {
        let passed_ms = one
            .first_tried_at
            .map_or(0, |first| self.at.millis_since(first).max(0));
        let left_ms = millis(GIVES_UP_AFTER)
            .saturating_sub(MARGIN_MS)
            .saturating_sub(passed_ms);
        if left_ms <= 0 {
            let why = format!(
                "{}; after seven days Amplitude would count it twice",
                reason.why
            );
            return failed(
                one,
                Reason {
                    why: &why,
                    ..reason
                },
            );
        }
        retry(one, wait_ms.min(left_ms), reason)
    }

    fn wait_ms(&self, one: &Attempt) -> Option<i64> {
        let step = Step {
            number: one.number,
            first_tried_at: one.first_tried_at,
            at: self.at,
        };
        self.config.wait_ms(step, self.retry_after, self.jitter)
    }

    fn pause_ms(&self) -> i64 {
        self.config.schedule.pause_ms(self.retry_after)
    }
}

fn retry(one: &Attempt, delay_ms: i64, Reason { class, why, counts }: Reason<'_>) -> EventResult {
    let verdict = Verdict::Retry {
        delay: duration(delay_ms),
    };
    EventResult {
        delivery_id: one.delivery_id,
        verdict,
        class,
        error: Some(why.to_owned()),
        counts,
    }
}

/// Fails the event for good: this was its last attempt.
fn failed(one: &Attempt, reason: Reason<'_>) -> EventResult {
    EventResult {
        verdict: Verdict::Failed,
        counts: true,
        ..retry(one, 0, reason)
    }
}

fn describe(status: u16) -> String {
    format!("Amplitude answered {status}")
}

const fn class(status: u16) -> AttemptClass {
    match status {
        300..=399 => AttemptClass::Redirect,
        400..=499 => AttemptClass::ClientError,
        500..=599 => AttemptClass::ServerError,
        _ => AttemptClass::UnexpectedStatus,
    }
}
