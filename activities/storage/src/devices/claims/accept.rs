//! Stores the claims of reports, in the transaction of these. A repeated claim is read and not written; one that the store
//! confirmed is never weakened.

use crate::db::alarm::About;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Value, batches, clean, row, sql};
use crate::db::writer::Write;
use crate::devices::rows::{Origins, SIZES};
use crate::events::alarms;
use domain::device::claim::{ClaimKind, ClaimReason, ClaimStatus};
use domain::device::{Content, DeviceReceipt, DeviceTransaction, TransactionKind};
use domain::{CollapseKey, DeviceId, DevicePlace, PlatformId, Timestamp};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of claims of a device that are not verified.
const MAX_PER_DEVICE: i64 = 20;
/// Maximum number of claims of a platform that wait for their verification.
const MAX_PER_PLATFORM: i64 = 10_000;
/// Maximum length in bytes of the ids in a claim: longer ones fit into no notification.
const MAX_ID_BYTES: usize = 1000;

/// Whether new claims of a request are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claiming {
    /// They are.
    Stored,
    /// They are dropped: its address reported too many.
    Dropped,
}

/// The key of a claim.
pub type ClaimKey = (DevicePlace, CollapseKey);

/// A claim of a report.
#[derive(Debug, Clone, Copy)]
pub struct ReportedClaim<'r> {
    /// The index of its request.
    pub request: usize,
    /// The device.
    pub place: DevicePlace,
    /// Whether it is stored if it is new.
    pub claiming: Claiming,
    receipt_id: &'r str,
    app_user_id: &'r str,
    kind: ClaimKind,
    transaction: Option<&'r DeviceTransaction>,
    /// When it happened, by our clock.
    occurred_at: Timestamp,
}

/// The report that claims are read from.
#[derive(Debug, Clone, Copy)]
pub struct ClaimSource {
    /// The index of its request.
    pub request: usize,
    /// The device.
    pub place: DevicePlace,
    /// Whether its new claims are stored.
    pub claiming: Claiming,
    /// When it happened, by our clock.
    pub occurred_at: Timestamp,
}

/// Number of claims of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClaimCounts {
    /// Of those that are stored now.
    pub new: usize,
    /// Of those that were dropped, because there are too many.
    pub dropped: usize,
}

/// The numbers of claims by the index of their request.
pub type CountsByRequest = BTreeMap<usize, ClaimCounts>;

row! {
    /// A claim that is stored.
    struct KnownRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        collapse_key: CollapseKey,
        status: ClaimStatus,
        kind: ClaimKind,
        app_user_id: String,
    }
}

row! {
    /// The device of a claim that is not verified.
    struct DeviceRow {
        platform_id: PlatformId,
        device_id: DeviceId,
    }
}

impl ClaimSource {
    /// The claims of the content of a report.
    pub fn claims(self, content: &Content) -> Vec<ReportedClaim<'_>> {
        let all = match content {
            Content::SessionStart { receipts, .. } => receipts.iter().map(|receipt| self.present(receipt)).collect(),
            Content::Transaction(transaction) => vec![self.transacted(transaction)],
            Content::SessionEnd { .. } | Content::Impression(_) => Vec::new(),
        };
        let fits = |claim: &ReportedClaim<'_>| claim.receipt_id.len().max(claim.app_user_id.len()) <= MAX_ID_BYTES;
        all.into_iter().filter(fits).collect()
    }

    const fn present(self, receipt: &DeviceReceipt) -> ReportedClaim<'_> {
        let Self { request, place, claiming, occurred_at } = self;
        let (receipt_id, app_user_id) = (receipt.receipt_id.as_str(), receipt.app_user_id.as_str());
        let (kind, transaction) = (ClaimKind::Present, None);
        ReportedClaim { request, place, claiming, receipt_id, app_user_id, kind, transaction, occurred_at }
    }

    const fn transacted(self, transaction: &DeviceTransaction) -> ReportedClaim<'_> {
        let Self { request, place, claiming, occurred_at } = self;
        let kind = match transaction.kind {
            TransactionKind::Purchased => ClaimKind::Purchased,
            TransactionKind::Restored => ClaimKind::Restored,
        };
        let (receipt_id, app_user_id) = (transaction.receipt_id.as_str(), transaction.app_user_id.as_str());
        let transaction = Some(transaction);
        ReportedClaim { request, place, claiming, receipt_id, app_user_id, kind, transaction, occurred_at }
    }
}

