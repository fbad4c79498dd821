//! Destinations of events: one folder per kind, and the list of kinds in `kinds`.
//!
//! This module is pure: settings, requests and replies are values. `activities::http` sends the requests.

mod allowed;
pub mod amplitude;
mod changes;
pub mod email;
mod exchange;
mod help;
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

pub use allowed::{Allowed, Exception, OriginsSetting};
pub use changes::{ChangedSettings, NewSettings, Rotation};
pub use exchange::Exchange;
pub use help::HelpText;
pub use invalid::Invalid;
pub use kind::{Connector, Kind, SecretUrl, Signer};
pub use kinds::{
    add, expected_events, fields, kind, kinds, names, of_release, ready, refusal, rotate, schemas,
    shown_kind, signing,
};
pub use notes::{RenderNotes, TestNotes, VolumeAlarm};
pub use schedule::{ScheduleText, check_schedule};
pub use schemas::KindSchemas;
pub use shown::{has_secret_url, sealed, shown, shown_entry, shown_settings};
