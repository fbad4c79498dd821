//! One query of a store about a receipt: within the platform's rate, and the process's number of concurrent requests.

use crate::dependencies::Context;
use crate::settling::store_rate::{Permit, Throttle};
use crate::spans;
use domain::{Parked, PlatformId, Verification};
use protocols::http::Reply;
use protocols::stores::{Answer, Receipt, Retry, Store};
use std::time::Duration;
use storage::{AttemptClass, Error};
use tokio::time::Instant;

/// Maximum wait for one of the concurrent requests. Together with the wait for a permit and the request it fits into
/// the activity's time-out.
const SLOT_TIMEOUT: Duration = Duration::from_millis(500);

pub struct Subject<'a> {
    /// The platform whose secret is used.
    pub platform: PlatformId,
    pub receipt: &'a Receipt,
}

/// Sends a query and returns the store's answer. `None`: no request was sent, since this process sends too many.
/// An answer of `Refused` or `Parked` without a request: the secret or an id cannot be sent.
pub async fn send(
    context: &Context,
    store: Store<'_>,
    subject: &Subject<'_>,
) -> Result<Option<Answer>, Error> {
    let (verifier, platform) = (&context.verifier, subject.platform);
    let request = match store.request(subject.receipt) {
        Ok(request) => request,
        Err(answer) => return Ok(Some(answer)),
    };
    let Ok(Ok(_slot)) = tokio::time::timeout(SLOT_TIMEOUT, verifier.in_flight.acquire()).await
    else {
        return Ok(None);
    };
    match verifier.rate.reserve(platform, Instant::now()) {
        Permit::At(at) => tokio::time::sleep_until(at).await,
        Permit::Later => return Ok(None),
        Permit::Paused(until) => return Ok(Some(Answer::Retry(paused(until)))),
    }
    // By the database's clock: it is compared with times in rows.
    let at = context.store.now().await?;
    let began = Instant::now();
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let reply = naming(
        &host,
        spans::request(request, |request| context.http.send(request)).await,
    );
    metrics::histogram!("settle_verification_seconds").record(began.elapsed());
    Ok(Some(match store.answer(&reply, subject.receipt, at) {
        Answer::Retry(retry) if retry.is_throttled => {
            let (at, jitter) = (Instant::now(), (context.random)());
            let throttle = Throttle {
                at,
                retry_after: retry.retry_after,
                jitter,
            };
            let until = verifier.rate.pause(platform, throttle);
            Answer::Retry(Retry {
                retry_after: Some(until.duration_since(Instant::now())),
                ..retry
            })
        }
        Answer::Retry(retry) => Answer::Retry(retry),
        answer => {
            verifier.rate.answered(platform);
            answer
        }
    }))
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
    metrics::counter!("settle_alarms_total", "kind" => kind).increment(1);
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
