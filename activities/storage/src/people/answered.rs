//! A settling that has the store's answer verifies the pending claims of its purchase, before owner, price and body are
//! computed. So a purchase that the store notifies and a device claims in one window is announced once, as the
//! customer's.
//!
//! The claims and the record are one transaction: a process that dies before its commit leaves both undone. Possible
//! races:
//!
//! * A claim that is stored after this transaction read the claims stays pending and due: it is examined, verified as
//!   that of a known purchase, and settled in a window of its own.
//! * A claim that is being examined: both transactions lock its users, its device and its row in the same order, and
//!   change the row only while the claim is pending. The second transaction finds it verified.
//! * Another settling of the purchase, or the same one again: before a claim is verified, the row of the purchase is
//!   locked and its settling number compared, so that a settling that is not recorded verifies no claim.
//! * A record of a purchase that this one continues, or of one that continues this one: both transactions lock the link
//!   before either purchase, in the order of all records.
//! * A record that is `Moved` for another reason, such as a join that moved this very purchase: its claims stay
//!   verified, since the answer holds, and the purchase is rechecked, so that the next settling announces them.

use crate::devices::claims::due::AWAITS_ANSWER;
use crate::people::device_users::{self, DeviceUser};
use crate::people::join::join;
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, Urgency};
use crate::purchases::replacements;
use crate::purchases::users::{self, Customer, Raced, StoreUser};
use crate::settings::app_lock;
use crate::settling::continuation;
use crate::settling::known::Known;
use crate::settling::owners::OWNERS;
use crate::settling::record::{RECORD, record_once};
use crate::store::Store;
use db::config::Installation;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Single, sql};
use db::writer::order::{Order, Settled};
use db::writer::{JobKind, Write};
use domain::settling::{Record, Recorded};
use domain::{DeviceId, DevicePlace};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of claims that one settling verifies, so that its transaction is short. The others become due.
const MAX_VERIFIED: i64 = 20;

