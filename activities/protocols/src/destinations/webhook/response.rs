//! Judges a reply of a webhook. 2xx is success. Any other response, or none, is retried until the schedule ends, with
//! two exceptions:
//!
//! * 410 disables the destination; the event stays pending, even past the end of its schedule.
//! * An event fails for good at the fifth response that refuses it (4xx except 408, 410, 425 and 429), so that it does
//!   not block the events behind it. This does not apply to `purchase.updated`, since a newer state replaces it.
//!
//! 429, 502, 503 and 504 also pause the whole destination.

use super::config::Config;
use crate::destinations::exchange::Exchange;
use crate::destinations::schedule::{Step, retry_after_ms};
use crate::http::Reply;
use domain::Timestamp;
use domain::attempt::is_refusal;
use domain::event::PURCHASE_UPDATED;
use domain::time::duration;
use storage::{Attempt, AttemptClass, DeliveryResult, EndpointSignal, EventResult, Verdict};

const GONE: u16 = 410;
/// Number of refusals at which an event fails for good.
const MAX_REFUSALS: i64 = 5;

/// Judges a reply for each event and for the endpoint as a whole. The jitter spreads a wait by up to 20 % either way; a
/// wait by `Retry-After` is not spread.
pub fn judge(config: &Config, exchange: Exchange<'_, Reply>) -> DeliveryResult {
    let Exchange {
        events,
        reply,
        at,
        jitter,
    } = exchange;
    let retry_after_ms = match reply {
        Reply::Answer {
            retry_after: Some(text),
            ..
        } => retry_after_ms(text, at),
        _ => None,
    };
    let judge_event = |one: &Attempt| {
        let wait_ms = config
            .schedule
            .wait_ms(step(one, at), retry_after_ms, jitter);
        // After a 410 the event stays pending even if this was its last attempt.
        event_verdict(
            reply,
            one,
            wait_ms.or_else(|| is_gone(reply).then(|| config.schedule.first_ms())),
        )
    };
    let events = events.iter().map(judge_event).collect();
    let endpoint_signal = match reply {
        Reply::Answer {
            status: 200..=299, ..
        } => EndpointSignal::Success,
        Reply::Answer { status: GONE, .. } => EndpointSignal::Gone {
            reason: describe(GONE),
        },
        Reply::Answer {
            status: 429 | 502..=504,
            ..
        } => EndpointSignal::Failure {
            pause: Some(duration(config.schedule.pause_ms(retry_after_ms))),
        },
        Reply::Answer { .. } | Reply::Failure { .. } => EndpointSignal::Failure { pause: None },
    };
    DeliveryResult {
        events,
        endpoint_signal,
        lane_pause: None,
        user_pause: None,
        at_most: None,
        alarm: None,
    }
    .with_retry_after(retry_after_ms.map(duration))
}

/// Describes the reply to a connection test.
///
/// # Errors
/// Returns why an event would not have been delivered.
pub fn describe_test(reply: &Reply) -> Result<String, String> {
    match reply {
        Reply::Answer {
            status: status @ 200..=299,
            ..
        } => Ok(describe(*status)),
        Reply::Answer { status, .. } => Err(describe(*status)),
        Reply::Failure { message, .. } => Err(message.clone()),
    }
}

const fn step(event: &Attempt, at: Timestamp) -> Step {
    Step {
        number: event.number,
        first_tried_at: event.first_tried_at,
        at,
    }
}

/// Returns the verdict on one event. `wait_ms` is the wait before the next attempt; `None` if this attempt was the
/// last.
fn event_verdict(reply: &Reply, event: &Attempt, wait_ms: Option<i64>) -> EventResult {
    let (class, message) = match reply {
        Reply::Answer {
            status: 200..=299, ..
        } => {
            return EventResult {
                delivery_id: event.delivery_id,
                verdict: Verdict::Delivered,
                class: AttemptClass::Success,
                error: None,
                counts: true,
            };
        }
        Reply::Answer { status, .. } => (class(*status), describe(*status)),
        Reply::Failure { class, message } => (*class, message.clone()),
    };
    let is_refused = matches!(reply, Reply::Answer { status, .. } if is_refusal(*status));
    let is_last =
        event.refusals.saturating_add(1) >= MAX_REFUSALS && event.event_type != PURCHASE_UPDATED;
    let (verdict, message) = match wait_ms {
        _ if is_refused && is_last => (
            Verdict::Failed,
            format!("{message}, and refused it {MAX_REFUSALS} times"),
        ),
        Some(delay_ms) => (
            Verdict::Retry {
                delay: duration(delay_ms),
            },
            message,
        ),
        None => (Verdict::Failed, message),
    };
    EventResult {
        delivery_id: event.delivery_id,
        verdict,
        class,
        error: Some(message),
        counts: !is_gone(reply),
    }
}

const fn is_gone(reply: &Reply) -> bool {
    matches!(reply, Reply::Answer { status: GONE, .. })
}

fn describe(status: u16) -> String {
    let more = match status {
        300..=399 => ": redirects are not followed",
        GONE => ": it wants no more events",
        _ => "",
    };
    format!("the endpoint answered {status}{more}")
}

fn class(status: u16) -> AttemptClass {
    match status {
        300..=399 => AttemptClass::Redirect,
        GONE => AttemptClass::Gone,
        status if is_refusal(status) => AttemptClass::Refused,
        400..=499 => AttemptClass::ClientError,
        500..=599 => AttemptClass::ServerError,
        _ => AttemptClass::UnexpectedStatus,
    }
}
