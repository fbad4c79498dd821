//! Amplitude: sends events to a project at this analytics vendor.
//!
//! Requests follow Amplitude's HTTP V2 API (<https://amplitude.com/docs/apis/analytics/http-v2>). This folder's README
//! lists what is sent and what each response means. Batch upload and the Identify API are not used.

mod answer;
pub mod body;
mod caps;
pub mod config;
pub mod deletion;
pub mod device;
pub mod form;
mod identity;
mod keys;
pub mod kind;
mod properties;
pub mod request;
pub mod response;
mod revenue;
pub mod schemas;
mod settings;

#[cfg(test)]
mod tests;

use super::allowed::OriginsSetting;
use super::schedule::ScheduleText;
use domain::attempt::{RECOGNIZED, REPEATED};
use std::time::Duration;

/// The default schedule, as the command line shows it.
pub const SCHEDULE: ScheduleText = ScheduleText {
    usual: "5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h, then daily, until 6d 23h after the first attempt",
    end: "; never later than 6d 23h after the first attempt",
};
/// The name of this kind of destination, in the API and in the database.
pub const KIND: &str = "amplitude";
/// The operator's setting of the origins that are allowed besides Amplitude's.
pub const ALLOWED_URLS: OriginsSetting = OriginsSetting {
    field: "amplitude.allowed_urls",
    variable: "SETTLE_AMPLITUDE_ALLOWED_URLS",
};
/// Time after an event's first attempt at which it is no longer sent: one hour less than the seven days in which
/// Amplitude recognizes a repeated event.
pub const GIVES_UP_AFTER: Duration = REPEATED;
/// Time without a success after which a failed request disables the destination: the seven days in which Amplitude
/// recognizes a repeated event, which is one hour longer than [`GIVES_UP_AFTER`].
pub const DISABLE_AFTER: Duration = RECOGNIZED;
