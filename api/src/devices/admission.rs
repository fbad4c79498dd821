//! The one table of limits on device requests: what each limit counts, for which sender, its bound, and the error
//! beyond it. The counters, places and quotas next to this file take their errors and metrics from it, and `README.md`
//! lists its rows.
//!
//! Not here: authentication by key, secret and login token; the limits on connections, body size and request duration,
//! which also apply to stores; and the bounds on claims, beyond which claims are dropped but their events are stored.

use crate::error::Error;
use metrics::counter;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Maximum number of requests that are handled concurrently.
pub const PLACES: usize = 128;
/// Maximum number of concurrent requests from one address; with IPv6, from the subnet and from the whole site.
pub const PLACES_OF_NETWORK: [usize; 2] = [8, 32];
/// Beginning of the error sentence when a platform's quota is used up.
pub const PLATFORM_USED: &str = "the devices of this platform used up their";

const ADDRESS: &str = "address or IPv6 `/64`";

/// What a daily quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaKind {
    Events,
    /// Number of bytes that reports take in the database.
    Bytes,
    Devices,
    Users,
}

/// A limit on requests. Beyond it, a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    AddressRequests,
    /// A platform's daily quota.
    Day(QuotaKind),
    Disk,
    AddressBytes,
    AddressPlaces,
    SitePlaces,
    Places,
    DeviceRequests,
}

/// All limits, in the order in which a request is checked against them.
pub const GATES: [Gate; 11] = [
    Gate::AddressRequests,
    Gate::Day(QuotaKind::Events),
    Gate::Day(QuotaKind::Bytes),
    Gate::Disk,
    Gate::AddressBytes,
    Gate::AddressPlaces,
    Gate::SitePlaces,
    Gate::Places,
    Gate::DeviceRequests,
    Gate::Day(QuotaKind::Devices),
    Gate::Day(QuotaKind::Users),
];

/// A limit's row in the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What is counted.
    pub what: &'static str,
    /// Sender to which the limit applies.
    pub per: &'static str,
    pub bound: Bound,
    denial: Denial,
    /// Label `reason` in the metric of refused requests; `None` if they are not counted.
    reason: Option<&'static str>,
}

/// Bound of a limit.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// The value of an operator's setting.
    Setting(&'static str),
    /// The value of a platform's setting.
    Quota(&'static str),
    Number(usize),
}

/// Error response beyond a limit.
#[derive(Debug, Clone, Copy)]
enum Denial {
    /// 429 `too_many`, with the subject of the error sentence.
    TooMany(&'static str),
    /// 429 `device_quota`.
    Quota,
    /// 503 `no_room`.
    NoRoom,
    /// 503 `unavailable`, with its error sentence.
    Busy(&'static str),
}

impl Gate {
    /// Returns this limit's row in the table.
    pub const fn row(self) -> Row {
        match self {
            Self::AddressRequests => Row {
                what: "requests",
                per: ADDRESS,
                bound: Bound::Setting("devices.requests_per_second_and_address"),
                denial: Denial::TooMany("this address"),
                reason: None,
            },
            Self::Day(QuotaKind::Events) => day("events", "device_events_per_day"),
            Self::Day(QuotaKind::Bytes) => day("bytes", "device_bytes_per_day"),
            Self::Day(QuotaKind::Devices) => day("new devices", "new_devices_per_day"),
            Self::Day(QuotaKind::Users) => day("new customers", "new_users_per_day"),
            Self::Disk => Row {
                what: "free space of the disk",
                per: "database",
                bound: Bound::Setting("devices.disk_reserve"),
                denial: Denial::NoRoom,
                reason: Some("disk"),
            },
            Self::AddressBytes => Row {
                what: "bytes of bodies",
                per: ADDRESS,
                bound: Bound::Setting("devices.bytes_per_second_and_address"),
                denial: Denial::TooMany("this address"),
                reason: Some("bytes"),
            },
            Self::AddressPlaces => Row {
                what: "requests at once",
                per: ADDRESS,
                bound: Bound::Number(PLACES_OF_NETWORK[0]),
                denial: Denial::TooMany("this address"),
                reason: None,
            },
            Self::SitePlaces => Row {
                what: "requests at once",
                per: "IPv6 `/48`",
                bound: Bound::Number(PLACES_OF_NETWORK[1]),
                denial: Denial::TooMany("this address"),
                reason: None,
            },
            Self::Places => Row {
                what: "requests at once",
                per: "process",
                bound: Bound::Number(PLACES),
                denial: Denial::Busy("too many devices are reporting; try again"),
                reason: None,
            },
            Self::DeviceRequests => Row {
                what: "requests",
                per: "device and shown secret",
                bound: Bound::Setting("devices.requests_per_second"),
                denial: Denial::TooMany("this device"),
                reason: None,
            },
        }
    }

    /// Returns the error for a refused request. A request may be accepted after `wait`.
    pub fn refuse(self, wait: Duration) -> Error {
        self.refuse_part(PLATFORM_USED, wait)
    }

    /// Returns the error like [`Self::refuse`], but begins a quota's sentence with `who`.
    pub fn refuse_part(self, who: &'static str, wait: Duration) -> Error {
        let Row {
            what,
            denial,
            reason,
            ..
        } = self.row();
        if let Some(reason) = reason {
            counter!("settle_device_requests_refused_total", "reason" => reason).increment(1);
        }
        match denial {
            Denial::TooMany(what) => Error::TooMany { what, wait },
            Denial::Quota => Error::Quota { who, what, wait },
            Denial::NoRoom => Error::NoRoom(wait),
            Denial::Busy(detail) => Error::Unavailable(detail.to_owned()),
        }
    }
}

/// Returns the row of a platform's daily quota.
const fn day(what: &'static str, setting: &'static str) -> Row {
    Row {
        what,
        per: "platform and day",
        bound: Bound::Quota(setting),
        denial: Denial::Quota,
        reason: Some("quota"),
    }
}

impl Display for Bound {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(name) | Self::Quota(name) => write!(formatter, "`{name}`"),
            Self::Number(number) => write!(formatter, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_that_of_the_gates() {
        let row = |gate: Gate| {
            let Row {
                what, per, bound, ..
            } = gate.row();
            let bound = match bound {
                Bound::Setting(_) => format!("[{bound}](../config/README.md)"),
                Bound::Quota(_) => format!("[{bound}](#daily-quotas)"),
                Bound::Number(_) => bound.to_string(),
            };
            let error = gate.refuse(Duration::ZERO);
            let (status, name, _) = error.answer();
            let status = status.as_u16();
            format!("| {what} | {per} | {bound} | {status} `{name}` |\n")
        };
        let table: String = GATES.into_iter().map(row).collect();
        let documented = include_str!("README.md")
            .split("|---|---|---|---|\n")
            .nth(1)
            .unwrap_or_default();
        assert_eq!(documented, table, "the table in api/src/devices/README.md");
    }
}
