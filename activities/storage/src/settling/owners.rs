//! The apps and users that settlings are about to lock, before any of them is locked: the writer orders settlings by
//! them, and locks those of a group without waiting.

use crate::purchases::users::{self, StoreUser};
use crate::settings::app_lock;
use crate::settings::unnamed::{PURCHASE_PREFIX, unnamed};
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::Write;
use db::writer::order::{Owner as AppUser, Owners, Settled};
use domain::{AppId, CollapseKey, UserId};
use std::collections::{BTreeSet, HashMap};

/// The owners of purchases, for the writer.
pub const OWNERS: Owners = Owners { find, lock };

row! {
    struct Owner {
        collapse_key: CollapseKey,
        app_id: AppId,
        user_id: UserId,
    }
}

row! {
    struct Named {
        collapse_key: CollapseKey,
        app_id: AppId,
        store: String,
        app_user_id: Option<String>,
        receipt_id: String,
        user_id: Option<UserId>,
    }
}

const OWNED: Sql = statement! {"
    SELECT collapse_key, app_id, user_id
    FROM purchases
    WHERE collapse_key IN (?*) AND user_id IS NOT NULL
"};

const NAMED: Sql = statement! {"
    SELECT n.collapse_key, p.app_id, p.store, n.app_user_id, n.receipt_id, u.user_id
    FROM notifications n
    JOIN platforms p ON p.id = n.platform_id
    LEFT JOIN store_users u ON u.app_id = p.app_id AND u.store = p.store
        AND u.app_user_id = COALESCE(n.app_user_id, '{PURCHASE_PREFIX}' || n.receipt_id)
    WHERE n.seq IN (?*) AND n.collapse_key IS NOT NULL
"};

/// Returns the apps and users of purchases: the owner, else the user of the store's customer, else the anonymous user
/// that the first settling creates. Once it is locked, the user may be another one, if an admin named the customer
/// meanwhile.
fn find(
    connection: &mut AnyConnection,
    settled: &[Settled],
) -> Result<HashMap<CollapseKey, AppUser>, Error> {
    let keys = settled.iter().map(|one| one.key);
    let owners: Vec<Owner> = sql(OWNED).uncached().bind_list(keys).all(connection)?;
    let mut users: HashMap<_, _> = owners
        .into_iter()
        .map(|owner| (owner.collapse_key, (owner.app_id, owner.user_id)))
        .collect();
    let seqs: Vec<i64> = settled
        .iter()
        .filter(|one| !users.contains_key(&one.key))
        .filter_map(|one| one.newest)
        .collect();
    if seqs.is_empty() {
        return Ok(users);
    }
    let named: Vec<Named> = sql(NAMED).uncached().bind_list(seqs).all(connection)?;
    users.extend(named.into_iter().map(|one| {
        let app_user_id = one.app_user_id.unwrap_or_else(|| unnamed(&one.receipt_id));
        let customer = StoreUser {
            app_id: one.app_id,
            store: one.store,
            app_user_id,
        };
        let user = one.user_id.unwrap_or_else(|| customer.anonymous());
        (one.collapse_key, (customer.app_id, user))
    }));
    Ok(users)
}

/// Shares the locks of the apps and locks the users. Returns the owners whose app or user another transaction has
/// locked. A user who does not exist yet counts as unlocked.
fn lock(write: &mut Write<'_>, owners: &BTreeSet<AppUser>) -> Result<BTreeSet<AppUser>, Error> {
    let shared = app_lock::try_share(write, owners.iter().map(|(app, _)| *app).collect())?;
    let locked = users::lock_free(write, owners.iter().map(|(_, user)| *user))?;
    let shared = shared.fetch(write)?;
    Ok(owners
        .iter()
        .filter(|(app, user)| !shared.contains(app) || locked.contains(user))
        .copied()
        .collect())
}
