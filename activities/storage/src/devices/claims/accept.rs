//! Stores the claims in reports, in the same transaction as the reports. A repeated claim is only read, not written,
//! and a claim that the store confirmed is never weakened.

use super::bounds::{Admitted, Bounds};
use super::known;
use super::reported::{ClaimStart, Claiming, ReportedClaim, WaitingClaim};
use crate::devices::request::SignedReceipt;
use crate::devices::rows::{Origins, SIZES};
use crate::events::alarms;
use crate::settings::unnamed::unnamed;
use db::alarm::About;
use db::claim_backlogs::ClaimBacklogs;
use db::error::Error;
use db::partial::REFUSED_BY_KEY;
use db::sql::{Sql, statement};
use db::statement::{Value, batches, clean, row, sql};
use db::writer::Write;
use domain::device::claim::{ClaimKind, ClaimReason, ClaimStatus};
use domain::device::{Content, DeviceReceipt, DeviceTransaction, TransactionKind};
use domain::{CollapseKey, DeviceId, DevicePlace, PlatformId, Timestamp};
use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum length in bytes of the ids in a claim: longer ones fit into no notification.
const MAX_ID_BYTES: usize = 1000;

pub type ClaimKey = (DevicePlace, CollapseKey);

/// The report that contains the claims.
#[derive(Debug, Clone, Copy)]
pub struct ClaimSource<'r> {
    pub request: usize,
    pub place: DevicePlace,
    /// The network that sent the report, as stored.
    pub network: &'r str,
    /// Whether new claims of unknown purchases are stored.
    pub claiming: Claiming,
    /// When the reported event happened, by settle's clock.
    pub occurred_at: Timestamp,
    /// The transactions that the device handed in, if the platform's store signs them: only they prove a purchase.
    pub signed: Option<&'r [SignedReceipt]>,
}

/// Numbers of claims of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClaimCounts {
    /// Number of stored claims that wait for the store.
    pub new: usize,
    /// Number of claims that were dropped because of a limit.
    pub dropped: usize,
    /// Number of other claims that were displaced.
    pub displaced: usize,
}

/// Result of storing the claims of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredClaims {
    /// Numbers of the claims that count towards the limits.
    pub counts: ClaimCounts,
    /// Claims of known purchases, which can be decided at once.
    pub known: Vec<ClaimKey>,
}

/// Results of storing claims, by the index of their request.
pub type StoredByRequest = BTreeMap<usize, StoredClaims>;

row! {
    struct KnownRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        collapse_key: CollapseKey,
        status: ClaimStatus,
        reason: Option<ClaimReason>,
        kind: ClaimKind,
        app_user_id: String,
    }
}

impl<'r> ClaimSource<'r> {
    /// Returns the claims in a report's content: those of purchases that can be proved.
    pub fn claims(self, content: &'r Content) -> Vec<ReportedClaim<'r>> {
        let all = match content {
            Content::SessionStart { receipts, .. } => receipts
                .iter()
                .flatten()
                .map(|receipt| self.present(receipt))
                .collect(),
            Content::Transaction(transaction) => vec![self.transacted(transaction)],
            Content::SessionEnd { .. } | Content::Impression(_) => Vec::new(),
        };
        let fits = |claim: &ReportedClaim<'_>| {
            let customer = claim.app_user_id.map_or(0, str::len);
            claim.receipt_id.len().max(customer) <= MAX_ID_BYTES
        };
        let is_proved = |claim: &ReportedClaim<'_>| self.signed.is_none() || claim.is_signed;
        let claims = all.into_iter().filter(fits).filter(is_proved);
        claims.collect()
    }

    /// Whether the device handed in a transaction of this purchase.
    fn is_signed(self, receipt_id: &str) -> bool {
        let mut signed = self.signed.into_iter().flatten();
        signed.any(|one| one.notification.receipt_id == receipt_id)
    }

