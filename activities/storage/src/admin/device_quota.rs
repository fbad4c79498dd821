//! Daily (UTC) quota and usage of a platform's devices. A process counts in memory and adds its counts to one row for
//! each platform and day; usage is never computed from events.

use crate::people::device_users;
use crate::purchases::users;
use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, row, sql, written_row};
use db::writer::{JobKind, Write};
use domain::{AppId, DevicePlace, PlatformId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

row! {
    /// Usage by a platform's devices on one day.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct DeviceUsage {
        pub events: i64,
        /// Approximate size of the devices' reports in the database, in bytes.
        pub bytes: i64,
        pub devices: i64,
        /// Number of customers that device logins created.
        pub users: i64,
    }
}

/// The highest bound that can be set.
const MAX: i64 = 1_000_000_000_000_000;

written_row! {
    /// The bounds of a platform's day.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    pub struct DeviceQuota {
        /// Maximum number of events accepted from this platform's devices per day (UTC).
        #[schemars(range(min = 0, max = MAX))]
        pub device_events_per_day: i64,
        /// Maximum size in bytes that this platform's device reports may use in the database per day.
        #[schemars(range(min = 0, max = MAX))]
        pub device_bytes_per_day: i64,
        /// Maximum number of new devices per day. Known devices do not count.
        #[schemars(range(min = 0, max = MAX))]
        pub new_devices_per_day: i64,
        /// Maximum number of customers that device logins may create per day.
        #[schemars(range(min = 0, max = MAX))]
        pub new_users_per_day: i64,
    }
}

/// Enough for an app with a million devices a day, all of them new, and 50 events of 1 KiB from each.
impl Default for DeviceQuota {
    fn default() -> Self {
        Self {
            device_events_per_day: 50_000_000,
            device_bytes_per_day: 50 * 1024 * 1024 * 1024,
            new_devices_per_day: 1_000_000,
            new_users_per_day: 1_000_000,
        }
    }
}

impl DeviceQuota {
    /// Returns the bounds as the highest usage that they allow.
    pub const fn bounds(self) -> DeviceUsage {
        DeviceUsage {
            events: self.device_events_per_day,
            bytes: self.device_bytes_per_day,
            devices: self.new_devices_per_day,
            users: self.new_users_per_day,
        }
    }
}

impl AddAssign for DeviceUsage {
    fn add_assign(&mut self, other: Self) {
        self.events = self.events.saturating_add(other.events);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.devices = self.devices.saturating_add(other.devices);
        self.users = self.users.saturating_add(other.users);
    }
}

impl SubAssign for DeviceUsage {
    fn sub_assign(&mut self, other: Self) {
        self.events = self.events.saturating_sub(other.events);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.devices = self.devices.saturating_sub(other.devices);
        self.users = self.users.saturating_sub(other.users);
    }
}

/// A platform, and a day by its number since 1970-01-01 (UTC).
pub type PlatformDay = (PlatformId, i64);

/// Numbers of rows that one statement inserts.
const SIZES: &[usize] = &[100, 10, 1];

// The rows are sorted, so that two processes lock the same rows in the same order.
const ADD: Sql = statement! {"
    INSERT INTO device_days (platform_id, day, events, bytes, devices, users)
    VALUES ?*
    ON CONFLICT (platform_id, day)
    DO UPDATE SET events = device_days.events + excluded.events, bytes = device_days.bytes + excluded.bytes,
        devices = device_days.devices + excluded.devices, users = device_days.users + excluded.users
    RETURNING platform_id, day, events, bytes, devices, users
"};

row! {
    struct DayRow {
        platform_id: PlatformId,
        day: i64,
        events: i64,
        bytes: i64,
        devices: i64,
        users: i64,
    }
}

impl Store {
    /// Adds the usage on at most [`MAX_COUNTS`](crate::store::MAX_COUNTS) platform days; returns the new totals of
    /// these, summed over all processes.
    pub async fn add_device_usage(
        &self,
        used: BTreeMap<PlatformDay, DeviceUsage>,
    ) -> Result<BTreeMap<PlatformDay, DeviceUsage>, Error> {
        let rows: Vec<_> = used.into_iter().collect();
        let add = move |write: &mut Write<'_>| {
            let mut totals = BTreeMap::new();
            for batch in batches(&rows, SIZES) {
                let written: Vec<DayRow> = sql(ADD)
                    .bind_rows(batch.iter().map(row))
                    .all(write.connection)?;
                totals.extend(written.into_iter().map(DayRow::usage));
            }
            Ok(totals)
        };
        self.database
            .writer
            .write(JobKind::Count("device_days"), add)
            .await
    }

    /// Whether a device has reported or logged in.
    pub async fn knows_device(&self, place: DevicePlace) -> Result<bool, Error> {
        self.read_for_devices(move |connection| device_users::is_known(connection, place))
            .await
    }

    /// Whether a device belongs to a customer: a customer is logged in on it, or the store confirmed one of its
    /// purchases.
    pub async fn has_customer(&self, place: DevicePlace) -> Result<bool, Error> {
        self.read_for_devices(move |connection| device_users::has_customer(connection, place))
            .await
    }

    /// Whether a customer of an app has this external id.
    pub async fn knows_external_id(&self, app: AppId, external_id: String) -> Result<bool, Error> {
        self.read_for_devices(move |connection| {
            Ok(users::named(connection, app, &external_id)?.is_some())
        })
        .await
    }
}

fn row(((platform, day), used): &(PlatformDay, DeviceUsage)) -> [Value<'static>; 6] {
    let DeviceUsage {
        events,
        bytes,
        devices,
        users,
    } = *used;
    [
        (*platform).into(),
        (*day).into(),
        events.into(),
        bytes.into(),
        devices.into(),
        users.into(),
    ]
}

impl DayRow {
    const fn usage(self) -> (PlatformDay, DeviceUsage) {
        let Self {
            platform_id,
            day,
            events,
            bytes,
            devices,
            users,
        } = self;
        (
            (platform_id, day),
            DeviceUsage {
                events,
                bytes,
                devices,
                users,
            },
        )
    }
}