impl ReportedClaim<'_> {
    fn key(&self) -> ClaimKey {
        (self.place, CollapseKey::of(self.place.platform, &clean(self.receipt_id)))
    }

    /// Whether it says more than one of this kind.
    fn outranks(&self, kind: ClaimKind) -> bool {
        self.kind != ClaimKind::Present && kind == ClaimKind::Present
    }

    fn values(&self, reason: Option<ClaimReason>, now: Timestamp) -> [Value<'_>; 16] {
        let (place, key) = self.key();
        let of = |read: fn(&DeviceTransaction) -> Option<&str>| Value::from(self.transaction.and_then(read));
        [
            place.platform.into(),
            place.device.into(),
            key.into(),
            Value::Text(Some(clean(self.receipt_id))),
            Value::Text(Some(clean(self.app_user_id))),
            ClaimStatus::Pending.into(),
            reason.into(),
            self.kind.into(),
            Value::Text(self.transaction.map(|transaction| clean(&transaction.sku))),
            self.transaction.and_then(|transaction| transaction.price).into(),
            of(|transaction| transaction.currency.as_deref()),
            of(|transaction| transaction.marketplace.as_deref()),
            self.occurred_at.into(),
            0_i64.into(),
            now.into(),
            now.into(),
        ]
    }
}

const KNOWN: Sql = statement! {"
    SELECT c.platform_id, c.device_id, c.collapse_key, c.status, c.kind, c.app_user_id
    FROM claims c
    WHERE (c.platform_id, c.device_id, c.collapse_key) IN (VALUES ?*)
"};

/// Stores the claims of new reports. Whoever calls it has locked their devices.
pub fn store(write: &mut Write<'_>, claims: &[ReportedClaim<'_>], origins: &Origins) -> Result<CountsByRequest, Error> {
    let mut by_key: BTreeMap<ClaimKey, ReportedClaim<'_>> = BTreeMap::new();
    for claim in claims {
        match by_key.entry(claim.key()) {
            Entry::Occupied(mut known) if claim.outranks(known.get().kind) => drop(known.insert(*claim)),
            Entry::Occupied(_) => {}
            Entry::Vacant(unknown) => drop(unknown.insert(*claim)),
        }
    }
    if by_key.is_empty() {
        return Ok(CountsByRequest::new());
    }
    let known = known(write, by_key.keys())?;
    let (mut new, mut renewed, mut filled) = (Vec::new(), Vec::new(), Vec::new());
    for (key, claim) in by_key {
        match known.get(&key) {
            None => new.push(claim),
            // Of another customer than before: only what is refused takes another one.
            Some(row) if row.status == ClaimStatus::Refused && *clean(claim.app_user_id) != row.app_user_id => {
                renewed.push(claim);
            }
            Some(row) if claim.outranks(row.kind) && *clean(claim.app_user_id) == row.app_user_id => filled.push(claim),
            Some(_) => {}
        }
    }
    let dropped = Bounds::of(write, &new, &renewed)?.keep_within(write, &mut new, &mut renewed);
    let mut counts = CountsByRequest::new();
    new.iter().chain(&renewed).for_each(|claim| counts.entry(claim.request).or_default().new += 1);
    dropped.into_iter().for_each(|request| counts.entry(request).or_default().dropped += 1);
    warn_without_secret(write, new.iter().chain(&renewed), origins);
    new.extend(filled);
    new.sort_by_key(ReportedClaim::key);
    insert(write, &new, origins)?;
    renewed.iter().try_for_each(|claim| renew(write, claim, origins))?;
    Ok(counts)
}

