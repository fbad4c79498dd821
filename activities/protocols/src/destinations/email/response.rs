//! Judges a reply of the SMTP server.
//!
//! * 2xx: the email is delivered. The server accepted it for at least one recipient; the reply names the others.
//! * 5xx to a recipient or to the text: the event fails for good.
//! * Any other 5xx (to the greeting, the login or the sender), every 4xx, and no reply: retried until the schedule
//!   ends. 421 also pauses the destination.
//!
//! A 4xx to a recipient also counts as a failure of the destination, because the server may refuse all recipients. It
//! does not count if the server accepted another recipient of the email, or if the recipient's mailbox is the reason.

use super::config::Config;
use crate::destinations::exchange::Exchange;
use crate::smtp::{CLOSING, Command, OF_MAILBOX, Reply};
use domain::time::duration;
use storage::{AttemptClass, DeliveryResult, EndpointSignal};

/// Codes with which the server requires a login, or refuses it.
const LOGIN: [u16; 4] = [530, 534, 535, 538];

/// Judges a reply for the event and for the destination. The jitter spreads a wait by up to 20 % either way.
pub fn judge(config: &Config, exchange: Exchange<'_, Reply>) -> DeliveryResult {
    let reply = exchange.reply;
    let endpoint_signal = match reply {
        Reply::Answer {
            code: 200..=299, ..
        } => EndpointSignal::Success,
        Reply::Answer { code: CLOSING, .. } => EndpointSignal::Failure {
            pause: Some(duration(config.schedule.pause_ms(None))),
        },
        Reply::Answer {
            code: 400..=499, ..
        } if is_about_recipient(reply) => EndpointSignal::Neutral,
        Reply::Answer { .. } | Reply::Failure { .. } => EndpointSignal::Failure { pause: None },
    };
    let (class, error) = match reply {
        Reply::Answer {
            code: 200..=299, ..
        } => (AttemptClass::Success, None),
        Reply::Answer { code, .. } if is_final(reply) => {
            (AttemptClass::Refused, Some(describe(*code)))
        }
        Reply::Answer { code, .. } => (class(*code), Some(describe(*code))),
        Reply::Failure { class, message } => (*class, Some(message.clone())),
    };
    exchange.judged(&config.schedule, class, error, endpoint_signal)
}

/// Describes the reply to a test.
///
/// # Errors
/// Returns why an email would not have been delivered.
pub fn describe_test(reply: &Reply) -> Result<String, String> {
    match reply {
        Reply::Answer {
            code: code @ 200..=299,
            text,
            ..
        } => Ok(format!("{}: {}", describe(*code), line(text))),
        Reply::Answer { code, text, .. } => Err(format!("{}: {}", describe(*code), line(text))),
        Reply::Failure { message, .. } => Err(message.clone()),
    }
}

/// Returns whether the server refused this email for good because of a recipient or the message, and not settle itself.
fn is_final(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Answer { command: Command::Rcpt | Command::Data, code: code @ 500..=599, .. }
            if !LOGIN.contains(code)
    )
}

/// Returns whether the server postponed one recipient but works otherwise.
fn is_about_recipient(reply: &Reply) -> bool {
    let Reply::Answer {
        command: Command::Rcpt,
        accepted,
        text,
        ..
    } = reply
    else {
        return false;
    };
    accepted.is_some_and(|others| others > 0) || text.starts_with(OF_MAILBOX)
}

fn class(code: u16) -> AttemptClass {
    match code {
        CLOSING => AttemptClass::Throttled,
        code if LOGIN.contains(&code) => AttemptClass::Forbidden,
        400..=599 => AttemptClass::ServerError,
        _ => AttemptClass::UnexpectedStatus,
    }
}

fn describe(code: u16) -> String {
    format!("the mail server answered {code}")
}

/// Returns the server's text in one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
