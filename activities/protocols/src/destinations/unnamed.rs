//! The setting that decides whether a destination receives events of customers without an external id. Every kind whose
//! receivers are programs has it, under the same name.

use crate::form::{Entry, Input};
use domain::user::TRANSFERRED_FROM;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::Rendered;

/// The name of the setting in the API.
pub const FIELD: &str = "without_external_id";

/// How events of customers without an external id are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutExternalId {
    /// Send them.
    #[default]
    Send,
    /// Wait until the customer has an external id, for up to 30 days.
    // After that, storage releases them and gives them up after `storage::LONGEST_WAIT`.
    Wait,
    /// Skip them.
    Skip,
}

impl WithoutExternalId {
    /// Parses the setting; null gives the default. `None` for any other invalid value.
    pub fn parse(value: &Value) -> Option<Self> {
        if value.is_null() {
            Some(Self::default())
        } else {
            serde_json::from_value(value.clone()).ok()
        }
    }

    /// Returns why an event of a customer without an external id is not sent yet or never will be; `None` if it is sent.
    ///
    /// An anonymous former owner never gets an external id, and the destination received no event of that user, so it
    /// has nothing to undo.
    pub fn put_aside(self, event_type: &str) -> Option<Rendered> {
        match self {
            Self::Send => None,
            Self::Wait | Self::Skip if event_type == TRANSFERRED_FROM => {
                let why = "the former owner has no external id, so the destination got no event of that user";
                Some(Rendered::Skip {
                    why: why.to_owned(),
                })
            }
            Self::Wait => Some(Rendered::Wait {
                why: "the customer has no external id yet".to_owned(),
            }),
            Self::Skip => Some(Rendered::Skip {
                why: "the customer has no external id".to_owned(),
            }),
        }
    }
}

pub const fn entry() -> Entry {
    Entry::new(FIELD, "Customers without an external id", Input::Select)
        .choices(&[
            ("send", "Send their events"),
            ("wait", "Wait up to 30 days for the id"),
            ("skip", "Skip their events"),
        ])
        .folded()
}