fn known<'k>(
    write: &mut Write<'_>,
    keys: impl Iterator<Item = &'k ClaimKey>,
) -> Result<BTreeMap<ClaimKey, KnownRow>, Error> {
    let keys: Vec<&ClaimKey> = keys.collect();
    let mut found = BTreeMap::new();
    for batch in batches(&keys, &SIZES) {
        let keys = batch.iter().map(|(place, key)| [place.platform.into(), place.device.into(), (*key).into()]);
        let rows: Vec<KnownRow> = sql(KNOWN).bind_rows(keys).all(write.connection)?;
        found.extend(rows.into_iter().map(|row| {
            let place = DevicePlace { platform: row.platform_id, device: row.device_id };
            ((place, row.collapse_key), row)
        }));
    }
    Ok(found)
}

/// How many claims may still become pending.
#[derive(Default)]
struct Bounds {
    devices: BTreeMap<DevicePlace, i64>,
    platforms: BTreeMap<PlatformId, i64>,
}

const OF_DEVICES: Sql = statement! {"
    SELECT c.platform_id, c.device_id
    FROM claims c
    WHERE (c.platform_id, c.device_id) IN (VALUES ?*) AND c.status <> 'verified'
"};

const OF_PLATFORM: Sql = statement! {hot "claims_due", "
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM claims WHERE platform_id = ? AND status = 'pending' LIMIT ?) waiting
"};

impl Bounds {
    /// What is left for the devices and platforms of these claims. A renewed claim is counted already at its device.
    fn of(write: &mut Write<'_>, new: &[ReportedClaim<'_>], renewed: &[ReportedClaim<'_>]) -> Result<Self, Error> {
        let places: BTreeSet<DevicePlace> = new.iter().map(|claim| claim.place).collect();
        let mut devices: BTreeMap<DevicePlace, i64> = places.iter().map(|place| (*place, MAX_PER_DEVICE)).collect();
        let places: Vec<DevicePlace> = places.into_iter().collect();
        for batch in batches(&places, &SIZES) {
            let keys = batch.iter().map(|place| [place.platform.into(), place.device.into()]);
            let rows: Vec<DeviceRow> = sql(OF_DEVICES).bind_rows(keys).all(write.connection)?;
            for DeviceRow { platform_id: platform, device_id: device } in rows {
                *devices.entry(DevicePlace { platform, device }).or_insert(MAX_PER_DEVICE) -= 1;
            }
        }
        let mut platforms = BTreeMap::new();
        let all: BTreeSet<PlatformId> = new.iter().chain(renewed).map(|claim| claim.place.platform).collect();
        for platform in all {
            let waiting: Option<i64> =
                sql(OF_PLATFORM).bind(platform).bind(MAX_PER_PLATFORM).value(write.connection)?;
            platforms.insert(platform, MAX_PER_PLATFORM - waiting.unwrap_or(0));
        }
        Ok(Self { devices, platforms })
    }

    /// Drops the claims beyond the bounds, and raises an alarm: their events are stored. Returns the request of each.
    fn keep_within(
        mut self,
        write: &mut Write<'_>,
        new: &mut Vec<ReportedClaim<'_>>,
        renewed: &mut Vec<ReportedClaim<'_>>,
    ) -> Vec<usize> {
        let (mut requests, mut dropped) = (Vec::new(), BTreeSet::new());
        let mut is_within = |claim: &ReportedClaim<'_>, is_new: bool| {
            let platform = claim.place.platform;
            let of_device = self.devices.entry(claim.place).or_insert(MAX_PER_DEVICE);
            let of_platform = self.platforms.entry(platform).or_insert(MAX_PER_PLATFORM);
            let bound = match claim.claiming {
                Claiming::Dropped => "address",
                Claiming::Stored if is_new && *of_device <= 0 => "device",
                Claiming::Stored if *of_platform <= 0 => "platform",
                Claiming::Stored => {
                    *of_device -= i64::from(is_new);
                    *of_platform -= 1;
                    return true;
                }
            };
            dropped.insert((platform, bound));
            requests.push(claim.request);
            false
        };
        new.retain(|claim| is_within(claim, true));
        renewed.retain(|claim| is_within(claim, false));
        for (platform, bound) in dropped {
            let detail = format!(
                "a {bound} reported more receipts than may wait for their verification: the further ones were dropped, \
                 their events are stored"
            );
            alarms::raise(write, About::Platform(platform), "claims_dropped", &detail);
        }
        requests
    }
}

