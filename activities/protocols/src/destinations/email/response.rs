//! Judges a reply of the SMTP server.
//!
//! * 2xx: the mail is delivered. The server took it for at least one recipient; the answer names the others.
//! * 5xx to a recipient or to the text: the event fails for good.
//! * Any other 5xx (to the greeting, the login or the sender) and every 4xx, or no answer: retried until the schedule
//!   ends. 421 also pauses the destination.
//!
//! A 4xx to a recipient counts as a failure of the destination too, for a server may refuse all recipients. It does not if
//! the server accepted another recipient of the mail, or if the recipient's mailbox is the reason.

use super::config::Config;
use crate::destinations::exchange::Exchange;
use crate::destinations::schedule::Step;
use crate::http::Reply;
use crate::smtp::{ACCEPTED, CLOSING, COMMAND, OF_MAILBOX};
use domain::time::duration;
use storage::{Attempt, AttemptClass, DeliveryResult, EndpointSignal, EventResult, Verdict};

/// The command whose refusal concerns one recipient.
const RECIPIENT: &str = "RCPT";
/// The commands whose refusal concerns this mail alone.
const OF_MAIL: [&str; 2] = [RECIPIENT, "DATA"];
/// The server wants a login, or refused it.
const LOGIN: [u16; 4] = [530, 534, 535, 538];

/// Judges a reply for the event and for the destination. The jitter spreads a wait by up to 20 % either way.
pub fn judge(config: &Config, exchange: Exchange<'_>) -> DeliveryResult {
    let Exchange {
        events,
        reply,
        at,
        jitter,
    } = exchange;
    let judge_event = |one: &Attempt| {
        let step = Step {
            number: one.number,
            first_tried_at: one.first_tried_at,
            at,
        };
        event_verdict(reply, one, config.schedule.wait_ms(step, None, jitter))
    };
    let endpoint_signal = match reply {
        Reply::Answer {
            status: 200..=299, ..
        } => EndpointSignal::Success,
        Reply::Answer {
            status: CLOSING, ..
        } => EndpointSignal::Failure {
            pause: Some(duration(config.schedule.pause_ms(None))),
        },
        Reply::Answer {
            status: 400..=499, ..
        } if is_about_recipient(reply) => EndpointSignal::Neutral,
        Reply::Answer { .. } | Reply::Failure { .. } => EndpointSignal::Failure { pause: None },
    };
    let events = events.iter().map(judge_event).collect();
    DeliveryResult {
        events,
        endpoint_signal,
        lane_pause: None,
        user_pause: None,
        at_most: None,
        alarm: None,
    }
}

/// Describes the reply to a test.
///
/// # Errors
/// The reason for which a mail would not have been delivered.
pub fn describe_test(reply: &Reply) -> Result<String, String> {
    match reply {
        Reply::Answer {
            status: status @ 200..=299,
            body,
            ..
        } => Ok(format!("{}: {}", describe(*status), line(body))),
        Reply::Answer { status, body, .. } => Err(format!("{}: {}", describe(*status), line(body))),
        Reply::Failure { message, .. } => Err(message.clone()),
    }
}

fn event_verdict(reply: &Reply, event: &Attempt, wait_ms: Option<i64>) -> EventResult {
    let (class, error) = match reply {
        Reply::Answer {
            status: 200..=299, ..
        } => (AttemptClass::Success, None),
        Reply::Answer { status, .. } if is_final(reply) => {
            (AttemptClass::Refused, Some(describe(*status)))
        }
        Reply::Answer { status, .. } => (class(*status), Some(describe(*status))),
        Reply::Failure { class, message } => (*class, Some(message.clone())),
    };
    let verdict = match (class, wait_ms) {
        (AttemptClass::Success, _) => Verdict::Delivered,
        (AttemptClass::Refused, _) | (_, None) => Verdict::Failed,
        (_, Some(delay_ms)) => Verdict::Retry {
            delay: duration(delay_ms),
        },
    };
    EventResult {
        delivery_id: event.delivery_id,
        verdict,
        class,
        error,
        counts: true,
    }
}

/// Whether the server refused this mail for good, and not settle itself.
fn is_final(reply: &Reply) -> bool {
    matches!(reply, Reply::Answer { status: status @ 500..=599, .. } if !LOGIN.contains(status))
        && is_to(reply, &OF_MAIL)
}

/// Whether the server postponed one recipient, and works otherwise.
fn is_about_recipient(reply: &Reply) -> bool {
    let Reply::Answer { headers, body, .. } = reply else {
        return false;
    };
    let accepts_others = headers
        .iter()
        .any(|(name, value)| name == ACCEPTED && value != "0");
    is_to(reply, &[RECIPIENT]) && (accepts_others || body.starts_with(OF_MAILBOX))
}

/// Whether the reply answers one of these commands.
fn is_to(reply: &Reply, commands: &[&str]) -> bool {
    let Reply::Answer { headers, .. } = reply else {
        return false;
    };
    headers
        .iter()
        .any(|(name, value)| name == COMMAND && commands.contains(&value.as_str()))
}

fn class(status: u16) -> AttemptClass {
    match status {
        CLOSING => AttemptClass::Throttled,
        status if LOGIN.contains(&status) => AttemptClass::Forbidden,
        400..=599 => AttemptClass::ServerError,
        _ => AttemptClass::UnexpectedStatus,
    }
}

fn describe(status: u16) -> String {
    format!("the mail server answered {status}")
}

/// The text of the server in one line.
fn line(body: &str) -> String {
    body.split_whitespace().collect::<Vec<_>>().join(" ")
}
