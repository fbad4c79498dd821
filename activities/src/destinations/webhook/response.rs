//! What a reply to a webhook means: 2xx is success, everything else is tried again until the schedule ends.
//!
//! 410 asks for no more requests at all. 429, 502, 503 and 504 slow down the whole destination. An event that the
//! endpoint refuses again and again gives way to the next, but for the newest state of a purchase.

use super::Config;
use crate::destinations::schedule::{Step, retry_after_ms};
use crate::http::Reply;
use crate::outcome::{EndpointSignal, Judged, Outcome, Tried, Verdict};
use domain::Timestamp;
use domain::event::PURCHASE_UPDATED;

const GONE: u16 = 410;
/// At which refusal an event dies.
const REFUSALS: i64 = 5;

/// What becomes of each event and how the endpoint fares. `jitter` from 0 to 1 moves a wait by up to a fifth either way.
#[must_use]
pub fn outcome(config: &Config, reply: &Reply, tried: &[Tried<'_>], (jitter, at): (f64, Timestamp)) -> Outcome {
    let asked_ms = match reply {
        Reply::Answer { retry_after: Some(text), .. } => retry_after_ms(text, at),
        _ => None,
    };
    let judge = |one: &Tried<'_>| {
        let wait_ms = config.schedule.wait_ms(step(one, at), asked_ms, jitter);
        judged(reply, one, wait_ms.or_else(|| is_gone(reply).then(|| config.schedule.first_ms())))
    };
    let events = tried.iter().map(judge).collect();
    let endpoint_signal = match reply {
        Reply::Answer { status: 200..=299, .. } => EndpointSignal::Success,
        Reply::Answer { status: GONE, .. } => EndpointSignal::Gone { reason: explained(GONE) },
        Reply::Answer { status: 429 | 502..=504, .. } => {
            EndpointSignal::Failure { pause_ms: Some(config.schedule.pause_ms(asked_ms)) }
        }
        Reply::Answer { .. } | Reply::Failure { .. } => EndpointSignal::Failure { pause_ms: None },
    };
    Outcome { events, endpoint_signal, lane_pause_ms: None, user_pause_ms: None, at_most: None, alarm: None }
        .asked(asked_ms)
}

/// What the reply to a test shows.
///
/// # Errors
/// Why an event would not have been delivered.
pub fn tested(reply: &Reply) -> Result<String, String> {
    match reply {
        Reply::Answer { status: status @ 200..=299, .. } => Ok(explained(*status)),
        Reply::Answer { status, .. } => Err(explained(*status)),
        Reply::Failure { message, .. } => Err(message.clone()),
    }
}

const fn step(tried: &Tried<'_>, at: Timestamp) -> Step {
    Step { number: tried.number, first_tried_at: tried.first_tried_at, at }
}

/// What becomes of one event. `wait_ms` is `None` when this was its last attempt.
fn judged(reply: &Reply, tried: &Tried<'_>, wait_ms: Option<i64>) -> Judged {
    let (class, message) = match reply {
        Reply::Answer { status: 200..=299, .. } => {
            return Judged { verdict: Verdict::Delivered, class: "success", message: None, counts: true };
        }
        Reply::Answer { status, .. } => (class(*status), explained(*status)),
        Reply::Failure { class, message } => (*class, message.clone()),
    };
    let is_refused = matches!(reply, Reply::Answer { status, .. } if is_refusal(*status));
    let is_last = tried.refusals.saturating_add(1) >= REFUSALS && tried.event_type != PURCHASE_UPDATED;
    let (verdict, message) = match wait_ms {
        _ if is_refused && is_last => (Verdict::Dead, format!("{message}, and refused it {REFUSALS} times")),
        Some(delay_ms) => (Verdict::Retry { delay_ms }, message),
        None => (Verdict::Dead, message),
    };
    Judged { verdict, class, message: Some(message), counts: !is_gone(reply) }
}

/// Whether the endpoint refused the event itself: 408, 425 and 429 speak of the time, 410 of all events.
const fn is_refusal(status: u16) -> bool {
    matches!(status, 400..=499) && !matches!(status, 408 | GONE | 425 | 429)
}

const fn is_gone(reply: &Reply) -> bool {
    matches!(reply, Reply::Answer { status: GONE, .. })
}

fn explained(status: u16) -> String {
    let more = match status {
        300..=399 => ": redirects are not followed",
        GONE => ": it wants no events any more",
        _ => "",
    };
    format!("the endpoint answered {status}{more}")
}

const fn class(status: u16) -> &'static str {
    match status {
        300..=399 => "redirect",
        GONE => "gone",
        400..=499 => "client_error",
        500..=599 => "server_error",
        _ => "unexpected_status",
    }
}