    fn present(self, receipt: &'r DeviceReceipt) -> ReportedClaim<'r> {
        let Self {
            request,
            place,
            network,
            claiming,
            occurred_at,
            signed: _,
        } = self;
        let (receipt_id, app_user_id) =
            (receipt.receipt_id.as_str(), receipt.app_user_id.as_deref());
        let (kind, transaction) = (ClaimKind::Present, None);
        let is_signed = self.is_signed(receipt_id);
        ReportedClaim {
            request,
            place,
            network,
            claiming,
            receipt_id,
            app_user_id,
            kind,
            transaction,
            occurred_at,
            is_signed,
        }
    }

    fn transacted(self, transaction: &'r DeviceTransaction) -> ReportedClaim<'r> {
        let Self {
            request,
            place,
            network,
            claiming,
            occurred_at,
            signed: _,
        } = self;
        let kind = match transaction.kind {
            TransactionKind::Purchased => ClaimKind::Purchased,
            TransactionKind::Restored => ClaimKind::Restored,
        };
        let (receipt_id, app_user_id) = (
            transaction.receipt_id.as_str(),
            transaction.app_user_id.as_deref(),
        );
        let transaction = Some(transaction);
        let is_signed = self.is_signed(receipt_id);
        ReportedClaim {
            request,
            place,
            network,
            claiming,
            receipt_id,
            app_user_id,
            kind,
            transaction,
            occurred_at,
            is_signed,
        }
    }
}

impl<'r> ReportedClaim<'r> {
    /// Returns the customer as stored: the store's id, or else the key of the purchase.
    fn customer(&self) -> Cow<'r, str> {
        match self.app_user_id {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(unnamed(self.receipt_id)),
        }
    }

    /// Whether a stored claim is of the same customer. A claim without a customer matches any: only the purchase counts
    /// then.
    fn is_of_customer(&self, row: &KnownRow) -> bool {
        self.app_user_id
            .is_none_or(|name| *clean(name) == row.app_user_id)
    }

    fn key(&self) -> ClaimKey {
        (
            self.place,
            CollapseKey::of(self.place.platform, &clean(self.receipt_id)),
        )
    }

    /// Whether this claim contains more information than a claim of this kind.
    fn outranks(&self, kind: ClaimKind) -> bool {
        self.kind != ClaimKind::Present && kind == ClaimKind::Present
    }

    /// Returns why the claim begins to wait although its row is already stored; `None` if it does not.
    fn start(&self, row: &KnownRow) -> Option<ClaimStart> {
        if row.status != ClaimStatus::Refused {
            return None;
        }
        // Only a refused claim may change its customer.
        if !self.is_of_customer(row) {
            return Some(ClaimStart::Renewed);
        }
        let is_open_again = self.is_signed || row.reason == Some(ClaimReason::Displaced);
        is_open_again.then_some(ClaimStart::Returned)
    }

    /// Whether the claim's stored row still waits although the claim is proved.
    fn is_undecided(&self, row: &KnownRow) -> bool {
        self.is_signed && row.status == ClaimStatus::Pending
    }

    fn values(&self, reason: Option<ClaimReason>, now: Timestamp) -> [Value<'_>; 17] {
        let (place, key) = self.key();
        let of = |read: fn(&DeviceTransaction) -> Option<&str>| {
            Value::from(self.transaction.and_then(read))
        };
        [
            place.platform.into(),
            place.device.into(),
            key.into(),
            self.receipt_id.into(),
            self.customer().into(),
            ClaimStatus::Pending.into(),
            reason.into(),
            self.kind.into(),
            self.transaction
                .map(|transaction| transaction.sku.as_str())
                .into(),
            self.transaction
                .and_then(|transaction| transaction.price)
                .into(),
            of(|transaction| transaction.currency.as_deref()),
            of(|transaction| transaction.marketplace.as_deref()),
            self.occurred_at.into(),
            0_i64.into(),
            now.into(),
            now.into(),
            self.network.into(),
        ]
    }
}

const KNOWN: Sql = statement! {"
    SELECT c.platform_id, c.device_id, c.collapse_key, c.status, c.reason, c.kind, c.app_user_id
    FROM claims c
    WHERE (c.platform_id, c.device_id, c.collapse_key) IN (VALUES ?*)
"};

/// Stores the claims in new reports. The caller must have locked their devices.
pub fn store(
    write: &mut Write<'_>,
    claims: &[ReportedClaim<'_>],
    origins: &Origins,
    backlogs: &ClaimBacklogs,
) -> Result<StoredByRequest, Error> {
    let mut by_key: BTreeMap<ClaimKey, ReportedClaim<'_>> = BTreeMap::new();
    for claim in claims {
        match by_key.entry(claim.key()) {
            Entry::Occupied(mut known) if claim.outranks(known.get().kind) => {
                known.insert(*claim);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(unknown) => drop(unknown.insert(*claim)),
        }
    }
    if by_key.is_empty() {
        return Ok(StoredByRequest::new());
    }
    let known = stored(write, by_key.keys())?;
    let (mut wanted, mut filled, mut undecided) = (Vec::new(), Vec::new(), Vec::new());
    for (key, claim) in by_key {
        let row = known.get(&key);
        wanted.extend(
            row.map_or(Some(ClaimStart::New), |row| claim.start(row))
                .map(|start| WaitingClaim { claim, start }),
        );
        let is_filled = |row: &KnownRow| claim.outranks(row.kind) && claim.is_of_customer(row);
        filled.extend(row.is_some_and(is_filled).then_some(claim));
        let is_undecided = row.is_some_and(|row| claim.is_undecided(row));
        undecided.extend(is_undecided.then_some((claim.request, key)));
    }
    let (free, wanted) = set_apart(write, wanted, origins)?;
    let admitted = Bounds::of(write, &wanted, backlogs)?.keep_within(write, wanted, backlogs)?;
    let mut counts = count(&free, &admitted);
    for (request, key) in undecided {
        counts.entry(request).or_default().known.push(key);
    }
    let started: Vec<WaitingClaim<'_>> = free.into_iter().chain(admitted.wanted).collect();
    warn_without_secret(write, started.iter().map(|one| &one.claim), origins)?;
    let new = started
        .iter()
        .filter(|one| one.start == ClaimStart::New)
        .map(|one| one.claim);
    let mut inserted: Vec<ReportedClaim<'_>> = new.chain(filled).collect();
    inserted.sort_by_key(ReportedClaim::key);
    insert(write, &inserted, origins)?;
    started
        .iter()
        .try_for_each(|WaitingClaim { claim, start }| match start {
            ClaimStart::New => Ok(()),
            ClaimStart::Renewed => renew(write, claim, origins),
            ClaimStart::Returned => take_back(write, claim, origins),
        })?;
    Ok(counts)
}

/// Separates the claims of known purchases, which count towards no limit, from the others. Returns both.
fn set_apart<'r>(
    write: &mut Write<'_>,
    wanted: Vec<WaitingClaim<'r>>,
    origins: &Origins,
) -> Result<(Vec<WaitingClaim<'r>>, Vec<WaitingClaim<'r>>), Error> {
    let able = wanted
        .iter()
        .map(|one| &one.claim)
        .filter(|claim| waits_for(claim, origins).is_none());
    let known = known::purchases(write, &able.map(|claim| claim.key().1).collect())?;
    let (mut free, counted): (Vec<WaitingClaim<'r>>, _) = wanted
        .into_iter()
        .partition(|one| known.contains(&one.claim.key().1));
    free.iter_mut().for_each(|one| one.claim.network = "");
    Ok((free, counted))
}

fn count(free: &[WaitingClaim<'_>], admitted: &Admitted<'_>) -> StoredByRequest {
    let mut stored = StoredByRequest::new();
    for WaitingClaim { claim, .. } in free {
        stored
            .entry(claim.request)
            .or_default()
            .known
            .push(claim.key());
    }
    admitted
        .wanted
        .iter()
        .for_each(|one| stored.entry(one.claim.request).or_default().counts.new += 1);
    admitted
        .dropped
        .iter()
        .for_each(|request| stored.entry(*request).or_default().counts.dropped += 1);
    admitted
        .displacing
        .iter()
        .for_each(|request| stored.entry(*request).or_default().counts.displaced += 1);
    stored
}

fn stored<'k>(
    write: &mut Write<'_>,
    keys: impl Iterator<Item = &'k ClaimKey>,
) -> Result<BTreeMap<ClaimKey, KnownRow>, Error> {
    let keys: Vec<&ClaimKey> = keys.collect();
    let mut found = BTreeMap::new();
    for batch in batches(&keys, &SIZES) {
        let keys = batch
            .iter()
            .map(|(place, key)| [place.platform.into(), place.device.into(), (*key).into()]);
        let rows: Vec<KnownRow> = sql(KNOWN).bind_rows(keys).all(write.connection)?;
        found.extend(rows.into_iter().map(|row| {
            let place = DevicePlace {
                platform: row.platform_id,
                device: row.device_id,
            };
            ((place, row.collapse_key), row)
        }));
    }
    Ok(found)
}

/// Returns why a claim cannot be verified; `None` if it can. What the store signed needs no query.
fn waits_for(claim: &ReportedClaim<'_>, origins: &Origins) -> Option<ClaimReason> {
    let origin = origins.get(&claim.place.platform);
    let can_verify = claim.is_signed || origin.is_some_and(|origin| origin.has_secret);
    (!can_verify).then_some(ClaimReason::NoSecret)
}

/// Raises an alarm for each platform whose claims cannot be verified.
fn warn_without_secret<'r>(
    write: &mut Write<'_>,
    claims: impl Iterator<Item = &'r ReportedClaim<'r>>,
    origins: &Origins,
) -> Result<(), Error> {
    let unable = claims.filter(|claim| waits_for(claim, origins).is_some());
    let platforms: BTreeSet<PlatformId> = unable.map(|claim| claim.place.platform).collect();
    for platform in platforms {
        let detail = "devices report purchases, but the platform has no credentials that the store accepts: until you set \
             them, reported purchases are not verified and give no access";
        alarms::raise(
            write,
            About::Platform(platform),
            "claims_unverified",
            detail,
        )?;
    }
    Ok(())
}

const INSERT: Sql = statement! {"
    INSERT INTO claims (platform_id, device_id, collapse_key, receipt_id, app_user_id, status, reason, kind, sku, price,
        currency, marketplace, occurred_at, attempts, due_at, created_at, network)
    VALUES ?*
    ON CONFLICT (platform_id, device_id, collapse_key) DO UPDATE
    SET kind = excluded.kind, sku = excluded.sku, price = excluded.price, currency = excluded.currency,
        marketplace = excluded.marketplace, occurred_at = excluded.occurred_at
    WHERE claims.kind = 'present' AND excluded.kind <> 'present'
"};

fn insert(
    write: &mut Write<'_>,
    claims: &[ReportedClaim<'_>],
    origins: &Origins,
) -> Result<(), Error> {
    let now = write.now()?;
    for batch in batches(claims, &SIZES) {
        let rows = batch
            .iter()
            .map(|claim| claim.values(waits_for(claim, origins), now));
        sql(INSERT).bind_rows(rows).later(write.connection)?;
    }
    Ok(())
}

const RENEW: Sql = statement! {"
    UPDATE claims
    SET app_user_id = ?, kind = ?, sku = NULL, price = NULL, currency = NULL, marketplace = NULL, status = 'pending',
        reason = ?, attempts = 0, due_at = ?, created_at = ?, network = ?, occurred_at = ?, absent_since = NULL
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status {REFUSED_BY_KEY}
"};

/// Reopens a refused claim for another customer. Its price is ignored, because a purchase is paid for only once.
fn renew(write: &mut Write<'_>, claim: &ReportedClaim<'_>, origins: &Origins) -> Result<(), Error> {
    let (place, key) = claim.key();
    sql(RENEW)
        .bind((
            claim.customer(),
            claim.kind,
            waits_for(claim, origins),
            write.now()?,
            write.now()?,
            claim.network,
            claim.occurred_at,
            place.platform,
            place.device,
            key,
        ))
        .later(write.connection)
}

const TAKE_BACK: Sql = statement! {"
    UPDATE claims
    SET status = 'pending', reason = ?, attempts = 0, due_at = ?, created_at = ?, network = ?
    WHERE platform_id = ? AND device_id = ? AND collapse_key = ? AND status {REFUSED_BY_KEY}
"};

/// Lets a displaced claim wait again.
fn take_back(
    write: &mut Write<'_>,
    claim: &ReportedClaim<'_>,
    origins: &Origins,
) -> Result<(), Error> {
    let (place, key) = claim.key();
    sql(TAKE_BACK)
        .bind((
            waits_for(claim, origins),
            write.now()?,
            write.now()?,
            claim.network,
            place.platform,
            place.device,
            key,
        ))
        .later(write.connection)
}
