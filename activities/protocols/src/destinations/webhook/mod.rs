//! A webhook: an HTTPS endpoint that receives signed events.
//!
//! Requests follow Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>).

pub mod body;
pub mod config;
pub mod form;
mod headers;
pub mod kind;
pub mod request;
pub mod response;
pub mod schemas;
pub mod secret_url;
mod secrets;
mod settings;
mod signature;

#[cfg(test)]
mod tests;

use super::schedule::ScheduleText;
use domain::time::DAY;
use std::time::Duration;

/// The default schedule, as the command line shows it.
pub const SCHEDULE: ScheduleText = ScheduleText {
    usual: "10 attempts over 75 h 35 m",
    end: "",
};
/// The name of this kind of destination, in the API and in the database.
pub const KIND: &str = "webhook";
/// Time without a success after which a failed request disables the destination: five days.
pub const DISABLE_AFTER: Duration = DAY.saturating_mul(5);
