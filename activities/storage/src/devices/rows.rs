//! The rows of platforms and devices that reports need.

use crate::devices::secret::SecretHash;
use crate::settings::credential::IS_USABLE;
use crate::settings::destinations::{self, Destination};
use crate::settings::tombstones::HAS_ERASED;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, row, sql};
use db::writer::Write;
use domain::device::{Device, DeviceOwner};
use domain::stores::Proof;
use domain::{
    AppId, DeviceId, DevicePlace, Environment, PlatformId, StorePolicy, Timestamp, UserId,
};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

pub const SIZES: [usize; 4] = [512, 64, 8, 1];

row! {
    /// The app and store of a platform.
    struct PlatformRow {
        app_id: AppId,
        store: String,
        environment: Environment,
        has_secret: bool,
        has_erased: bool,
    }
}

/// A platform, and the destinations of its app.
pub struct Origin {
    pub app_id: AppId,
    pub store: String,
    pub environment: Environment,
    /// Whether its store can be queried: it has a secret that the store has not refused.
    pub has_secret: bool,
    /// Whether a customer of the app was erased.
    pub has_erased: bool,
    /// Destinations that receive events of this platform.
    pub destinations: Vec<Destination>,
}

const PLATFORM: Sql = statement! {"
    SELECT app_id, store, environment, {IS_USABLE} AS has_secret,
        {HAS_ERASED}
    FROM platforms
    WHERE id = ?
"};

/// The platforms that a transaction has read.
pub type Origins = BTreeMap<PlatformId, Origin>;

impl Origin {
    /// Reads a platform, unless the transaction has already read it.
    pub fn read_once<'o>(
        origins: &'o mut Origins,
        connection: &mut AnyConnection,
        platform: PlatformId,
    ) -> Result<&'o Self, Error> {
        Ok(match origins.entry(platform) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(Self::read(connection, platform)?),
        })
    }

    /// Whether the store signs the transactions that devices hand in, so that nothing else proves a purchase.
    pub fn signs_receipts(&self) -> bool {
        StorePolicy::of(&self.store).is_ok_and(|policy| policy.proof == Proof::Signed)
    }

    fn read(connection: &mut AnyConnection, platform: PlatformId) -> Result<Self, Error> {
        let found: PlatformRow = sql(PLATFORM).bind(platform).one(connection, "platform")?;
        let PlatformRow {
            app_id,
            store,
            environment,
            has_secret,
            has_erased,
        } = found;
        let mut destinations = destinations::of_app(connection, app_id)?;
        destinations.retain(|one| one.filter.wants(platform, environment));
        Ok(Self {
            app_id,
            store,
            environment,
            has_secret,
            has_erased,
            destinations,
        })
    }
}

// `seen_at` is written even if nothing changed, because that locks the device until the end of the transaction.
const UPSERT: Sql = statement! {"
    INSERT INTO devices (platform_id, id, device, secret_hash, created_at, seen_at)
    VALUES ?*
    ON CONFLICT (platform_id, id) DO UPDATE
    SET device = CASE WHEN {MAY_REPORT} THEN excluded.device ELSE devices.device END,
        seen_at = CASE WHEN {MAY_REPORT} THEN excluded.seen_at ELSE devices.seen_at END
"};

/// The condition of `secret::may_report` in SQL.
const MAY_REPORT: &str =
    "devices.secret_hash IS NULL OR devices.secret_hash = excluded.secret_hash";

/// A device as a request describes it.
#[derive(Clone, Copy)]
pub struct DescribedDevice<'r> {
    pub place: DevicePlace,
    pub device: &'r Device,
    /// The secret that the request presents.
    pub secret: Option<&'r SecretHash>,
}

/// Stores devices as requests describe them, and locks them, in order of their ids. Creates unknown devices with the
/// secrets of their requests. A request with another secret than that of its device changes nothing.
pub fn lock(
    write: &mut Write<'_>,
    devices: &BTreeMap<DevicePlace, DescribedDevice<'_>>,
) -> Result<(), Error> {
    let now = write.now()?;
    let rows: Vec<[Value<'_>; 6]> = devices
        .iter()
        .map(|(place, described)| {
            let device = serde_json::to_string(described.device)
                .map_err(|error| Error::corrupt_by("a device cannot be written as JSON", error))?;
            let secret = described.secret.map(SecretHash::hex);
            Ok([
                place.platform.into(),
                place.device.into(),
                device.into(),
                secret.into(),
                now.into(),
                now.into(),
            ])
        })
        .collect::<Result<_, Error>>()?;
    for batch in batches(&rows, &SIZES) {
        sql(UPSERT)
            .bind_rows(batch.iter().cloned())
            .later(write.connection)?;
    }
    Ok(())
}

pub struct KnownDevice {
    pub owner: DeviceOwner,
    /// The secret with which the device was created.
    pub secret: Option<SecretHash>,
    /// When the newest list of the device's purchases was valid.
    pub listed_at: Option<Timestamp>,
}

row! {
    struct KnownRow {
        platform_id: PlatformId,
        id: DeviceId,
        user_id: Option<UserId>,
        logouts: i64,
        secret_hash: Option<String>,
        listed_at: Option<Timestamp>,
        external_id: Option<String>,
    }
}

const KNOWN: Sql = statement! {"
    SELECT d.platform_id, d.id, d.user_id, d.logouts, d.secret_hash, d.listed_at, u.external_id
    FROM devices d
    LEFT JOIN users u ON u.id = d.user_id
    WHERE (d.platform_id, d.id) IN (VALUES ?*)
"};

/// Returns the users and secrets of devices, which must be locked.
pub fn known(
    connection: &mut AnyConnection,
    devices: impl IntoIterator<Item = DevicePlace>,
) -> Result<BTreeMap<DevicePlace, KnownDevice>, Error> {
    let places: Vec<DevicePlace> = devices.into_iter().collect();
    let mut known = BTreeMap::new();
    for batch in batches(&places, &SIZES) {
        let keys = batch
            .iter()
            .map(|place| [place.platform.into(), place.device.into()]);
        let rows: Vec<KnownRow> = sql(KNOWN).bind_rows(keys).all(connection)?;
        known.extend(rows.into_iter().map(KnownRow::device));
    }
    Ok(known)
}

impl KnownRow {
    fn device(self) -> (DevicePlace, KnownDevice) {
        let place = DevicePlace {
            platform: self.platform_id,
            device: self.id,
        };
        let user_id = self
            .user_id
            .unwrap_or_else(|| UserId::of_device(place, self.logouts));
        let owner = DeviceOwner {
            user_id,
            external_id: self.external_id,
        };
        (
            place,
            KnownDevice {
                owner,
                secret: self.secret_hash.map(SecretHash::stored),
                listed_at: self.listed_at,
            },
        )
    }
}

const FIND: Sql = statement! {"
    SELECT device AS value FROM devices WHERE platform_id = ? AND id = ?
    FOR UPDATE SKIP LOCKED
"};

/// Locks a device and reads its description; `None` if it is unknown, or if another transaction has locked it.
pub fn locked(
    write: &mut Write<'_>,
    platform: PlatformId,
    id: DeviceId,
) -> Result<Option<Device>, Error> {
    sql(FIND).bind(platform).bind(id).value(write.connection)
}
