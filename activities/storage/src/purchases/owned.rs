//! The purchases of a user, or those to which a device has access, from which a state is computed.

use crate::settings::destinations::Destination;
use crate::settings::listing::Listings;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::sql::{Sql, statement};
use db::statement::{Ahead, Statement, row, sql};
use db::writer::Write;
use domain::catalogue::ProductRef;
use domain::user::{self, Attributes, OwnedPurchase};
use domain::{AppId, CollapseKey, Environment, PlatformId, Purchase, Timestamp, UserId};
use std::collections::{BTreeSet, HashMap};

/// Purchases of a user, and the environment in which a profile or a state is computed from them.
#[derive(Clone, Copy)]
pub struct UserPurchases<'a> {
    pub user: UserId,
    /// All purchases of the user, or those on certain platforms.
    pub owned: &'a [OwnedPurchase],
    /// The environment of the profile or state.
    pub environment: Environment,
}

row! {
    struct OwnedRow {
        collapse_key: CollapseKey,
        platform_id: PlatformId,
        platform_type: String,
        environment: Environment,
        product_ref: ProductRef,
        purchase: Purchase,
        real_at: Option<Timestamp>,
    }
}

const SELECT: &str = "
    SELECT p.collapse_key, p.platform_id, f.store AS platform_type, f.environment, f.product_ref, p.purchase,
        r.real_at
    FROM purchases p
    JOIN platforms f ON f.id = p.platform_id
    LEFT JOIN replacements r ON r.old_key = p.collapse_key";

