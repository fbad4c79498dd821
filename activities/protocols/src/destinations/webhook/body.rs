//! The body of an event: the stored body. In `purchase.updated`, fields that differ per destination are added; in a
//! `user.*` event that waited for the customer's external id, that id is added. A setting turns it into a chat message
//! instead.

use super::config;
use super::settings::BodyShape;
use crate::destinations::sentence::{Sentence, sentence};
use crate::destinations::unnamed::WithoutExternalId;
use domain::device;
use domain::event::{PURCHASE_UPDATED, for_destination};
use domain::user::with_external_id;
use serde_json::{Value, json};
use storage::{Destination, Rendered, StreamedEvent, Unsent};

/// Renders the body, which every attempt sends, or returns the reason for which the event is not sent now or ever.
///
/// Only a webhook that does not get events of customers without an external id gets the id that became known after the
/// recording: otherwise events are sent as they were recorded. The record of a purchase is never changed, because its
/// digest proves it; the next revision has the id.
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    let setting = config::without_external_id(&destination.settings);
    let is_state = unsent.event_type == PURCHASE_UPDATED;
    let is_of_customer = is_state || unsent.event_type.starts_with("user.");
    let aside = if is_of_customer && unsent.external_id.is_none() {
        setting.put_aside(&unsent.event_type)
    } else {
        None
    };
    if let Some(rendered) = aside {
        return rendered;
    }
    let body = unsent.body.clone();
    let body = match unsent.external_id.as_deref() {
        _ if is_state => for_destination(body, destination.id, unsent.acked_revision),
        Some(external_id) if setting != WithoutExternalId::Send => {
            with_external_id(body, external_id)
        }
        _ => body,
    };
    Rendered::Body(
        shaped(
            config::body_shape(&destination.settings),
            &unsent.event_type,
            body,
        )
        .to_string(),
    )
}

/// Renders the body of an event of a device, which every attempt sends: without the store's ids, unless a setting wants
/// them.
pub fn render_streamed(destination: &Destination, event: &StreamedEvent) -> Rendered {
    match serde_json::from_str(&event.body) {
        Ok(body) => {
            let body = device::for_destination(body, destination.id);
            let is_whole = config::has_device_receipts(&destination.settings);
            let body = if is_whole {
                body
            } else {
                device::without_receipts(body)
            };
            let shape = config::body_shape(&destination.settings);
            Rendered::Body(shaped(shape, &event.event_type, body).to_string())
        }
        Err(_) => Rendered::Refuse {
            why: "retention removed the body of the event".to_owned(),
        },
    }
}

/// Converts an event to this shape.
pub fn shaped(shape: BodyShape, event_type: &str, event: Value) -> Value {
    match shape {
        BodyShape::Event => event,
        BodyShape::Slack => message(&sentence(event_type, &event)),
    }
}

/// A made-up event in this shape. A chat shows no header, so a message begins with what it is.
pub fn sample(shape: BodyShape, event: &Value) -> Value {
    match shape {
        BodyShape::Event => event.clone(),
        BodyShape::Slack => {
            let sentence = sentence(type_of(event), event);
            message(&Sentence {
                title: format!("Test: {}", sentence.title),
                ..sentence
            })
        }
    }
}

/// The body of a request with several bodies in this shape: an array, or one message. Messages are in a batch only when it
/// was sent before the setting was changed.
pub fn batch(shape: BodyShape, bodies: &[&str]) -> String {
    match shape {
        BodyShape::Event => format!("[{}]", bodies.join(",")),
        BodyShape::Slack => {
            let texts = bodies
                .iter()
                .filter_map(|body| serde_json::from_str::<Value>(body).ok());
            let texts = texts.filter_map(|body| body["text"].as_str().map(str::to_owned));
            json!({ "text": texts.collect::<Vec<_>>().join("\n\n") }).to_string()
        }
    }
}

fn type_of(event: &Value) -> &str {
    let own = event
        .get("event_type")
        .or_else(|| event.pointer("/attributes/event_type"));
    own.and_then(Value::as_str).unwrap_or_default()
}

/// A message with the title in bold, and a line for each value
/// (<https://docs.slack.dev/messaging/formatting-message-text>).
fn message(sentence: &Sentence) -> Value {
    let lines = sentence
        .lines
        .iter()
        .map(|(label, value)| format!("\n{label}: {}", escaped(value)));
    let link = sentence
        .link
        .as_ref()
        .map_or_else(String::new, |link| format!("\nLink: {link}"));
    json!({ "text": format!("*{}*{}{link}", escaped(&sentence.title), lines.collect::<String>()) })
}

/// Breaks what a chat would read as a link or a mention, and is invisible: a space of no width.
const BREAK: char = '\u{200b}';

/// A text that a chat shows as it is: no mention of Slack's (`<!channel>`), and none of those that Mattermost and
/// Discord read without brackets (`@channel`). No link in Slack's brackets, in Markdown (`[text](URL)`), or of a URL
/// alone.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        match letter {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            letter if is_link(text, at) || is_mention(text, at) => shown.extend([letter, BREAK]),
            letter => shown.push(letter),
        }
    }
    shown
}

/// Whether the character at this place joins the two parts of a link: a scheme and its host, or a text and its URL.
fn is_link(text: &str, at: usize) -> bool {
    text.get(at..)
        .is_some_and(|rest| rest.starts_with("://") || rest.starts_with("]("))
}

/// Whether an `@` at this place begins a name, or one that stands for many people. That of an e-mail address does not.
fn is_mention(text: &str, at: usize) -> bool {
    let (before, rest) = text.split_at_checked(at).unwrap_or_default();
    if !rest.starts_with('@') {
        return false;
    }
    let name = rest
        .trim_start_matches('@')
        .split(|letter: char| !letter.is_alphanumeric())
        .next()
        .unwrap_or_default();
    let is_crowd = ["all", "channel", "everyone", "here"]
        .iter()
        .any(|crowd| name.eq_ignore_ascii_case(crowd));
    is_crowd || !before.ends_with(char::is_alphanumeric)
}
