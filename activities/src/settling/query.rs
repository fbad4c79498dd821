//! One check of a purchase with its store: each request within the platform's rate, and the process's number of
//! concurrent requests.

use crate::dependencies::Context;
use crate::settling::store_rate::{Permit, Share, Throttle};
use crate::spans;
use domain::{Parked, PlatformId, Verification};
use protocols::http::{Reply, Request};
use protocols::stores::{Answer, Bucket, CheckStep, Replied, Retry, StoreProtocol, Subject};
use std::time::Duration;
use storage::{AttemptClass, Error, StoreQuery};
use tokio::time::{Instant, timeout, timeout_at};

/// Maximum wait for one of the concurrent requests. Together with the wait for a permit and the request it fits into
/// the activity's time-out.
const SLOT_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum duration of a check from its first request on, however many it sends; it fits into the activity's time-out.
const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// The subject of a check.
pub fn subject(known: &StoreQuery) -> Subject {
    Subject {
        platform: known.platform_id,
        environment: known.environment,
        app_user_id: known.app_user_id.clone(),
        receipt_id: known.receipt_id.clone(),
        secret: known.secret.clone(),
        own: known.of_store.clone(),
    }
}

/// Checks a purchase and returns the store's answer. `None`: a request was not sent, since this process sends too many.
/// An answer of `Refused` or `Parked` may come without a request: the credential or an id cannot be sent.
pub async fn send(
    context: &Context,
    store: &dyn StoreProtocol,
    subject: &Subject,
) -> Result<Option<Answer>, Error> {
    let mut check = Check {
        context,
        subject,
        share: None,
        ends_at: None,
    };
    let mut replies = Vec::new();
    loop {
        let (request, bucket) = match store.next(subject, &replies) {
            CheckStep::Send(request, bucket) => (*request, bucket),
            CheckStep::Done(answer) => return Ok(Some(check.finish(answer))),
        };
        match check.request(request, bucket).await? {
            Sent::Replied(replied) => replies.push(replied),
            Sent::Not(answer) => return Ok(answer),
        }
    }
}

/// A check that is under way.
struct Check<'a> {
    context: &'a Context,
    subject: &'a Subject,
    /// The share that the last request was of.
    share: Option<Share>,
    /// When it ends at the latest, from its first request on.
    ends_at: Option<Instant>,
}

/// The outcome of a request.
enum Sent {
    Replied(Replied),
    /// It was not sent: the answer to the check.
    Not(Option<Answer>),
}

impl Check<'_> {
    async fn request(&mut self, request: Request, bucket: Bucket) -> Result<Sent, Error> {
        let (context, verifier) = (self.context, &self.context.verifier);
        let share = Share {
            platform: self.subject.platform,
            bucket,
        };
        self.share = Some(share);
        let Ok(Ok(_slot)) = timeout(SLOT_TIMEOUT, verifier.in_flight.acquire()).await else {
            return Ok(Sent::Not(None));
        };
        match verifier.rate.reserve(share, Instant::now()) {
            Permit::At(at) if self.ends_at.is_some_and(|end| end < at) => {
                return Ok(Sent::Not(None));
            }
            Permit::At(at) => tokio::time::sleep_until(at).await,
            Permit::Later => return Ok(Sent::Not(None)),
            Permit::Paused(until) => return Ok(Sent::Not(Some(Answer::Retry(paused(until))))),
        }
        // By the database's clock: it is compared with times in rows.
        let at = context.store.now().await?;
        let began = Instant::now();
        let ends_at = *self.ends_at.get_or_insert(began + CHECK_TIMEOUT);
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let sending = spans::request(request.into(), |request| context.http.deliver(request));
        let sent = timeout_at(ends_at, sending).await;
        metrics::histogram!("settle_verification_seconds").record(began.elapsed());
        let Ok(reply) = sent else {
            let late = Retry::new("timeout", format!("{host} did not respond in time"));
            return Ok(Sent::Not(Some(Answer::Retry(late))));
        };
        let reply = naming(&host, reply.http().into_owned());
        Ok(Sent::Replied(Replied { reply, at }))
    }

    /// The answer of the check: the share of its last request is paused if the store throttles it.
    fn finish(&self, answer: Answer) -> Answer {
        let Some(share) = self.share else {
            return answer;
        };
        let rate = &self.context.verifier.rate;
        match answer {
            Answer::Retry(retry) if retry.is_throttled => {
                let throttle = Throttle {
                    at: Instant::now(),
                    retry_after: retry.retry_after,
                    jitter: (self.context.random)(),
                };
                let until = rate.pause(share, throttle);
                Answer::Retry(Retry {
                    retry_after: Some(until.duration_since(Instant::now())),
                    ..retry
                })
            }
            Answer::Retry(retry) => Answer::Retry(retry),
            answer => {
                rate.answered(share);
                answer
            }
        }
    }
}

