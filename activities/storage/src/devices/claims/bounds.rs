//! Limits on the waiting claims of a device, of a network, and of a platform. At the limit of a platform, a claim of a
//! network with few claims displaces the newest claim of the network with the most, so that an attacker with few
//! addresses cannot block the claims of others.

use super::reported::{ClaimStart, Claiming, ReportedClaim, WaitingClaim};
use crate::devices::rows::SIZES;
use crate::events::alarms;
use db::alarm::About;
use db::claim_backlogs::{ClaimBacklog, ClaimBacklogs};
use db::error::Error;
use db::partial::{PENDING_BY_KEY, PENDING_OF_NETWORK};
use db::sql::{Sql, statement};
use db::statement::{batches, row, sql};
use db::writer::Write;
use domain::device::claim::{ClaimReason, REFUSED_FOR};
use domain::{CollapseKey, DeviceId, DevicePlace, PlatformId};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of unverified claims of a device.
const MAX_PER_DEVICE: i64 = 20;
/// Maximum number of waiting claims of a network.
const MAX_PER_NETWORK: i64 = 200;
/// Maximum number of waiting claims of a platform.
const MAX_PER_PLATFORM: i64 = 10_000;
/// Number of the fullest networks that are read at once: this many networks at their limits fill a platform.
const FULLEST: i64 = MAX_PER_PLATFORM / MAX_PER_NETWORK;

/// A network of a platform, as stored.
type Network = (PlatformId, String);

row! {
    /// The device of an unverified claim.
    struct DeviceRow {
        platform_id: PlatformId,
        device_id: DeviceId,
    }
}

row! {
    /// The number of a network's waiting claims.
    struct NetworkRow {
        platform_id: PlatformId,
        network: String,
        waiting: i64,
    }
}

row! {
    /// One of the networks with the most claims.
    struct FullRow {
        network: String,
        waiting: i64,
    }
}

row! {
    struct NewestRow {
        device_id: DeviceId,
        collapse_key: CollapseKey,
    }
}

