//! The body of a webhook: the event's stored body. `purchase.updated` also gets the fields that differ per destination,
//! and a `user.*` event that waited for the customer's external id gets that id. With the setting `slack`, the body is
//! a chat message instead.

use super::config;
use super::settings::BodyShape;
use crate::destinations::sentence::{Sentence, sentence};
use crate::destinations::unnamed::WithoutExternalId;
use domain::device;
use domain::event::{PURCHASE_UPDATED, for_destination};
use domain::user::with_external_id;
use serde_json::{Value, json};
use storage::{Destination, Rendered, StreamedEvent, Unsent};

/// Renders the body that every attempt sends, or returns why the event is not sent yet, or never will be.
///
/// An external id that became known after the event was recorded is added only for a webhook that gets no events of
/// customers without one: any other webhook gets events as they were recorded. A purchase's record is never changed,
/// because its digest covers it; the next revision has the id.
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

/// Renders the body of a device event, which every attempt sends. It includes the store's ids only if the setting
/// `device_receipts` is on.
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

/// Returns a sample event in this shape. A chat shows no headers, so a message begins with `Test:`.
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

/// Returns the body of a batch in this shape: an array of the bodies, or one message. A batch contains messages only if
/// it was first sent before the setting was changed.
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

/// Returns a message with the title in bold, and a line for each value
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

/// Zero-width space: invisible, and breaks what a chat would read as a link or a mention.
const BREAK: char = '\u{200b}';

/// Escapes a text so that a chat shows it literally. The result has no mentions, neither Slack's (`<!channel>`) nor
/// those of Mattermost and Discord (`@channel`), and no links: in Slack's brackets, in Markdown (`[text](URL)`), or as
/// a bare URL.
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

/// Returns whether the character at this position joins the two parts of a link: a scheme and its host, or a text and
/// its URL.
fn is_link(text: &str, at: usize) -> bool {
    text.get(at..)
        .is_some_and(|rest| rest.starts_with("://") || rest.starts_with("]("))
}

/// Returns whether an `@` at this position begins a mention: of a name or, even after a letter, of a group such as
/// `@all`. The `@` of an email address does not.
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
    let is_group = ["all", "channel", "everyone", "here"]
        .iter()
        .any(|group| name.eq_ignore_ascii_case(group));
    is_group || !before.ends_with(char::is_alphanumeric)
}
