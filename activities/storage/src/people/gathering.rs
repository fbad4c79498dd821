//! The alarm that many store customers become one customer in a short time: if an app sends the same id for all its
//! customers, they share their purchases, and nothing fails. Each customer has one such alarm. It closes when the store
//! customers are separated.
//!
//! Moves that a person makes do not count.

use crate::events::alarms;
use crate::events::deliveries::MAX_COUNTED;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Single, sql};
use db::writer::Write;
use domain::time::DAY;
use domain::{AppId, PlatformId, Timestamp, UserId};

const KIND: &str = "customer_gathers";
/// Number of store customers that a customer may gain within a day without an alarm.
const MANY: i64 = 10;
/// Beginning of the alarm's detail, before the customer's id.
const BEGINNING: &str = "the user ";
const CLOSED: &str = "the customers of stores were parted";

/// Returns the detail of the alarm. It contains no number of store customers, so that each customer has one such alarm.
/// Do not change the text: open alarms are found by it.
fn detail(user: UserId) -> String {
    format!(
        "{BEGINNING}{user} got more than 10 store customers within a day, and can use what each of them bought. Probably \
         the app sends one id for everybody: fix the app, list the transfers with `settle customer transfers {user}`, and \
         undo each with `settle customer undo TRANSFER`. If it is one person or a test account, acknowledge this"
    )
}

/// Returns the customer that an alarm is about; `None` for an alarm of another kind.
pub fn user(kind: &str, text: &str) -> Option<UserId> {
    let id = text.strip_prefix(BEGINNING)?.split(' ').next()?;
    id.parse()
        .ok()
        .filter(|user| kind == KIND && text == detail(*user))
}

/// The first number above the limit.
const TOO_MANY: i64 = MANY + 1;

const HELD: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM store_users WHERE user_id = ? LIMIT {TOO_MANY}) held
"};

/// The two users of a move.
#[derive(Clone, Copy)]
pub struct Parties {
    pub app: AppId,
    pub from: UserId,
    pub to: UserId,
    /// Whether the cause is a login or a name, not a person.
    pub is_automatic: bool,
}

/// The numbers of store customers that both users have after a move, each counted up to [`TOO_MANY`]; they are fetched
/// later.
pub struct Held {
    from: Ahead<'static, Single<i64>>,
    to: Ahead<'static, Single<i64>>,
}

impl Held {
    /// Begins to count the store customers. The rows must have moved already.
    pub fn count(write: &mut Write<'_>, parties: Parties) -> Result<Self, Error> {
        let mut count = |user: UserId| sql(HELD).bind(user).value_ahead(write.connection);
        Ok(Self {
            from: count(parties.from)?,
            to: count(parties.to)?,
        })
    }

    /// Raises the alarm about the new owner, or closes that about the former one, if the numbers require it. The
    /// transfer must be stored already; `moved` is the number of its store customers. `gathered` reads how many store
    /// customers moved to the new owner since a time.
    pub fn judge(
        self,
        write: &mut Write<'_>,
        parties: Parties,
        moved: usize,
        gathered: impl FnOnce(&mut AnyConnection, Timestamp) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        let left = self.from.value(write.connection)?.unwrap_or(0);
        let held = self.to.value(write.connection)?.unwrap_or(0);
        if moved == 0 {
            return Ok(());
        }
        if held > MANY && parties.is_automatic {
            let since = write.now()?.minus(DAY);
            let gathered = gathered(write.connection, since)?;
            if i64::try_from(gathered).is_ok_and(|number| number > MANY) {
                raise(write, parties.app, parties.to)?;
            }
        }
        let before = left.saturating_add(i64::try_from(moved).unwrap_or(i64::MAX));
        if left <= MANY && before > MANY {
            alarms::close_everywhere(write, KIND, &detail(parties.from), CLOSED)?;
        }
        Ok(())
    }
}

const PLATFORM: Sql = statement! {"
    SELECT id AS value
    FROM platforms
    WHERE app_id = ? AND deleted_at IS NULL
    ORDER BY id
    LIMIT 1
"};

/// Raises the alarm about a customer. A customer belongs to an app, but an alarm to a platform: this one is raised
/// about the app's first platform.
fn raise(write: &mut Write<'_>, app: AppId, user: UserId) -> Result<(), Error> {
    let platform: Option<PlatformId> = sql(PLATFORM).bind(app).value(write.connection)?;
    alarms::raise(write, platform.into(), KIND, &detail(user))
}

const CUSTOMERS: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM store_users WHERE user_id = ? LIMIT {MAX_COUNTED}) held
"};

/// Returns the number of store customers that a customer has, counted up to 10,000.
pub fn customers(connection: &mut AnyConnection, user: UserId) -> Result<i64, Error> {
    Ok(sql(CUSTOMERS).bind(user).value(connection)?.unwrap_or(0))
}