/// With `verified_at IS NULL` the index skips the claims that were verified before, of which there may be many.
const HAS_CLAIMS: Sql = statement! {hot "claims_of_key", "
    SELECT c.device_id AS value
    FROM claims c
    WHERE c.collapse_key = ? AND c.verified_at IS NULL AND {AWAITS_ANSWER}
    LIMIT 1
"};

const CLAIMS: Sql = statement! {hot "claims_of_key", "
    SELECT c.device_id AS value
    FROM claims c
    WHERE c.collapse_key = ? AND c.verified_at IS NULL AND c.app_user_id = ? AND {AWAITS_ANSWER}
    ORDER BY c.created_at, c.device_id
    LIMIT {MAX_VERIFIED}
"};

const VERIFY: Sql = statement! {"
    UPDATE claims AS c
    SET status = 'verified', reason = NULL, failure = NULL, verified_at = ?, network = ''
    WHERE c.platform_id = ? AND c.device_id = ? AND c.collapse_key = ? AND c.app_user_id = ? AND {AWAITS_ANSWER}
"};

impl Store {
    /// Records a decision in one transaction. It is idempotent by the settling number and the notifications.
    pub async fn record(&self, record: Record) -> Result<Recorded, Error> {
        let installation = self.database.installation;
        let settled = Settled {
            key: record.collapse_key,
            newest: record.seqs.iter().max().copied(),
        };
        let order = Order::of(settled, OWNERS);
        let work = move |write: &mut Write<'_>| {
            let pending = pending_ahead(write, &record)?;
            let mut known = Known::read(write, &record)?;
            let mut verified = 0;
            if pending
                .map_or(Ok(None), |pending| pending.value(write.connection))?
                .is_some()
            {
                verified = verify(write, &record, &known, installation)?;
                known = Known::read(write, &record)?;
            }
            let recorded = record_once(write, &record, installation, known)?;
            if verified > 0 && recorded == Recorded::Moved {
                purchase::recheck(
                    write,
                    Urgency::Person,
                    CauseKind::Device,
                    purchase::OF_KEY,
                    [record.collapse_key.into()],
                )?;
            }
            Ok(recorded)
        };
        self.database
            .writer
            .write_ordered(JobKind::Record(RECORD), order, work)
            .await
    }
}

/// Begins to read a pending claim of the purchase, which is fetched later; `None` if the store's answer does not show
/// the purchase.
fn pending_ahead(
    write: &mut Write<'_>,
    record: &Record,
) -> Result<Option<Ahead<'static, Single<DeviceId>>>, Error> {
    let is_known_to_store = record.is_answer && record.is_real;
    let pending = || {
        sql(HAS_CLAIMS)
            .bind(record.collapse_key)
            .value_ahead(write.connection)
    };
    is_known_to_store.then(pending).transpose()
}

/// Verifies the claims of the customer who owns the purchase at the store, and joins their devices with this customer's
/// user. Returns the number of claims.
fn verify(
    write: &mut Write<'_>,
    record: &Record,
    known: &Known,
    installation: Installation,
) -> Result<usize, Error> {
    let (
        key,
        Known {
            row: seen, origin, ..
        },
    ) = (record.collapse_key, known);
    // The same customer as in the query of the store.
    let queried = origin.queried_customer(write.connection, key, seen.as_ref())?;
    let Some(app_user_id) = queried.and_then(|queried| queried.app_user_id) else {
        return Ok(0);
    };
    let claims: Vec<DeviceId> = sql(CLAIMS)
        .bind(key)
        .bind(app_user_id.as_str())
        .values(write.connection)?;
    if claims.is_empty() {
        return Ok(0);
    }
    let customer = Customer {
        origin,
        row: seen.as_ref(),
        app_user_id: Some(&app_user_id),
    };
    let claims: Vec<DevicePlace> = claims
        .into_iter()
        .map(|device| DevicePlace {
            platform: origin.platform_id,
            device,
        })
        .collect();
    let devices = lock_users(write, &customer, &claims)?;
    // The record of a purchase that is linked to this one locks the link, and then may change this one.
    replacements::lock(write, key)?.fetch(write.connection)?;
    continuation::link(write, record, origin)?;
    if !lock_purchase(write, record)? {
        return Ok(0);
    }
    for (place, device) in devices {
        if device_users::lock(write, place)? != device {
            return Err(Error::unavailable(Raced));
        }
    }
    let (app_id, store) = (origin.app_id, origin.store.clone());
    let customer = StoreUser {
        app_id,
        store,
        app_user_id,
    };
    let mut verified = 0;
    for place in claims {
        let claim = sql(VERIFY).bind((write.now()?, place.platform, place.device, key));
        if claim
            .bind(customer.app_user_id.as_str())
            .run(write.connection)?
            > 0
        {
            join(write, installation, place, &customer)?;
            verified += 1;
        }
    }
    Ok(verified)
}

/// Locks the app, and in order of their ids the users of the customer, of the purchase and of the devices. Creates the
/// customer's user as a record does. Returns the devices' users.
fn lock_users(
    write: &mut Write<'_>,
    customer: &Customer<'_>,
    claims: &[DevicePlace],
) -> Result<BTreeMap<DevicePlace, DeviceUser>, Error> {
    app_lock::share(write, customer.origin.app_id)?;
    let found = customer.find(write)?;
    let mut users = BTreeSet::from([found.id()]);
    users.extend(customer.row.and_then(|row| row.user_id));
    let mut devices = BTreeMap::new();
    for place in claims {
        let device = device_users::find(write.connection, *place)?;
        users.insert(device.id(*place));
        devices.insert(*place, device);
    }
    for user in users {
        users::try_lock_later(write, user)?;
    }
    customer.lock_ahead(write, found)?.fetch(write)?;
    Ok(devices)
}

/// Locks the purchase. Returns whether the purchase is not held and the record is that of its next settling.
fn lock_purchase(write: &mut Write<'_>, record: &Record) -> Result<bool, Error> {
    let row = purchase::lock(write, record.collapse_key)?;
    let now = write.now()?;
    let is_held = row.held_until.is_some_and(|until| until > now);
    Ok(!is_held
        && row.settling.saturating_add(1) == record.settling
        && row.revision == record.revision)
}
