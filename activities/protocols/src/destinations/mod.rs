//! Destinations of events: one folder per kind, and the list of kinds in `kinds`.
//!
//! Pure: settings, requests and replies are values. `activities::http` sends the requests.

mod allowed;
pub mod amplitude;
mod changes;
pub mod email;
mod exchange;
mod invalid;
mod kind;
mod kinds;
mod notes;
mod redaction;
pub mod schedule;
mod schemas;
pub mod sentence;
mod settings;
mod shown;
mod unnamed;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use allowed::{Allowed, Exception};
pub use changes::{ChangedSettings, NewSettings, Rotation};
pub use exchange::Exchange;
pub use invalid::Invalid;
pub use kind::{Connector, Kind, SecretUrl, Signer};
pub use kinds::{
    KINDS, expected_events, fields, kind, ready, refusal, rotate, schemas, shown_kind,
};
pub use notes::{RenderNotes, TestNotes};
pub use schedule::{ScheduleText, check_schedule};
pub use schemas::KindSchemas;
pub use shown::{has_secret_url, sealed, shown, shown_entry, shown_settings};
