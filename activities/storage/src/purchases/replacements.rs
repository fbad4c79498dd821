//! Changes of plan in which one purchase replaced another.
//!
//! The link is stored with the notification that reports it, before either purchase is settled, or by the record of the
//! new purchase, if the store's answer names the old one. It takes effect when the new purchase is known to be real.
//! `domain` decides the state of a replaced purchase.

use crate::purchases::cause::{self, CauseKind, RevisionCause};
use crate::purchases::owned::note_changed;
use crate::purchases::purchase::{self, RECHECKS, Urgency};
use db::connection::AnyConnection;
use db::error::Error;
use db::shared_lock;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Ahead, Single, sql};
use db::writer::Write;
use domain::{CollapseKey, Notification, NotificationKind, PlatformId, Purchase, Timestamp};

/// A replaced purchase and its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    old: CollapseKey,
    new: CollapseKey,
}

/// A body without this text reports no change of plan, and is not parsed.
const MARK: &str = "\"plan_changed\"";

/// Returns the link that a notification reports, if it reports one.
pub fn link_in(platform: PlatformId, body: &str) -> Option<Link> {
    let notification: Notification = body
        .contains(MARK)
        .then(|| serde_json::from_str(body).ok())
        .flatten()?;
    let old = CollapseKey::of(platform, notification.related_receipt_id.as_deref()?);
    let new = notification.collapse_key;
    (notification.kind == NotificationKind::PlanChanged && old != new).then_some(Link { old, new })
}

impl Link {
    fn lesser(self) -> CollapseKey {
        self.old.min(self.new)
    }

    /// Locks the link in both directions until the end of the transaction: the next statement sees an inverse link that
    /// another transaction was inserting.
    fn lock(self, write: &mut Write<'_>) -> Result<(), Error> {
        shared_lock::take(write.connection, self.lesser().uuid())
    }
}

