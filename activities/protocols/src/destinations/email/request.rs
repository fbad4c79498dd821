//! The email of one attempt: the frozen text, and the headers that identify it.

use super::body::Letter;
use super::config::Config;
use crate::destinations::invalid::Invalid;
use crate::destinations::notes::TestNotes;
use crate::destinations::schedule::Step;
use crate::smtp::{Envelope, Mail};
use domain::Timestamp;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use serde_json::Value;
use std::time::{Duration, UNIX_EPOCH};
use storage::Attempt;

/// The headers of every email, in lower case.
pub const HEADERS: [&str; 10] = [
    "auto-submitted",
    "content-transfer-encoding",
    "content-type",
    "date",
    "from",
    "message-id",
    "mime-version",
    "subject",
    "to",
    EVENT_ID,
];
const EVENT_ID: &str = "x-settle-event-id";
/// Time from the first attempt during which no recipient gets the email as long as the server postpones one of them.
/// Greylisting refuses a first attempt for some minutes (RFC 6647); a full mailbox may last for days.
const PATIENCE_MS: i64 = 15 * 60 * 1000;
pub const TEST_NOTES: TestNotes = TestNotes {
    what: "Sends an email without an event, or with a sample event, to all recipients, and shows the result.",
    takes_sample: true,
    lacks: None,
};

/// The parts of an email that differ between emails with the same text and settings.
struct Stamp {
    /// The part of its `Message-ID` before the `@`.
    id: String,
    /// The value of the header `X-Settle-Event-Id`.
    event: String,
    date: Timestamp,
    awaits_all: bool,
}

/// Returns the email with one event. All attempts have the same date and, as long as the sender's domain stays the
/// same, the same `Message-ID`, so that a repeated email is recognised.
///
/// # Errors
/// Fails unless there is exactly one event, and if the frozen body is not that of an email.
pub fn request(config: &Config, at: Timestamp, attempts: &[Attempt]) -> Result<Mail, Invalid> {
    let [attempt] = attempts else {
        return Err(Invalid::new(
            "attempts",
            "one event: there is one email for each",
        ));
    };
    let letter = serde_json::from_str(&attempt.body).map_err(|_| Invalid::new("body", "a mail"))?;
    let date = attempt.first_tried_at.unwrap_or(at);
    let step = Step {
        number: attempt.number,
        first_tried_at: attempt.first_tried_at,
        at,
    };
    let is_last = config.schedule.wait_ms(step, None, 0.5).is_none();
    let awaits_all = !is_last && at.millis_since(date) < PATIENCE_MS;
    let (id, event) = (
        attempt.delivery_id.to_string(),
        attempt.event_id.to_string(),
    );
    mail(
        config,
        letter,
        Stamp {
            id,
            event,
            date,
            awaits_all,
        },
    )
}

/// Returns an email without a customer's event: about the event `sample` or, without one, about no event.
///
/// # Errors
/// Fails if the email cannot be built.
pub fn test(
    config: &Config,
    at: Timestamp,
    id: &str,
    sample: Option<&Value>,
) -> Result<Mail, Invalid> {
    let prefix = format!("{} Test", config.subject_prefix);
    let letter = match sample {
        None => Letter {
            subject: prefix.trim().to_owned(),
            text: "A test of this destination. It carries no event.\n".to_owned(),
        },
        Some(body) => {
            let types = ["/event_type", "/attributes/event_type"];
            let event_type = types
                .iter()
                .find_map(|path| body.pointer(path)?.as_str())
                .unwrap_or("event");
            Letter::of(&format!("{prefix}:"), event_type, body, None)
        }
    };
    let id = format!("test_{id}");
    mail(
        config,
        letter,
        Stamp {
            event: id.clone(),
            id,
            date: at,
            awaits_all: false,
        },
    )
}

fn mail(config: &Config, letter: Letter, stamp: Stamp) -> Result<Mail, Invalid> {
    let from = config.server.from.clone();
    let date =
        UNIX_EPOCH + Duration::from_micros(u64::try_from(stamp.date.micros()).unwrap_or_default());
    let message_id = format!("<{}@{}>", stamp.id, from.email.domain());
    let mut builder = Message::builder()
        .from(from.clone())
        .subject(letter.subject)
        .date(date)
        .message_id(Some(message_id))
        .raw_header(plain("Auto-Submitted", "auto-generated"))
        .raw_header(plain("X-Settle-Event-Id", &stamp.event));
    for address in &config.to {
        builder = builder.to(Mailbox::new(None, address.clone()));
    }
    let message = builder.singlepart(SinglePart::plain(letter.text));
    let message = message
        .map_err(|error| Invalid::new("to", format!("an email that can be built ({error})")))?;
    let server = &config.server;
    let envelope = Envelope {
        from: from.email,
        to: config.to.clone(),
        awaits_all: stamp.awaits_all,
        security: server.security,
        login: server.login.clone(),
    };
    Ok(Mail {
        server: server.url.clone(),
        envelope,
        message: message.formatted(),
    })
}

/// Returns a header whose value is plain ASCII.
fn plain(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}
