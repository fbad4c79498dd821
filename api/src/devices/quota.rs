//! Daily quotas (UTC) of what a platform's devices may report: events, bytes in the database, new devices and new
//! customers. Beyond a quota, requests get 429 until the next day, and a single alarm names the quota. Known devices
//! and customers are not new, so they can log in and out beyond any quota. Notifications are not counted.
//!
//! Within each quota, one network (an IPv4 address or an IPv6 /48) has a share, so that a single network cannot use up
//! a platform's day. The last tenth of a quota and of a share is reserved for devices with a signed login or a verified
//! claim.
//!
//! Each process counts in memory. Once a second, a task adds the counts to the database and reads those of other
//! processes. So together they may exceed a quota by the reports of one second, and after a restart, earlier counts are
//! only known a second after the first request.

use super::admission::{Gate, PLATFORM_USED, QuotaKind, Row};
use crate::error::Error;
use domain::time::DAY;
use domain::{DevicePlace, PlatformId, Timestamp};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::{DeviceUsage, MAX_COUNTS, Platform, PlatformDay, Store, chain};
use tokio::time::{MissedTickBehavior, interval};

/// Time between two writes of the counts.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of known devices in memory. Beyond it, all are dropped and looked up again.
const MAX_KNOWN: usize = 100_000;
/// Maximum number of networks whose usage is counted. Beyond it, all counts restart.
const MAX_NETWORKS: usize = 100_000;
/// Divisor for one network's share of a quota, and the minimum share: an office or a small app is a single network.
const SHARE: i64 = 100;
const LEAST: DeviceUsage = DeviceUsage {
    events: 100_000,
    bytes: 256 * 1024 * 1024,
    devices: 10_000,
    users: 10_000,
};
/// Divisor for the part of a quota that is reserved for devices with a customer.
const RESERVED: i64 = 10;
/// Approximate number of bytes that a new device takes in the database.
pub const DEVICE_BYTES: i64 = 600;

impl QuotaKind {
    /// Returns one network's share of a quota.
    fn share(self, bounds: &DeviceUsage) -> i64 {
        (self.of(bounds) / SHARE).max(self.of(&LEAST))
    }

    const fn of(self, usage: &DeviceUsage) -> i64 {
        match self {
            Self::Events => usage.events,
            Self::Bytes => usage.bytes,
            Self::Devices => usage.devices,
            Self::Users => usage.users,
        }
    }
}

/// Part of a quota that a device may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Whole,
    /// The part for a device with neither a signed login nor a verified claim.
    Anonymous,
}

impl Part {
    const fn of(self, bound: i64) -> i64 {
        match self {
            Self::Whole => bound,
            Self::Anonymous => bound - bound / RESERVED,
        }
    }
}

/// Owner of a used-up quota: a network or the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Platform(Part),
    Network(Part),
}

impl Holder {
    const fn alarm(self) -> &'static str {
        match self {
            Self::Platform(_) => "device_quota",
            Self::Network(_) => "network_quota",
        }
    }

    /// Returns the beginning of the error sentence.
    const fn who(self) -> &'static str {
        match self {
            Self::Platform(Part::Whole) => PLATFORM_USED,
            Self::Platform(Part::Anonymous) => {
                "the devices of this platform without a signed login or a verified claim used up their"
            }
            Self::Network(Part::Whole) => "this network used up its share of the platform's",
            Self::Network(Part::Anonymous) => {
                "the devices of this network without a signed login or a verified claim used up their share of the \
                 platform's"
            }
        }
    }
}

/// A quota that was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    holder: Holder,
    kind: QuotaKind,
    bound: i64,
}

/// A platform's usage on one day.
#[derive(Debug, Default)]
struct Day {
    /// Usage written by all processes, as of this process's last write.
    written: DeviceUsage,
    waiting: DeviceUsage,
    /// Used-up quotas that this process knows about. A quota that was raised may be used up again.
    reached: BTreeSet<Reached>,
}

/// The platform and network whose quotas a request uses.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    pub platform: &'a Platform,
    /// Network that sends the request.
    pub network: IpNet,
}