const INSERT: Sql = statement! {"
    INSERT INTO replacements (old_key, new_key, created_at)
    SELECT ?, ?, ?
    WHERE NOT EXISTS (SELECT 1 FROM replacements WHERE old_key = ? AND new_key = ?)
    ON CONFLICT DO NOTHING
"};

/// Inserts links. The first link of a replaced purchase is kept, and two purchases never replace each other.
pub fn insert(write: &mut Write<'_>, mut links: Vec<Link>) -> Result<(), Error> {
    // All processes lock and insert in the same order, so that they do not deadlock.
    links.sort_unstable_by_key(|link| (link.lesser(), *link));
    for link in &links {
        link.lock(write)?;
    }
    for link in links {
        sql(INSERT)
            .bind((link.old, link.new, write.now()?, link.new, link.old))
            .later(write.connection)?;
    }
    Ok(())
}

const INFER: Sql = statement! {"
    INSERT INTO replacements (old_key, new_key, real_at, created_at, is_inferred)
    SELECT ?, ?, ?, ?, TRUE
    WHERE NOT EXISTS (SELECT 1 FROM replacements WHERE old_key = ? AND new_key = ?)
    ON CONFLICT DO NOTHING
"};

/// Links two purchases that no notification links; the new one is known to be real. Returns whether the link was
/// inserted: the first link of the old purchase is kept.
pub fn infer(write: &mut Write<'_>, old: CollapseKey, new: CollapseKey) -> Result<bool, Error> {
    Link { old, new }.lock(write)?;
    let linked = sql(INFER)
        .bind((old, new, write.now()?, write.now()?, new, old))
        .run(write.connection)?;
    if linked > 0 {
        note_changed(write, None, old);
    }
    Ok(linked > 0)
}

const CONTINUE: Sql = statement! {"
    INSERT INTO replacements (old_key, new_key, created_at)
    SELECT ?, ?, ?
    WHERE NOT EXISTS (SELECT 1 FROM replacements WHERE old_key = ? AND new_key = ?)
    ON CONFLICT (old_key) DO UPDATE
    SET new_key = excluded.new_key, created_at = excluded.created_at, is_inferred = FALSE
    WHERE replacements.real_at IS NULL AND replacements.new_key <> excluded.new_key
"};

/// Links a purchase to the one that continues it by the store's own link, and locks the link until the end of the
/// transaction. It takes the place of a link to a successor that is not known to be real, such as one that was never
/// paid. Like [`lock`], it must precede the locks of purchases.
pub fn follow(write: &mut Write<'_>, old: CollapseKey, new: CollapseKey) -> Result<(), Error> {
    Link { old, new }.lock(write)?;
    sql(CONTINUE)
        .bind((old, new, write.now()?, new, old))
        .later(write.connection)
}

const SUCCESSOR: Sql = statement!("SELECT new_key AS value FROM replacements WHERE old_key = ?");

/// Returns the successor of a purchase, even if that is not known to be real.
pub fn successor(
    connection: &mut AnyConnection,
    old: CollapseKey,
) -> Result<Option<CollapseKey>, Error> {
    sql(SUCCESSOR).bind(old).value(connection)
}

const LINKS_TO: Sql = statement!("SELECT is_inferred AS value FROM replacements WHERE new_key = ?");

/// The links to the purchases that a purchase replaced, which are fetched later.
#[must_use]
pub struct Links(Ahead<'static, Single<bool>>);

/// Begins to read the links to the purchases that this one replaced.
pub fn links_ahead(connection: &mut AnyConnection, new: CollapseKey) -> Result<Links, Error> {
    sql(LINKS_TO).bind(new).value_ahead(connection).map(Links)
}

impl Links {
    /// Returns whether all links were inferred; `None` when there is no link.
    pub fn are_inferred(self, connection: &mut AnyConnection) -> Result<Option<bool>, Error> {
        let links: Vec<bool> = self.0.values(connection)?;
        Ok((!links.is_empty()).then(|| links.iter().all(|is_inferred| *is_inferred)))
    }
}

/// Selects when a purchase's successor became known to be real. At most one row, since `old_key` is unique.
const LINK: &str = "SELECT real_at AS value FROM replacements WHERE old_key = ?";
const LINK_OF: Sql = statement!("{LINK}");

/// Returns whether a link names this purchase's successor, even if that is not known to be real yet.
pub fn is_linked(connection: &mut AnyConnection, old: CollapseKey) -> Result<bool, Error> {
    Ok(sql(LINK_OF)
        .bind(old)
        .value::<Option<Timestamp>>(connection)?
        .is_some())
}

const REALIZE: Sql = statement! {hot "replacements_new", "
    UPDATE replacements
    SET real_at = ?
    WHERE new_key = ? AND real_at IS NULL
    RETURNING old_key AS value
"};

/// Notes that a purchase is known to be real: the purchases that it replaced count as replaced from now on.
pub fn realize_ahead(write: &mut Write<'_>, new: CollapseKey) -> Result<Realized, Error> {
    sql(REALIZE)
        .bind(write.now()?)
        .bind(new)
        .value_ahead(write.connection)
        .map(Realized)
}

/// The purchases that count as replaced from now on, which are fetched later.
#[must_use]
pub struct Realized(Ahead<'static, Single<CollapseKey>>);

impl Realized {
    pub fn recheck(self, write: &mut Write<'_>) -> Result<(), Error> {
        let mut replaced = self.0.values(write.connection)?;
        replaced.sort_unstable();
        for old in replaced {
            note_changed(write, None, old);
            purchase::recheck(
                write,
                Urgency::Setting,
                CauseKind::PlanChange,
                purchase::OF_KEY,
                [old.into()],
            )?;
        }
        Ok(())
    }
}

const OF_SUCCESSOR: Clause = clause!(
    &[RECHECKS[0]],
    "collapse_key = (SELECT r.new_key FROM replacements r WHERE r.old_key = ?)"
);

/// Rechecks the successor of this purchase, whose SKU has become known: the successor's record names that SKU.
pub fn recheck_successor(write: &mut Write<'_>, old: CollapseKey) -> Result<(), Error> {
    let cause = RevisionCause::of(CauseKind::PlanChange, write).json()?;
    let recheck = sql(RECHECKS[0].of(OF_SUCCESSOR))
        .bind_all(cause::noted(&cause))
        .bind(write.now()?);
    recheck
        .bind(Urgency::Setting)
        .bind(old)
        .later(write.connection)
}

const LOCK_LINK_OF: Sql = statement!("{LINK} FOR SHARE");

/// The link of a purchase to its successor, which is fetched later.
pub struct Replacement(Ahead<'static, Single<Option<Timestamp>>>);

impl Replacement {
    /// Returns whether another purchase that is known to be real replaced this one.
    pub fn fetch(self, connection: &mut AnyConnection) -> Result<bool, Error> {
        Ok(self.0.value(connection)?.flatten().is_some())
    }
}

/// Like [`find`], and locks the link until the end of the transaction. If the successor becomes real before this
/// record, the record sees it; if after it, [`Realized`] finds the purchase's row. The user must be locked already, and
/// the purchase must not be: the locks are taken in that order. A shared lock of the link's row is enough: only records
/// of this purchase share it, and they are too few to delay the successor for long.
pub fn lock(write: &mut Write<'_>, old: CollapseKey) -> Result<Replacement, Error> {
    sql(LOCK_LINK_OF)
        .bind(old)
        .value_ahead(write.connection)
        .map(Replacement)
}

/// Returns the link of a purchase to its successor.
pub fn find(connection: &mut AnyConnection, old: CollapseKey) -> Result<Replacement, Error> {
    sql(LINK_OF)
        .bind(old)
        .value_ahead(connection)
        .map(Replacement)
}

const REPLACED_BY: Sql = statement! {hot "replacements_new", "
    SELECT p.purchase AS value
    FROM replacements r
    JOIN purchases p ON p.collapse_key = r.old_key
    WHERE r.new_key = ?
    ORDER BY r.created_at DESC, r.old_key
    LIMIT 1
"};

/// Returns the purchase that this one replaced; of several, the one that was linked last. It is fetched later.
pub fn replaced_ahead(
    connection: &mut AnyConnection,
    new: CollapseKey,
) -> Result<Ahead<'static, Single<Purchase>>, Error> {
    sql(REPLACED_BY).bind(new).value_ahead(connection)
}