/// A reply of the store's host: a failure to reach it names the host, which no admin chose.
fn naming(host: &str, reply: Reply) -> Reply {
    let Reply::Failure { class, message } = reply else {
        return reply;
    };
    let message = match class {
        AttemptClass::Dns => format!("the name {host} cannot be resolved to an allowed address"),
        AttemptClass::Connect => format!("no connection to {host} could be made"),
        AttemptClass::Timeout => format!("{host} did not respond in time"),
        AttemptClass::Reset => format!("{host} closed the connection without a response"),
        AttemptClass::Tls => {
            format!("no TLS connection to {host}: check its certificate, its chain and its name")
        }
        _ => message,
    };
    Reply::Failure { class, message }
}

/// The answer while the store throttles the platform because of another purchase. It counts as a failure, so that
/// verification gives up for this purchase too in the end.
fn paused(until: Instant) -> Retry {
    let retry_after = Some(until.duration_since(Instant::now()));
    Retry {
        retry_after,
        ..Retry::new("paused", "the store throttled our requests a moment ago")
    }
}

/// Raises an alarm; a failure to store it is only logged.
pub async fn raise_alarm(
    context: &Context,
    platform: PlatformId,
    kind: &'static str,
    detail: &str,
) {
    tracing::warn!(platform.id = %platform, kind, "{detail}");
    if let Err(error) = context.store.alarm(Some(platform), kind, detail).await {
        tracing::warn!(platform.id = %platform, kind, %error, "an alarm was not stored");
    }
}

/// The answer as a metric's label.
pub fn label(answer: &Answer) -> &'static str {
    match answer {
        Answer::Verification(Verification::Verified(_)) => "verified",
        Answer::Verification(Verification::Gone) => "gone",
        Answer::Verification(Verification::Parked(Parked::UnknownReceipt | Parked::Believable)) => {
            "unknown_receipt"
        }
        Answer::Verification(Verification::Parked(Parked::WrongCustomer)) => "wrong_customer",
        Answer::Verification(Verification::Unverifiable | Verification::Unreachable { .. }) => {
            "unverifiable"
        }
        Answer::Refused => "secret_refused",
        Answer::Retry(retry) => retry.class,
    }
}

pub fn count(answer: &'static str) {
    metrics::counter!("settle_verifications_total", "answer" => answer).increment(1);
}

#[cfg(test)]
mod tests {
    use super::naming;
    use protocols::http::{Failure, Reply};
    use storage::AttemptClass;

    #[test]
    fn a_host_that_cannot_be_reached_is_named() {
        let why = |failure: Failure| match naming("rvs.example", failure.into()) {
            Reply::Failure { message, .. } => message,
            Reply::Answer { .. } => String::new(),
        };
        assert_eq!(
            why(Failure::Dns),
            "the name rvs.example cannot be resolved to an allowed address"
        );
        assert_eq!(
            why(Failure::Connect),
            "no connection to rvs.example could be made"
        );
        assert_eq!(why(Failure::Timeout), "rvs.example did not respond in time");
        let other = Reply::Failure {
            class: AttemptClass::InvalidUrl,
            message: "no".to_owned(),
        };
        assert_eq!(naming("rvs.example", other.clone()), other);
    }
}