#[derive(Debug, Default)]
pub struct Quotas {
    days: Mutex<BTreeMap<PlatformDay, Day>>,
    /// Each network's usage on a day, as counted by this process.
    networks: Mutex<HashMap<(PlatformDay, IpNet), DeviceUsage>>,
    /// Alarms that are not stored yet.
    alarms: Mutex<BTreeSet<(PlatformDay, Reached)>>,
    known: Mutex<HashSet<DevicePlace>>,
}

impl Quotas {
    /// Checks that a platform's devices may use more of these quotas from this network.
    ///
    /// # Errors
    /// 429 if one of these quotas is used up for the day.
    pub fn check(
        &self,
        reporter: Reporter<'_>,
        kinds: &[QuotaKind],
        now: Timestamp,
    ) -> Result<(), Error> {
        let reached = self.find_reached(reporter, kinds, Part::Whole, now);
        reached.map_or(Ok(()), |reached| {
            Err(self.refuse(reporter.platform.id, reached, now))
        })
    }

    /// Checks that a device may report more from this network. The last tenth of a quota is reserved for devices with a
    /// customer.
    ///
    /// # Errors
    /// 429 if the device has no customer and only the reserved part is left for the day.
    pub async fn check_customer(
        &self,
        store: &Store,
        reporter: Reporter<'_>,
        place: DevicePlace,
        now: Timestamp,
    ) -> Result<(), Error> {
        let reached = self.find_reached(
            reporter,
            &[QuotaKind::Events, QuotaKind::Bytes],
            Part::Anonymous,
            now,
        );
        match reached {
            Some(reached) if !store.has_customer(place).await? => {
                Err(self.refuse(reporter.platform.id, reached, now))
            }
            _ => Ok(()),
        }
    }

    /// Returns the used-up quota, if the given part of one of these is used up; checks the network's share first.
    fn find_reached(
        &self,
        reporter: Reporter<'_>,
        kinds: &[QuotaKind],
        part: Part,
        now: Timestamp,
    ) -> Option<Reached> {
        let Reporter { platform, network } = reporter;
        let (bounds, at) = (platform.settings.quota.bounds(), (platform.id, day(now)));
        let own = locked(&self.networks)
            .get(&(at, network))
            .copied()
            .unwrap_or_default();
        let of_network = kinds
            .iter()
            .find(|kind| kind.of(&own) >= part.of(kind.share(&bounds)));
        if let Some(kind) = of_network {
            return Some(Reached {
                holder: Holder::Network(part),
                kind: *kind,
                bound: kind.share(&bounds),
            });
        }
        let mut used = DeviceUsage::default();
        if let Some(today) = locked(&self.days).get(&at) {
            used += today.written;
            used += today.waiting;
        }
        let kind = *kinds
            .iter()
            .find(|kind| kind.of(&used) >= part.of(kind.of(&bounds)))?;
        Some(Reached {
            holder: Holder::Platform(part),
            kind,
            bound: kind.of(&bounds),
        })
    }

    /// Returns the error for a used-up quota, and queues its alarm.
    fn refuse(&self, platform: PlatformId, reached: Reached, now: Timestamp) -> Error {
        let at = (platform, day(now));
        if locked(&self.days)
            .entry(at)
            .or_default()
            .reached
            .insert(reached)
        {
            locked(&self.alarms).insert((at, reached));
        }
        Gate::Day(reached.kind).refuse_part(reached.holder.who(), until_next_day(now))
    }

    /// Returns whether a device is new, and checks that a new one is allowed.
    ///
    /// # Errors
    /// 429 if the device is new and the day's quota of new devices is used up.
    pub async fn check_device(
        &self,
        store: &Store,
        reporter: Reporter<'_>,
        place: DevicePlace,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if locked(&self.known).contains(&place) {
            return Ok(false);
        }
        let is_new = !store.knows_device(place).await?;
        if is_new {
            self.check(reporter, &[QuotaKind::Devices], now)?;
        } else {
            self.remember(place);
        }
        Ok(is_new)
    }

    /// Returns whether a login's customer is new, and checks that a new one is allowed.
    ///
    /// # Errors
    /// 429 if the customer is new and the day's quota of new customers is used up.
    pub async fn check_user(
        &self,
        store: &Store,
        reporter: Reporter<'_>,
        external_id: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let is_new = !store
            .knows_external_id(reporter.platform.app_id, external_id.to_owned())
            .await?;
        if is_new {
            self.check(reporter, &[QuotaKind::Users], now)?;
        }
        Ok(is_new)
    }

