//! Emails about selected events, sent through the operator's SMTP server.

pub mod body;
pub mod config;
pub mod form;
pub mod kind;
pub mod request;
pub mod response;
pub mod schemas;
mod settings;

#[cfg(test)]
mod tests;

use super::notes::VolumeAlarm;

/// The name of this kind of destination, in the API and in the database.
pub const KIND: &str = "email";
/// Requests per second to a destination that sets no rate of its own.
pub const RATE: i64 = 1;
/// The alarm that an app has sent too many emails in a day.
pub const ALARM: VolumeAlarm = VolumeAlarm {
    alarm: "many_emails",
    bound: 1000,
    what: "emails",
};
