//! How much the devices of a platform may report in a day (UTC): events, bytes of the database, new devices and new
//! customers. Beyond a bound they are answered 429 until the next day, and one alarm names it. A known device or
//! customer is never refused for being new, so they log in and out beyond any bound; notifications are not counted.
//!
//! Of each bound one network (an address; of IPv6 a /48) has a share, so that a single network cannot use up a
//! platform's day. The last tenth of a bound and of a share is for devices with a signed login or a verified claim.
//!
//! Each process counts in memory. A task adds the counts to the database once a second and reads what the other
//! processes added: so together they may exceed a bound by what comes within that second, and after a start what was
//! counted before is known a second after the first request.

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

/// Time between two writes of what was counted.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of known devices that are remembered; then they are forgotten, and looked up again.
const MAX_KNOWN: usize = 100_000;
/// Maximum number of networks whose use is remembered; then all are counted again.
const MAX_NETWORKS: usize = 100_000;
/// The part of a bound that one network has, and what it has at least: an office or a small app is one network.
const SHARE: i64 = 100;
const LEAST: DeviceUsage = DeviceUsage {
    events: 100_000,
    bytes: 256 * 1024 * 1024,
    devices: 10_000,
    users: 10_000,
};
/// The part of a bound that only devices with a customer use.
const RESERVED: i64 = 10;
/// About how many bytes of the database a new device takes.
pub const DEVICE_BYTES: i64 = 600;

impl QuotaKind {
    /// Returns the share of one network in a bound.
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

/// The part of a bound that a device may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Whole,
    /// A device without a signed login and without a verified claim.
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

/// Whose bound was reached: a network's or the platform's.
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

    /// Returns the beginning of the sentence with which a request is refused.
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

/// A bound that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    holder: Holder,
    kind: QuotaKind,
    bound: i64,
}

/// Usage of a platform's day.
#[derive(Debug, Default)]
struct Day {
    /// Usage that all processes wrote, as of the last write of this one.
    written: DeviceUsage,
    waiting: DeviceUsage,
    /// The bounds that were reached, of which this process knows: a raised one may be reached again.
    reached: BTreeSet<Reached>,
}

/// The device and address that use a platform's quota.
#[derive(Debug, Clone, Copy)]
pub struct Reporter<'a> {
    pub platform: &'a Platform,
    /// The network that sends the request.
    pub network: IpNet,
}

#[derive(Debug, Default)]
pub struct Quotas {
    days: Mutex<BTreeMap<PlatformDay, Day>>,
    /// Usage of a day by each network, as far as this process counted it.
    networks: Mutex<HashMap<(PlatformDay, IpNet), DeviceUsage>>,
    /// The alarms that are not stored yet.
    alarms: Mutex<BTreeSet<(PlatformDay, Reached)>>,
    known: Mutex<HashSet<DevicePlace>>,
}

impl Quotas {
    /// Returns whether devices of a platform may use more of these, from this network.
    ///
    /// # Errors
    /// What they used up of this day.
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

    /// Returns whether a device may report more, from this network: the last tenth of a bound is for devices with a
    /// customer.
    ///
    /// # Errors
    /// The device has none, and only that tenth is left of this day.
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

    /// Returns the bound of these kinds of which this part is used up; that of the network first.
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

    /// Refuses a request because of a bound, whose alarm is due.
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

    /// Returns whether a device is new, and may be.
    ///
    /// # Errors
    /// It may not, since there were too many new ones this day.
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

    /// Returns whether a login names a new customer, and may.
    ///
    /// # Errors
    /// It may not, since there were too many new ones this day.
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

    /// Counts what a device used, from this network.
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

    /// Writes what was counted, forgets days that are over, and raises the alarms that are due.
    ///
    /// # Errors
    /// The database does not answer: what was not written waits for the next call.
    pub async fn write(&self, store: &Store, now: Timestamp) -> Result<(), storage::Error> {
        let waiting: BTreeMap<PlatformDay, DeviceUsage> = locked(&self.days)
            .iter()
            .filter(|(_, day)| day.waiting != DeviceUsage::default())
            .map(|(at, day)| (*at, day.waiting))
            .collect();
        // A few at a time, in order of their ids: each batch is a transaction, for which other processes wait.
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

/// Returns the number of a day (UTC).
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

/// Equal for a platform, a bound and a day: one alarm, however often it is raised, and of however many networks. A network
/// is not named: addresses are not stored.
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

/// Writes again and again, as long as the process runs.
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