    /// Counts usage by a device from this network.
    pub fn count(&self, place: DevicePlace, network: IpNet, used: DeviceUsage, now: Timestamp) {
        let at = (place.platform, day(now));
        locked(&self.days).entry(at).or_default().waiting += used;
        let mut networks = locked(&self.networks);
        if networks.len() >= MAX_NETWORKS {
            networks.clear();
        }
        *networks.entry((at, network)).or_default() += used;
        drop(networks);
        self.remember(place);
    }

    fn remember(&self, place: DevicePlace) {
        let mut known = locked(&self.known);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(place);
    }

    /// Writes the counts, drops past days, and raises the alarms that are due.
    ///
    /// # Errors
    /// The database does not respond. Unwritten counts remain for the next call.
    pub async fn write(&self, store: &Store, now: Timestamp) -> Result<(), storage::Error> {
        let waiting: BTreeMap<PlatformDay, DeviceUsage> = locked(&self.days)
            .iter()
            .filter(|(_, day)| day.waiting != DeviceUsage::default())
            .map(|(at, day)| (*at, day.waiting))
            .collect();
        // In small batches, ordered by id: each batch is a transaction that other processes wait for.
        for batch in waiting.iter().collect::<Vec<_>>().chunks(MAX_COUNTS) {
            let used = batch.iter().map(|(at, used)| (**at, **used)).collect();
            let totals = store.add_device_usage(used).await?;
            let mut days = locked(&self.days);
            for (at, total) in totals {
                let day = days.entry(at).or_default();
                day.written = total;
                day.waiting -= waiting[&at];
            }
        }
        locked(&self.days).retain(|(_, number), one| {
            *number >= day(now) || one.waiting != DeviceUsage::default()
        });
        locked(&self.networks).retain(|((_, number), _), _| *number >= day(now));
        let alarms = locked(&self.alarms).clone();
        for due @ ((platform, number), reached) in alarms {
            let kind = reached.holder.alarm();
            store
                .alarm(Some(platform), kind, &detail(reached, number))
                .await?;
            locked(&self.alarms).remove(&due);
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the number of a day (UTC), counted from 1970.
fn day(now: Timestamp) -> i64 {
    now.micros().div_euclid(day_micros())
}

fn until_next_day(now: Timestamp) -> Duration {
    let left = day_micros() - now.micros().rem_euclid(day_micros());
    Duration::from_micros(left.unsigned_abs())
}

fn day_micros() -> i64 {
    i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the alarm's detail. It is the same for a platform, quota and day, so that there is one alarm however often
/// it is raised and for however many networks. It names no network, because addresses are not stored.
fn detail(reached: Reached, number: i64) -> String {
    let began = Timestamp::from_micros(number.saturating_mul(day_micros())).to_string();
    let date = began.split('T').next().unwrap_or_default();
    let Reached {
        holder,
        kind,
        bound,
    } = reached;
    let Row {
        what,
        bound: setting,
        ..
    } = Gate::Day(kind).row();
    match holder {
        Holder::Platform(Part::Whole) => format!(
            "the devices of this platform used up their {bound} {what} for {date} ({setting}): until the next day (UTC) \
             they get 429; raise the limit if the traffic is legitimate"
        ),
        Holder::Platform(Part::Anonymous) => format!(
            "the devices of this platform used nine tenths of their {bound} {what} for {date} ({setting}): until the next \
             day (UTC) those without a signed login or a verified claim get 429; raise the limit if the traffic is \
             legitimate"
        ),
        Holder::Network(_) => format!(
            "one network used up its share ({bound} {what}) of this platform's limit for {date}. Until the next day (UTC) \
             its devices get 429, first those without a signed login or a verified claim. Find the address in your proxy's \
             access log. If it is your proxy, add it to `devices.trusted_proxies`; if it is many real customers, raise \
             {setting}; otherwise block it"
        ),
    }
}

/// Starts the task that writes the counts until the process ends.
pub fn watch(store: Store, quotas: Arc<Quotas>, clock: fn() -> Timestamp) {
    tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = quotas.write(&store, clock()).await {
                tracing::debug!(
                    error = chain(&error),
                    "the use of devices was not written; it waits for the next time"
                );
            }
        }
    });
}
