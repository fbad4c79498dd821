//! Changes of plan over two receipts whose notification was lost: the two find each other, whichever is settled first.
//!
//! Everything happens in the transaction of a record, with the owner of both receipts locked. Which receipt succeeds
//! which, and what is announced, is `domain`'s.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::events::alarms;
use crate::purchases::purchase::{self, Origin, PurchaseRow};
use crate::purchases::replacements;
use crate::purchases::users::UserRow;
use domain::settling::Record;
use domain::{CollapseKey, Purchase, Timestamp, TransitionKind, user};

row! {
    struct Candidate {
        collapse_key: CollapseKey,
        purchase: String,
    }
}

/// The owner's purchases of a platform that were replaced, without a link to their successor.
const REPLACED: Sql = statement! {"
    SELECT p.collapse_key, p.purchase
    FROM purchases p
    WHERE p.user_id = ? AND p.platform_id = ? AND p.collapse_key <> ? AND p.state = 'replaced'
        AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.old_key = p.collapse_key)
    ORDER BY p.collapse_key
"};

/// The owner's purchases of a platform that replaced none.
const UNLINKED: Sql = statement! {"
    SELECT p.collapse_key, p.purchase
    FROM purchases p
    WHERE p.user_id = ? AND p.platform_id = ? AND p.collapse_key <> ?
        AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.new_key = p.collapse_key)
    ORDER BY p.collapse_key
"};

/// The detail of the alarm; it names the platform alone.
const ALARM: &str = "a subscription ended by an immediate change of plan, and no notification names its new receipt, so that \
     SUBSCRIPTION_MODIFIED_IMMEDIATE was lost: if the new receipt is known elsewhere, import it with `settle app import`; \
     it is then linked and sku_change is sent. After a week without it expired is sent";

/// Links a purchase with its successor that no notification names, if that is known already, and rechecks the
/// successor. Returns whether it did: the decision did not know of it then.
pub fn find_successor(
    write: &mut Write<'_>,
    record: &Record,
    (origin, owner): (&Origin, Option<&UserRow>),
) -> Result<bool, Error> {
    let old = &record.decision.purchase;
    let Some(owner) = owner.filter(|_| old.successor_missing_since().is_some()) else { return Ok(false) };
    let known = candidates(write.connection, UNLINKED, (origin, owner, record.collapse_key))?;
    let new = nearest(old.expires_at(), known, |new| old.is_succeeded_by(new).then(|| new.not_before())?);
    let Some(new) = new else { return Ok(false) };
    if !replacements::infer(write, record.collapse_key, new)? {
        return Ok(false);
    }
    purchase::recheck(write, purchase::OF_KEY, [new.into()])?;
    Ok(true)
}

/// The record of a receipt whose beginning was not announced and that succeeds another one, with the change of plan
/// announced; `None` where it succeeds none. The other one is rechecked.
pub fn succeed(
    write: &mut Write<'_>,
    record: &Record,
    (origin, owner): (&Origin, Option<&UserRow>),
) -> Result<Option<Record>, Error> {
    let new = &record.decision.purchase;
    let begins = record.decision.transitions.iter().any(|transition| transition.kind == TransitionKind::Purchased);
    let is_first = (begins || new.is_beginning_unannounced()) && !new.is_one_time_purchase();
    let Some(owner) = owner.filter(|_| record.is_real && is_first) else { return Ok(None) };
    let is_successor = match replacements::is_inferred(write.connection, record.collapse_key)? {
        Some(is_inferred) => is_inferred,
        None => {
            let known = candidates(write.connection, REPLACED, (origin, owner, record.collapse_key))?;
            let old = nearest(new.not_before(), known, |old| old.is_succeeded_by(new).then(|| old.expires_at())?);
            link(write, old, record.collapse_key)?
        }
    };
    let announced = is_successor.then(|| user::announce_succession(record.decision.clone()));
    Ok(announced.map(|decision| Record { decision, ..record.clone() }))
}

/// Raises an alarm when a purchase is first recorded as replaced by a receipt that no notification names.
pub fn alarm(write: &mut Write<'_>, (record, before): (&Record, &PurchaseRow), origin: &Origin) -> Result<(), Error> {
    if record.decision.purchase.successor_missing_since().is_none()
        || before.known()?.successor_missing_since().is_some()
        || replacements::is_linked(write.connection, record.collapse_key)?
    {
        return Ok(());
    }
    alarms::raise(write, Some(origin.platform_id), "replacement_unknown", ALARM)
}

fn link(write: &mut Write<'_>, old: Option<CollapseKey>, new: CollapseKey) -> Result<bool, Error> {
    let Some(old) = old else { return Ok(false) };
    let is_linked = replacements::infer(write, old, new)?;
    if is_linked {
        purchase::recheck(write, purchase::OF_KEY, [old.into()])?;
    }
    Ok(is_linked)
}

fn candidates(
    connection: &mut AnyConnection,
    candidates: Sql,
    (origin, owner, except): (&Origin, &UserRow, CollapseKey),
) -> Result<Vec<(CollapseKey, Purchase)>, Error> {
    let rows: Vec<Candidate> = sql(candidates).bind(owner.id).bind(origin.platform_id).bind(except).all(connection)?;
    rows.into_iter().map(|row| Ok((row.collapse_key, purchase::read(&row.purchase)?))).collect()
}

/// The candidate whose time is nearest; of equal ones the first key.
fn nearest(
    at: Option<Timestamp>,
    known: Vec<(CollapseKey, Purchase)>,
    time: impl Fn(&Purchase) -> Option<Timestamp>,
) -> Option<CollapseKey> {
    let at = at?;
    let times = known.into_iter().filter_map(|(key, purchase)| Some((time(&purchase)?.millis_since(at).abs(), key)));
    times.min().map(|(_, key)| key)
}