const OF_DEVICES: Sql = statement! {"
    SELECT c.platform_id, c.device_id
    FROM claims c
    WHERE (c.platform_id, c.device_id) IN (VALUES ?*) AND c.status <> 'verified' AND c.network <> ''
"};

const OF_NETWORKS: Sql = statement! {hot "claims_pending_of_network", "
    SELECT c.platform_id, c.network, COUNT(*) AS waiting
    FROM claims c
    WHERE (c.platform_id, c.network) IN (VALUES ?*) AND c.status {PENDING_OF_NETWORK}
    GROUP BY c.platform_id, c.network
"};

const OF_PLATFORM: Sql = statement! {hot "claims_pending_of_network", "
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM claims WHERE platform_id = ? AND status {PENDING_OF_NETWORK} AND network > '' LIMIT ?) waiting
"};

const FULLEST_OF_PLATFORM: Sql = statement! {hot "claims_pending_of_network", "
    SELECT network, COUNT(*) AS waiting
    FROM claims
    WHERE platform_id = ? AND status {PENDING_OF_NETWORK} AND network > ''
    GROUP BY network
    ORDER BY COUNT(*) DESC, network
    LIMIT {FULLEST}
"};

/// Does not wait for other transactions: a claim that one of them has locked is decided there.
const NEWEST: Sql = statement! {hot "claims_pending_of_network", "
    SELECT device_id, collapse_key
    FROM claims
    WHERE platform_id = ? AND status {PENDING_OF_NETWORK} AND network = ?
    ORDER BY created_at DESC
    LIMIT 1
    FOR UPDATE SKIP LOCKED
"};

const DISPLACE: Sql = statement! {"
    UPDATE claims
    SET status = 'refused', reason = ?, failure = NULL, due_at = ?
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status {PENDING_BY_KEY}
"};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Free,
    /// Admitted: another claim was displaced.
    Displaced,
    /// Dropped: the named limit is reached.
    None(&'static str),
}

/// The claims that may wait, the requests of dropped claims, and the requests whose claims displaced others.
#[derive(Default)]
pub struct Admitted<'r> {
    pub wanted: Vec<WaitingClaim<'r>>,
    pub dropped: Vec<usize>,
    pub displacing: Vec<usize>,
}

pub struct Bounds {
    devices: BTreeMap<DevicePlace, i64>,
    networks: BTreeMap<Network, i64>,
    backlogs: BTreeMap<PlatformId, ClaimBacklog>,
}

impl Bounds {
    /// Counts the waiting claims of the devices, networks and platforms of these claims.
    pub fn of(
        write: &mut Write<'_>,
        wanted: &[WaitingClaim<'_>],
        backlogs: &ClaimBacklogs,
    ) -> Result<Self, Error> {
        let places: BTreeSet<DevicePlace> = wanted.iter().map(|one| one.claim.place).collect();
        let networks: BTreeSet<Network> = wanted.iter().map(|one| network(&one.claim)).collect();
        let platforms: BTreeSet<PlatformId> = places.iter().map(|place| place.platform).collect();
        let counted = platforms
            .into_iter()
            .map(|platform| Ok((platform, backlog(write, platform, backlogs)?)));
        let backlogs = counted.collect::<Result<_, Error>>()?;
        Ok(Self {
            devices: of_devices(write, places)?,
            networks: of_networks(write, networks)?,
            backlogs,
        })
    }

    /// Drops the claims beyond the limits (their events stay stored), or lets them displace others. Raises an alarm
    /// about either.
    pub fn keep_within<'r>(
        mut self,
        write: &mut Write<'_>,
        wanted: Vec<WaitingClaim<'r>>,
        backlogs: &ClaimBacklogs,
    ) -> Result<Admitted<'r>, Error> {
        let (mut admitted, mut full) = (Admitted::default(), BTreeSet::new());
        for one in wanted {
            let (platform, request) = (one.claim.place.platform, one.claim.request);
            match self.room(write, &one)? {
                Room::None(bound) => {
                    full.insert((platform, bound));
                    admitted.dropped.push(request);
                    continue;
                }
                Room::Displaced => {
                    full.insert((platform, "platform"));
                    admitted.displacing.push(request);
                }
                Room::Free => {}
            }
            admitted.wanted.push(one);
        }
        self.backlogs
            .into_iter()
            .for_each(|(platform, backlog)| backlogs.remember(platform, backlog));
        full.into_iter()
            .try_for_each(|(platform, bound)| warn(write, platform, bound))?;
        Ok(admitted)
    }

    /// Reserves a place for a claim. If the claim's row is already stored, its device already counts it.
    fn room(
        &mut self,
        write: &mut Write<'_>,
        WaitingClaim { claim, start }: &WaitingClaim<'_>,
    ) -> Result<Room, Error> {
        let is_new = *start == ClaimStart::New;
        let of_device = self.devices.entry(claim.place).or_default();
        let of_network = self.networks.entry(network(claim)).or_default();
        let room = match claim.claiming {
            Claiming::Dropped => Room::None("address"),
            Claiming::Stored if is_new && *of_device >= MAX_PER_DEVICE => Room::None("device"),
            Claiming::Stored if *of_network >= MAX_PER_NETWORK => Room::None("network"),
            Claiming::Stored => match self.backlogs.get_mut(&claim.place.platform) {
                Some(backlog) => room_in(write, backlog, claim, *of_network)?,
                None => Room::None("platform"),
            },
        };
        if !matches!(room, Room::None(_)) {
            *of_device += i64::from(is_new);
            *of_network += 1;
        }
        Ok(room)
    }
}

fn network(claim: &ReportedClaim<'_>) -> Network {
    (claim.place.platform, claim.network.to_owned())
}

fn of_devices(
    write: &mut Write<'_>,
    places: BTreeSet<DevicePlace>,
) -> Result<BTreeMap<DevicePlace, i64>, Error> {
    let places: Vec<DevicePlace> = places.into_iter().collect();
    let mut devices = BTreeMap::new();
    for batch in batches(&places, &SIZES) {
        let keys = batch
            .iter()
            .map(|place| [place.platform.into(), place.device.into()]);
        let rows: Vec<DeviceRow> = sql(OF_DEVICES).bind_rows(keys).all(write.connection)?;
        for DeviceRow {
            platform_id: platform,
            device_id: device,
        } in rows
        {
            *devices.entry(DevicePlace { platform, device }).or_default() += 1;
        }
    }
    Ok(devices)
}

fn of_networks(
    write: &mut Write<'_>,
    networks: BTreeSet<Network>,
) -> Result<BTreeMap<Network, i64>, Error> {
    let networks: Vec<Network> = networks.into_iter().collect();
    let mut counts = BTreeMap::new();
    for batch in batches(&networks, &SIZES) {
        let keys = batch
            .iter()
            .map(|(platform, network)| [(*platform).into(), network.as_str().into()]);
        let rows: Vec<NetworkRow> = sql(OF_NETWORKS).bind_rows(keys).all(write.connection)?;
        counts.extend(
            rows.into_iter()
                .map(|row| ((row.platform_id, row.network), row.waiting)),
        );
    }
    Ok(counts)
}

/// Returns the waiting claims of a platform, from a recent count or else counted now.
fn backlog(
    write: &mut Write<'_>,
    platform: PlatformId,
    backlogs: &ClaimBacklogs,
) -> Result<ClaimBacklog, Error> {
    if let Some(backlog) = backlogs.recent(platform, write.now()?) {
        return Ok(backlog);
    }
    let waiting: Option<i64> = sql(OF_PLATFORM)
        .bind(platform)
        .bind(MAX_PER_PLATFORM)
        .value(write.connection)?;
    Ok(ClaimBacklog {
        counted_at: write.now()?,
        free: MAX_PER_PLATFORM - waiting.unwrap_or(0),
        fullest: None,
    })
}

/// Takes a free place of the platform, or displaces the newest claim of the network with the most, if that network has
/// more claims than the new claim's network.
fn room_in(
    write: &mut Write<'_>,
    backlog: &mut ClaimBacklog,
    claim: &ReportedClaim<'_>,
    of_network: i64,
) -> Result<Room, Error> {
    if backlog.free > 0 {
        backlog.free -= 1;
        return Ok(Room::Free);
    }
    let platform = claim.place.platform;
    if backlog.fullest.is_none() {
        let rows: Vec<FullRow> = sql(FULLEST_OF_PLATFORM)
            .bind(platform)
            .all(write.connection)?;
        backlog.fullest = Some(
            rows.into_iter()
                .map(|row| (row.network, row.waiting))
                .collect(),
        );
    }
    let others = backlog
        .fullest
        .iter_mut()
        .flatten()
        .filter(|(network, _)| network.as_str() != claim.network);
    let mut others: Vec<&mut (String, i64)> = others
        .filter(|(_, waiting)| *waiting > of_network)
        .collect();
    others.sort_by_key(|(_, waiting)| *waiting);
    while let Some((network, waiting)) = others.pop() {
        if displace(write, platform, network)? {
            *waiting -= 1;
            return Ok(Room::Displaced);
        }
        // The claims of that network have been decided since they were counted.
        *waiting = 0;
    }
    Ok(Room::None("platform"))
}

/// Refuses the newest waiting claim of a network. Returns whether there was one.
fn displace(write: &mut Write<'_>, platform: PlatformId, network: &str) -> Result<bool, Error> {
    let newest: Option<NewestRow> = sql(NEWEST)
        .bind(platform)
        .bind(network)
        .first(write.connection)?;
    let Some(NewestRow {
        device_id,
        collapse_key,
    }) = newest
    else {
        return Ok(false);
    };
    let displace = sql(DISPLACE)
        .bind(ClaimReason::Displaced)
        .bind(write.now()?.plus(REFUSED_FOR));
    Ok(displace
        .bind((platform, device_id, collapse_key))
        .run(write.connection)?
        > 0)
}

fn warn(write: &mut Write<'_>, platform: PlatformId, bound: &str) -> Result<(), Error> {
    let detail = if bound == "platform" {
        "too many purchases of devices are waiting for verification: those from the networks that reported the most are \
         dropped; their events are stored"
            .to_owned()
    } else {
        format!(
            "a {bound} reported more purchases than may wait for verification: the excess ones were dropped; their \
             events are stored"
        )
    };
    alarms::raise(write, About::Platform(platform), "claims_dropped", &detail)
}
