//! Mails to people about chosen events, by the SMTP server of the operator.

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
use super::schedule::ScheduleText;
use domain::time::DAY;
use std::time::Duration;

/// The name of this kind of destination, in the API and in the database.
pub const KIND: &str = "email";
/// The default schedule, as the command line shows it.
pub const SCHEDULE: ScheduleText = ScheduleText {
    usual: "10 attempts over 75 h 35 m",
    end: "",
};
/// Requests a second of a destination that sets none.
pub const RATE: i64 = 1;
/// The alarm about too many mails of an app in a day.
pub const ALARM: VolumeAlarm = VolumeAlarm {
    alarm: "many_emails",
    bound: 1000,
    what: "emails",
};
/// Time without a success after which a failed request disables the destination: five days.
pub const DISABLE_AFTER: Duration = DAY.saturating_mul(5);
