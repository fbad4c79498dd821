//! The text of an event's email. It is frozen at the first attempt, and every attempt sends it.

use super::settings::Settings;
use crate::destinations::sentence::sentence;
use crate::destinations::settings;
use domain::EventId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{Destination, Rendered, Unsent};

/// The parts of an email that follow from its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub subject: String,
    pub text: String,
}

/// Renders an event's email, as JSON.
pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
    let prefix =
        settings::read(&destination.settings).map(|settings: Settings| settings.subject_prefix);
    let letter = Letter::of(
        &prefix.unwrap_or_default(),
        &unsent.event_type,
        &unsent.body,
        Some(unsent.event_id),
    );
    match serde_json::to_string(&letter) {
        Ok(text) => Rendered::Body(text),
        Err(error) => Rendered::Refuse {
            why: error.to_string(),
        },
    }
}

impl Letter {
    /// Returns the email about an event. `id` is `None` for a sample event.
    pub fn of(prefix: &str, event_type: &str, body: &Value, id: Option<EventId>) -> Self {
        let sentence = sentence(event_type, body);
        let subject = format!("{prefix} {}", sentence.title).trim().to_owned();
        let mut lines = vec![sentence.title, String::new()];
        lines.extend(
            sentence
                .lines
                .iter()
                .map(|(label, value)| format!("{label}: {value}")),
        );
        lines.extend(sentence.link.map(|link| format!("Link: {link}")));
        lines.extend([String::new(), format!("Event: {event_type}")]);
        lines.extend(id.map(|id| format!("Id: {id}")));
        Self {
            subject,
            text: lines.join("\n") + "\n",
        }
    }
}
