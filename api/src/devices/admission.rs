//! The one table of limits that a device's request passes: what each counts, per sender, how much, and the error beyond
//! it. The counters, places and quotas beside this file take their errors and metrics from it, and `README.md` lists
//! its rows.
//!
//! Not here: what a key, a secret and a login's token prove; the limits of connections, of the size of a body and of
//! the duration of a request, which stores have too; and the bounds of claims, which are dropped while their events are
//! stored.

use crate::error::Error;
use metrics::counter;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Maximum number of requests that are carried out at once.
pub const PLACES: usize = 128;
/// Maximum numbers of these of one address, and with IPv6 of the whole site.
pub const PLACES_OF_NETWORK: [usize; 2] = [8, 32];
/// The beginning of the sentence with which a used-up quota of a platform refuses a request.
pub const PLATFORM_USED: &str = "the devices of this platform used up their";

const ADDRESS: &str = "address or IPv6 `/64`";

/// What a quota of a day counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaKind {
    Events,
    /// Bytes that reports take in the database.
    Bytes,
    Devices,
    Users,
}

/// A limit that a request passes, or at which it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    AddressRequests,
    /// A platform's quota of a day.
    Day(QuotaKind),
    Disk,
    AddressBytes,
    AddressPlaces,
    SitePlaces,
    Places,
    DeviceRequests,
}

/// All gates, in the order in which a request passes them.
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

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What is counted.
    pub what: &'static str,
    /// The sender for which it is counted.
    pub per: &'static str,
    pub bound: Bound,
    denial: Denial,
    /// The label `reason` of the metric of refused requests; `None` if they are not counted.
    reason: Option<&'static str>,
}

/// How much may pass.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// The value of an operator's setting.
    Setting(&'static str),
    /// The value of a platform's setting.
    Quota(&'static str),
    Number(usize),
}

/// The error of a request that does not pass.
#[derive(Debug, Clone, Copy)]
enum Denial {
    /// 429 `too_many`, with the subject of its sentence.
    TooMany(&'static str),
    /// 429 `device_quota`.
    Quota,
    /// 503 `no_room`.
    NoRoom,
    /// 503 `unavailable`, with its sentence.
    Busy(&'static str),
}

impl Gate {
    /// Returns the row of this gate in the table.
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

    /// Refuses a request, which may pass after this time.
    pub fn refuse(self, wait: Duration) -> Error {
        self.refuse_part(PLATFORM_USED, wait)
    }

    /// Refuses a request as [`Self::refuse`] does, but the sentence of a quota begins with `who`.
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

/// Returns the row of a platform's quota.
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
