//! Amplitude: the events of a customer's project, for analysts.
//!
//! Requests follow Amplitude's HTTP V2 API (<https://amplitude.com/docs/apis/analytics/http-v2>). The README of this folder
//! lists what is sent and what each answer means. Batch upload, the Identify API and deletion are not used.

mod answer;
pub mod body;
mod caps;
pub mod config;
mod identity;
mod keys;
mod properties;
pub mod request;
pub mod response;
mod revenue;
pub mod schemas;
mod settings;

#[cfg(test)]
mod tests;

pub use config::Config;

use super::schedule::ScheduleText;
use domain::attempt::{RECOGNIZED, REPEATED};
use std::time::Duration;

/// Its schedule for people.
pub const SCHEDULE: ScheduleText = ScheduleText {
    usual: "5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h, then daily, until 6d 23h after the first attempt",
    end: "; never later than 6d 23h after the first attempt",
};
/// The name of this kind.
pub const KIND: &str = "amplitude";
/// How long after its first attempt an event is sent.
pub const GIVES_UP_AFTER: Duration = REPEATED;
/// How long without success before it is disabled: as long as its events can be repeated.
pub const DISABLE_AFTER: Duration = RECOGNIZED;
