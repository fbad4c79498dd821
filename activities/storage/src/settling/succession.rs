//! Changes of plan from one purchase to another whose notification was lost: the settling of either purchase finds the
//! other one.
//!
//! Everything happens in the transaction of a record, with the owner of both purchases locked. `domain` decides which
//! purchase succeeds which, and what is announced. Nothing is inferred for a store that names the continued purchase in
//! its answers: see `continuation.rs`.

use crate::events::alarms;
use crate::purchases::cause::CauseKind;
use crate::purchases::owned::UNSPENT;
use crate::purchases::purchase::{self, PurchaseRow, Urgency};
use crate::purchases::replacements;
use crate::purchases::users::UserRow;
use crate::settling::revision::Settling;
use db::alarm::About;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use db::writer::Write;
use domain::{CollapseKey, Purchase, Timestamp, user};

row! {
    struct Candidate {
        collapse_key: CollapseKey,
        purchase: Purchase,
    }
}

/// Selects the owner's purchases of a platform that are replaced and have no link to their successor.
const REPLACED: Sql = statement! {"
    SELECT p.collapse_key, p.purchase
    FROM purchases p
    WHERE p.user_id = ? AND p.platform_id = ? AND p.collapse_key <> ? AND p.state = 'replaced'
        AND {UNSPENT}
        AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.old_key = p.collapse_key)
    ORDER BY p.collapse_key
"};

/// Selects the owner's purchases of a platform that no link names as a successor.
const UNLINKED: Sql = statement! {"
    SELECT p.collapse_key, p.purchase
    FROM purchases p
    WHERE p.user_id = ? AND p.platform_id = ? AND p.collapse_key <> ? AND {UNSPENT}
        AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.new_key = p.collapse_key)
    ORDER BY p.collapse_key
"};

/// The detail of the alarm. It names no purchase, so that a platform has one such alarm, which is counted.
const ALARM: &str = "a subscription ended by an immediate change of plan, but no notification names the new purchase, \
     so SUBSCRIPTION_MODIFIED_IMMEDIATE was lost: if you know the store's id of the new one, import it with `settle app \
     import`; settle then links it and sends sku_change. After a week without it, settle sends expired";

/// Links a replaced purchase to its successor and rechecks the successor, if no notification names it and it is known
/// already. Returns whether it did; the decision is then outdated, because it was made without the successor.
pub fn find_successor(write: &mut Write<'_>, settling: &Settling<'_>) -> Result<bool, Error> {
    let old = &settling.record.decision.purchase;
    let Some(owner) = settling
        .owner
        .filter(|_| old.successor_missing_since().is_some() && may_be_inferred(old))
    else {
        return Ok(false);
    };
    let known =
        candidates_ahead(write.connection, UNLINKED, settling, owner)?.all(write.connection)?;
    let new = nearest(old.expires_at(), known, |new| {
        old.is_succeeded_by(new).then(|| new.not_before())?
    });
    let Some(new) = new else { return Ok(false) };
    if !replacements::infer(write, settling.record.collapse_key, new)? {
        return Ok(false);
    }
    purchase::recheck(
        write,
        Urgency::Setting,
        CauseKind::PlanChange,
        purchase::OF_KEY,
        [new.into()],
    )?;
    Ok(true)
}

/// Announces a change of plan if the settled purchase succeeds another one and its own beginning was not announced
/// before. Links the two and rechecks the other one. Returns whether it did.
pub fn succeed(write: &mut Write<'_>, settling: &mut Settling<'_>) -> Result<bool, Error> {
    let (key, new) = (
        settling.record.collapse_key,
        &settling.record.decision.purchase,
    );
    let is_first = (settling.begins() || new.is_beginning_unannounced())
        && !new.is_one_time_purchase()
        && may_be_inferred(new);
    let Some(owner) = settling
        .owner
        .filter(|_| settling.record.is_real && is_first)
    else {
        return Ok(false);
    };
    let links = replacements::links_ahead(write.connection, key)?;
    let known = candidates_ahead(write.connection, REPLACED, settling, owner)?;
    let is_successor = match links.are_inferred(write.connection)? {
        Some(are_inferred) => are_inferred,
        None => {
            let known = known.all(write.connection)?;
            let old = nearest(new.not_before(), known, |old| {
                old.is_succeeded_by(new).then(|| old.expires_at())?
            });
            link(write, old, key)?
        }
    };
    if is_successor {
        settling.record.to_mut().decision =
            user::announce_succession(settling.record.decision.clone());
    }
    Ok(is_successor)
}

/// Raises an alarm when a purchase is first recorded as replaced while no link names its successor.
pub fn alarm(
    write: &mut Write<'_>,
    settling: &Settling<'_>,
    before: &PurchaseRow,
) -> Result<(), Error> {
    let record = &settling.record;
    if record.decision.purchase.successor_missing_since().is_none()
        || !may_be_inferred(&record.decision.purchase)
        || before.known()?.successor_missing_since().is_some()
        || replacements::is_linked(write.connection, record.collapse_key)?
    {
        return Ok(());
    }
    alarms::raise(
        write,
        About::Platform(settling.origin.platform_id),
        "replacement_unknown",
        ALARM,
    )
}

/// Whether the links of a purchase may be inferred from dates: its store's answers show no link.
fn may_be_inferred(purchase: &Purchase) -> bool {
    purchase.store_state().is_none()
}

fn link(write: &mut Write<'_>, old: Option<CollapseKey>, new: CollapseKey) -> Result<bool, Error> {
    let Some(old) = old else { return Ok(false) };
    let is_linked = replacements::infer(write, old, new)?;
    if is_linked {
        purchase::recheck(
            write,
            Urgency::Setting,
            CauseKind::PlanChange,
            purchase::OF_KEY,
            [old.into()],
        )?;
    }
    Ok(is_linked)
}

/// Returns the owner's other purchases on the platform that a statement selects, which are fetched later.
fn candidates_ahead(
    connection: &mut AnyConnection,
    candidates: Sql,
    settling: &Settling<'_>,
    owner: &UserRow,
) -> Result<Ahead<'static, Candidate>, Error> {
    let platform = settling.origin.platform_id;
    sql(candidates)
        .bind((owner.id, platform, settling.record.collapse_key))
        .ahead(connection)
}

/// Returns the candidate whose time is nearest to `at`; of two equally near ones the one with the lower key.
fn nearest(
    at: Option<Timestamp>,
    known: Vec<Candidate>,
    time: impl Fn(&Purchase) -> Option<Timestamp>,
) -> Option<CollapseKey> {
    let at = at?;
    let distance = |one: &Candidate| {
        Some((
            time(&one.purchase)?.millis_since(at).abs(),
            one.collapse_key,
        ))
    };
    known.iter().filter_map(distance).min().map(|(_, key)| key)
}