const OWNED: Sql = statement! {hot "purchases_user", "
    {SELECT}
    WHERE p.user_id = ?
    ORDER BY p.collapse_key
"};

/// Whether a purchase `p` is not noted as spent. The note ends with the next update, because a process of an older
/// release updates a purchase without removing the note.
pub const UNSPENT: &str = "(p.spent_at IS NULL OR p.spent_at <> p.updated_at)";

const COUNTED: Sql = statement! {hot "purchases_unspent or purchases_user", "
    {SELECT}
    WHERE p.user_id = ? AND {UNSPENT}
    ORDER BY p.collapse_key
"};

/// A settling that reads more purchases than this notes the spent ones, so that no later settling reads them.
const MAX_UNNOTED: usize = 256;
/// Maximum number of purchases that are noted as spent at once.
const MAX_NOTED: usize = 1000;

const LOCK_SPENT: Sql = statement! {"
    SELECT collapse_key AS value
    FROM purchases
    WHERE collapse_key IN (?*)
    ORDER BY collapse_key
    FOR NO KEY UPDATE SKIP LOCKED
"};
const NOTE_SPENT: Sql =
    statement!("UPDATE purchases SET spent_at = updated_at WHERE collapse_key IN (?*)");

/// Selects the purchases that a device claimed and that the store confirmed, by the device's platform and id. A named
/// customer's purchase gives no access on a device where another named customer is logged in: it is not active for
/// both. A purchase that the device's newest list leaves out gives access only while its owner is logged in there.
pub const OF_DEVICE: Sql = statement! {"
    {SELECT}
    JOIN claims c ON c.collapse_key = p.collapse_key
    LEFT JOIN devices d ON d.platform_id = c.platform_id AND d.id = c.device_id
    LEFT JOIN users present ON present.id = d.user_id AND present.external_id IS NOT NULL
    LEFT JOIN users buyer ON buyer.id = p.user_id AND buyer.external_id IS NOT NULL
    WHERE c.platform_id = ? AND c.device_id = ? AND c.status = 'verified'
        AND (present.id IS NULL OR buyer.id IS NULL OR present.id = buyer.id)
        AND (c.absent_since IS NULL OR present.id = buyer.id)
    ORDER BY p.collapse_key
"};

/// The environment in which a purchase `p` on a platform `f` counts now: the sandbox, if the purchase or its platform
/// belongs to the sandbox. A body is rendered by the same rule.
pub const PRESENT_ENVIRONMENT: &str = "CASE WHEN f.environment = 'sandbox' THEN f.environment ELSE COALESCE(p.environment, f.environment) END";

/// Selects all purchases of a device's user, if the customer's server signed the login. A purchase of the store's test
/// environment is shared only with devices in the sandbox, because test purchases are free.
pub const SHARED_WITH_DEVICE: Sql = statement! {"
    {SELECT}
    JOIN devices d ON d.user_id = p.user_id
    JOIN platforms h ON h.id = d.platform_id
    WHERE d.platform_id = ? AND d.id = ? AND d.is_signed AND {PRESENT_ENVIRONMENT} = h.environment
    ORDER BY p.collapse_key
"};

/// Returns all purchases of a user as they are stored, in order of their keys.
pub fn owned(
    connection: &mut AnyConnection,
    app: AppId,
    user: UserId,
) -> Result<Vec<OwnedPurchase>, Error> {
    owned_ahead(connection, user)?.fetch(connection, &mut Listings::of(app))
}

/// Returns the purchases that determine the user's state, as stored.
pub fn counted(
    connection: &mut AnyConnection,
    app: AppId,
    user: UserId,
) -> Result<Vec<OwnedPurchase>, Error> {
    owned_by(connection, app, sql(COUNTED).bind(user))
}

// `|| ''` and `+ 0` keep the planner from walking the purchases of all users in that order.
const PAGE: Sql = statement! {hot "purchases_user", "
    {SELECT}
    WHERE p.user_id = ? AND p.collapse_key > ?
    ORDER BY p.collapse_key || ''
    LIMIT ?
"};

const NEWEST: Sql = statement! {hot "purchases_user", "
    {SELECT}
    WHERE p.user_id = ?
    ORDER BY p.updated_at + 0 DESC, p.collapse_key
    LIMIT ?
"};

/// Returns a page of the purchases of a user, in order of their keys.
pub fn page(
    connection: &mut AnyConnection,
    app: AppId,
    user: UserId,
    page: &Page,
) -> Result<Paged<OwnedPurchase>, Error> {
    let rows = owned_by(
        connection,
        app,
        sql(PAGE).bind((user, page.key()?, page.size() + 1)),
    )?;
    Paged::cut(rows, page.size(), |row| row.collapse_key.to_string(), Ok)
}

/// Returns the `limit` purchases of a user that were updated last, in order of their keys.
pub fn newest(
    connection: &mut AnyConnection,
    app: AppId,
    user: UserId,
    limit: i64,
) -> Result<Vec<OwnedPurchase>, Error> {
    let mut newest = owned_by(connection, app, sql(NEWEST).bind(user).bind(limit))?;
    newest.sort_by_key(|one| one.collapse_key);
    Ok(newest)
}

/// Returns the purchases that a statement selects, in its order.
pub fn owned_by(
    connection: &mut AnyConnection,
    app: AppId,
    select: Statement<'static>,
) -> Result<Vec<OwnedPurchase>, Error> {
    OwnedAhead(select.ahead(connection)?).fetch(connection, &mut Listings::of(app))
}

fn owned_ahead(connection: &mut AnyConnection, user: UserId) -> Result<OwnedAhead, Error> {
    sql(OWNED).bind(user).ahead(connection).map(OwnedAhead)
}

/// Which purchases of a user are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    All,
    /// The purchases that determine the user's state.
    Counted,
}

impl Which {
    /// Returns which purchases the state and the profile of a user need for these destinations. The extended attributes
    /// are sums over all purchases.
    pub fn for_destinations(destinations: &[Destination]) -> Self {
        let is_extended = destinations
            .iter()
            .any(|one| one.profile == Some(Attributes::Extended));
        if is_extended {
            Self::All
        } else {
            Self::Counted
        }
    }
}

/// The purchases of the users that the transaction has locked, which its settlings share: a settling reads only the
/// purchases that earlier settlings of the user changed.
#[derive(Default)]
struct Shared(HashMap<(UserId, Which), SharedPurchases>);

/// The purchases of a user in order of their keys, and those that changed since they were read.
#[derive(Default)]
struct SharedPurchases {
    owned: Vec<OwnedPurchase>,
    changed: BTreeSet<CollapseKey>,
}

const OWNED_OF_KEYS: Sql = statement! {"
    {SELECT}
    WHERE p.collapse_key IN (?*)
    ORDER BY p.collapse_key
"};

/// Begins to read the purchases of a user that the transaction has locked; they are fetched later.
pub fn shared_ahead(
    write: &mut Write<'_>,
    user: UserId,
    which: Which,
) -> Result<SharedAhead, Error> {
    let mut shared: Shared = write.take_shared();
    let changed = shared
        .0
        .get_mut(&(user, which))
        .map(|known| std::mem::take(&mut known.changed));
    write.share(shared);
    let rows = match &changed {
        None if which == Which::All => Some(owned_ahead(write.connection, user)?),
        None => Some(OwnedAhead(sql(COUNTED).bind(user).ahead(write.connection)?)),
        Some(changed) if changed.is_empty() => None,
        Some(changed) => Some(of_keys_ahead(write.connection, changed)?),
    };
    Ok(SharedAhead {
        user,
        which,
        changed,
        rows,
    })
}

fn of_keys_ahead(
    connection: &mut AnyConnection,
    keys: &BTreeSet<CollapseKey>,
) -> Result<OwnedAhead, Error> {
    sql(OWNED_OF_KEYS)
        .uncached()
        .bind_list(keys.iter().copied())
        .ahead(connection)
        .map(OwnedAhead)
}

/// Notes that the transaction changed a purchase of this user. `None` stands for an unknown user, and notes the change
/// for all users.
pub fn note_changed(write: &mut Write<'_>, user: Option<UserId>, key: CollapseKey) {
    let mut shared: Shared = write.take_shared();
    for (_, known) in shared
        .0
        .iter_mut()
        .filter(|((id, _), _)| user.is_none_or(|user| user == *id))
    {
        known.changed.insert(key);
    }
    write.share(shared);
}

/// The purchases of a locked user, which are fetched later.
pub struct SharedAhead {
    user: UserId,
    which: Which,
    /// The purchases that are being read; `None` for all of them.
    changed: Option<BTreeSet<CollapseKey>>,
    rows: Option<OwnedAhead>,
}

impl SharedAhead {
    /// Returns the purchases with their listings, in order of their keys.
    pub fn fetch(
        self,
        write: &mut Write<'_>,
        listings: &mut Listings,
    ) -> Result<Vec<OwnedPurchase>, Error> {
        let rows = self.rows.map_or_else(
            || Ok(Vec::new()),
            |rows| rows.fetch(write.connection, listings),
        )?;
        if self.changed.is_none() && self.which == Which::Counted && rows.len() > MAX_UNNOTED {
            note_spent(write, &rows)?;
        }
        let mut shared: Shared = write.take_shared();
        let known = shared.0.entry((self.user, self.which)).or_default();
        known.update(self.changed, rows);
        // Some purchases changed after the read began.
        let changed = std::mem::take(&mut known.changed);
        if !changed.is_empty() {
            let rows =
                of_keys_ahead(write.connection, &changed)?.fetch(write.connection, listings)?;
            known.update(Some(changed), rows);
        }
        let owned = known.owned.clone();
        write.share(shared);
        Ok(owned)
    }
}

/// Notes which of a locked user's purchases are spent. Those that another transaction has locked are left out.
fn note_spent(write: &mut Write<'_>, owned: &[OwnedPurchase]) -> Result<(), Error> {
    let mut spent = user::spent(owned, write.now()?);
    spent.truncate(MAX_NOTED);
    if !spent.is_empty() {
        spent = sql(LOCK_SPENT)
            .uncached()
            .bind_list(spent)
            .values(write.connection)?;
    }
    if spent.is_empty() {
        return Ok(());
    }
    sql(NOTE_SPENT)
        .uncached()
        .bind_list(spent)
        .later(write.connection)
}

impl SharedPurchases {
    fn update(&mut self, changed: Option<BTreeSet<CollapseKey>>, rows: Vec<OwnedPurchase>) {
        let Some(changed) = changed else {
            self.owned = rows;
            return;
        };
        self.owned
            .retain(|one| !changed.contains(&one.collapse_key));
        self.owned.extend(rows);
        self.owned.sort_by_key(|one| one.collapse_key);
    }
}

/// The purchases of a user, which are fetched later.
struct OwnedAhead(Ahead<'static, OwnedRow>);

impl OwnedAhead {
    fn fetch(
        self,
        connection: &mut AnyConnection,
        listings: &mut Listings,
    ) -> Result<Vec<OwnedPurchase>, Error> {
        let rows = self.0.all(connection)?;
        for row in &rows {
            listings.read_ahead(connection, &row.purchase)?;
        }
        let mut owned = Vec::with_capacity(rows.len());
        for row in rows {
            owned.push(OwnedPurchase {
                collapse_key: row.collapse_key,
                platform_id: row.platform_id,
                platform_type: row.platform_type,
                environment: row.purchase.environment(row.environment),
                is_replaced: row.real_at.is_some(),
                product_ref: row.product_ref,
                listing: listings.find(connection, &row.purchase)?,
                purchase: row.purchase,
            });
        }
        Ok(owned)
    }
}