/// Why the claims of a platform cannot be verified, if they cannot.
fn waits_for(claim: &ReportedClaim<'_>, origins: &Origins) -> Option<ClaimReason> {
    let can_verify = origins.get(&claim.place.platform).is_some_and(|origin| origin.has_secret);
    (!can_verify).then_some(ClaimReason::NoSecret)
}

/// Raises an alarm for the platforms that verify no claim.
fn warn_without_secret<'r>(
    write: &mut Write<'_>,
    claims: impl Iterator<Item = &'r ReportedClaim<'r>>,
    origins: &Origins,
) {
    let unable = claims.filter(|claim| waits_for(claim, origins).is_some());
    let platforms: BTreeSet<PlatformId> = unable.map(|claim| claim.place.platform).collect();
    for platform in platforms {
        let detail = "devices report receipts, and the platform has no shared secret that the store accepts: no claim of a \
                      device is verified, and none gives access, until one is set";
        alarms::raise(write, About::Platform(platform), "claims_unverified", detail);
    }
}

const INSERT: Sql = statement! {"
    INSERT INTO claims (platform_id, device_id, collapse_key, receipt_id, app_user_id, status, reason, kind, sku, price,
        currency, marketplace, occurred_at, attempts, due_at, created_at)
    VALUES ?*
    ON CONFLICT (platform_id, device_id, collapse_key) DO UPDATE
    SET kind = excluded.kind, sku = excluded.sku, price = excluded.price, currency = excluded.currency,
        marketplace = excluded.marketplace, occurred_at = excluded.occurred_at
    WHERE claims.kind = 'present' AND excluded.kind <> 'present'
"};

fn insert(write: &mut Write<'_>, claims: &[ReportedClaim<'_>], origins: &Origins) -> Result<(), Error> {
    let now = write.now;
    for batch in batches(claims, &SIZES) {
        let rows = batch.iter().map(|claim| claim.values(waits_for(claim, origins), now));
        sql(INSERT).bind_rows(rows).later(write.connection)?;
    }
    Ok(())
}

const RENEW: Sql = statement! {"
    UPDATE claims
    SET app_user_id = ?, kind = ?, sku = NULL, price = NULL, currency = NULL, marketplace = NULL, status = 'pending',
        reason = ?, attempts = 0, due_at = ?, created_at = ?, occurred_at = ?
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status = 'refused'
"};

/// Takes up a refused claim again for another customer. Its price is not taken: nobody pays twice for a receipt.
fn renew(write: &mut Write<'_>, claim: &ReportedClaim<'_>, origins: &Origins) -> Result<(), Error> {
    let (place, key) = claim.key();
    sql(RENEW)
        .bind(Value::Text(Some(clean(claim.app_user_id))))
        .bind(claim.kind)
        .bind(waits_for(claim, origins))
        .bind(write.now)
        .bind(write.now)
        .bind(claim.occurred_at)
        .bind(place.platform)
        .bind(place.device)
        .bind(key)
        .later(write.connection)
}
