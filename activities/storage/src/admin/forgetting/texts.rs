//! Removes names from what people read and write: alarms, transfers, and why a purchase is held.

use super::rows::{Page, REMOVED, Removed};
use crate::db::alarm::About;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::events::alarms;
use domain::user::{ForgottenAppUser, ForgottenNames};
use domain::{CollapseKey, DestinationId, PlatformId, UserId};
use serde_json::Value as Json;
use std::collections::BTreeSet;

row! {
    struct AlarmText {
        seq: i64,
        platform_id: Option<PlatformId>,
        destination_id: Option<DestinationId>,
        kind: String,
        detail: String,
        note: Option<String>,
    }
}

const ALARMS: Sql = statement! {"
    SELECT seq, platform_id, destination_id, kind, detail, note
    FROM alarms
    WHERE seq > ? AND (app_id IS NULL OR app_id = ?)
    ORDER BY seq
    LIMIT ?
"};
const DELETE_ALARM: Sql = statement!("DELETE FROM alarms WHERE seq = ?");
const SET_NOTE: Sql = statement!("UPDATE alarms SET note = ? WHERE seq = ?");

/// Raises alarms of the app, or of none, that have a name in them anew, without it, and removes notes with a name.
pub fn alarms(write: &mut Write<'_>, page: Page<'_>) -> Result<Removed, Error> {
    let select = sql(ALARMS).bind(page.after).bind(page.app).bind(page.limit);
    let rows: Vec<AlarmText> = select.all(write.connection)?;
    let mut changed = 0;
    for row in rows.iter().filter(|row| page.names.are_in(&row.detail)) {
        let about = row.destination_id.map_or(About::from(row.platform_id), About::Destination);
        alarms::raise(write, about, &row.kind, REMOVED)?;
        changed += sql(DELETE_ALARM).bind(row.seq).run(write.connection)?;
    }
    for row in rows.iter().filter(|row| row.note.as_ref().is_some_and(|note| page.names.are_in(note))) {
        changed += sql(SET_NOTE).bind(REMOVED).bind(row.seq).run(write.connection)?;
    }
    Ok(Removed::of(page, changed, rows.iter().map(|row| row.seq)))
}

row! {
    #[derive(PartialEq, Eq)]
    struct TransferRow {
        id: String,
        from_user_id: UserId,
        to_user_id: UserId,
        moved: String,
        author: Option<String>,
        reason: Option<String>,
    }
}

const TRANSFERS_FROM: Sql = statement! {"
    SELECT id, from_user_id, to_user_id, moved, author, reason
    FROM transfers
    WHERE from_user_id = ?
"};
const TRANSFERS_TO: Sql = statement! {"
    SELECT id, from_user_id, to_user_id, moved, author, reason
    FROM transfers
    WHERE to_user_id = ?
"};
const SET_TRANSFER: Sql = statement! {"
    UPDATE transfers
    SET from_user_id = ?, to_user_id = ?, moved = ?, author = ?, reason = ?
    WHERE id = ?
"};

/// Puts the anonymous user in the place of the customer in transfers, and removes the names. The stores' ids are also in
/// earlier transfers of the same customers of stores, which are found by their former owners.
pub fn transfers(write: &mut Write<'_>, page: Page<'_>) -> Result<usize, Error> {
    let (mut changed, mut searched) = (0, BTreeSet::new());
    let mut users: BTreeSet<UserId> = page.names.users.iter().copied().chain([page.anonymous]).collect();
    while let Some(user) = users.pop_first() {
        searched.insert(user);
        for select in [TRANSFERS_FROM, TRANSFERS_TO] {
            let rows: Vec<TransferRow> = sql(select).bind(user).all(write.connection)?;
            for row in rows {
                let others = [row.from_user_id, row.to_user_id];
                if let Some(without) = row.without(page) {
                    users.extend(others.into_iter().filter(|other| !searched.contains(other)));
                    changed += without.store(write)?;
                }
            }
        }
    }
    Ok(changed)
}

impl TransferRow {
    /// The row without the names; `None` if it has none of them.
    fn without(self, page: Page<'_>) -> Option<Self> {
        let now = |user: UserId| if page.names.users.contains(&user) { page.anonymous } else { user };
        let replace = |moved: String, name: &ForgottenAppUser| {
            moved.replace(&quoted(&name.app_user_id), &quoted(&name.tombstone))
        };
        let without = Self {
            from_user_id: now(self.from_user_id),
            to_user_id: now(self.to_user_id),
            moved: page.names.app_users.iter().fold(self.moved.clone(), replace),
            author: unnamed(page.names, self.author.as_deref()),
            reason: unnamed(page.names, self.reason.as_deref()),
            id: self.id.clone(),
        };
        (without != self).then_some(without)
    }

    fn store(self, write: &mut Write<'_>) -> Result<usize, Error> {
        let Self { id, from_user_id, to_user_id, moved, author, reason } = self;
        let set = sql(SET_TRANSFER).bind(from_user_id).bind(to_user_id).bind(moved);
        set.bind(author.as_deref()).bind(reason.as_deref()).bind(id).run(write.connection)
    }
}

row! {
    struct HoldText {
        collapse_key: CollapseKey,
        held_by: Option<String>,
        held_reason: Option<String>,
    }
}

const HOLDS: Sql = statement! {hot "purchases_user", "
    SELECT collapse_key, held_by, held_reason
    FROM purchases
    WHERE user_id = ? AND (held_by IS NOT NULL OR held_reason IS NOT NULL)
    ORDER BY collapse_key
"};
const SET_HOLD: Sql = statement!("UPDATE purchases SET held_by = ?, held_reason = ? WHERE collapse_key = ?");

/// Removes the names from the reasons why purchases of a user are held, and from who holds them. The purchases are locked.
pub fn holds(write: &mut Write<'_>, user: UserId, names: &ForgottenNames) -> Result<(), Error> {
    let rows: Vec<HoldText> = sql(HOLDS).bind(user).all(write.connection)?;
    for HoldText { collapse_key, held_by, held_reason } in rows {
        let [by, reason] = [&held_by, &held_reason].map(|text| unnamed(names, text.as_deref()));
        if (&by, &reason) != (&held_by, &held_reason) {
            let set = sql(SET_HOLD).bind(by.as_deref()).bind(reason.as_deref());
            set.bind(collapse_key).run(write.connection)?;
        }
    }
    Ok(())
}

/// A text of a person, or what stands in its place if it has a name in it.
fn unnamed(names: &ForgottenNames, text: Option<&str>) -> Option<String> {
    text.map(|text| if names.are_in(text) { REMOVED } else { text }.to_owned())
}

const RESET_USERS: Sql = statement!("UPDATE users SET revision = 0 WHERE id IN (?*) AND external_id IS NULL");

/// Resets the revisions of the users: what was announced of them is the anonymous user's.
pub fn reset_users(write: &mut Write<'_>, names: &ForgottenNames) -> Result<(), Error> {
    let users = names.users.iter().copied();
    sql(RESET_USERS).uncached().bind_list(users).run(write.connection).map(drop)
}

/// A text as JSON writes it.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}
