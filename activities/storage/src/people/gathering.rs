//! The alarm that one customer gathers many customers of stores in a short time: customers whose app sends the same id
//! for all of them share their purchases, and nothing fails. There is one such alarm of a customer. It closes itself
//! when the customers were separated.
//!
//! Moves by a person do not count.

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
/// Number of customers of stores that a customer may get within a day.
const MANY: i64 = 10;
/// How the detail of the alarm begins; the customer's id follows.
const BEGINNING: &str = "the user ";
const CLOSED: &str = "the customers of stores were parted";

/// Returns the detail of the alarm. It has no number, so that there is one such alarm of a customer. Frozen: open
/// alarms are found by their whole text.
fn detail(user: UserId) -> String {
    format!(
        "{BEGINNING}{user} got more than 10 store customers within a day, and can use what each of them bought. Probably \
         the app sends one id for everybody: fix the app, list the transfers with `settle customer transfers {user}`, and \
         undo each with `settle customer undo TRANSFER`. If it is one person or a test account, acknowledge this"
    )
}

/// Returns the customer that an alarm is about; `None` for one of another kind.
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
    /// Whether a login or a name is the cause, and no person.
    pub is_automatic: bool,
}

/// How many customers of stores both users have after a move, counted up to [`TOO_MANY`]. They are fetched later.
pub struct Held {
    from: Ahead<'static, Single<i64>>,
    to: Ahead<'static, Single<i64>>,
}

impl Held {
    /// Counts them after the rows have moved.
    pub fn count(write: &mut Write<'_>, parties: Parties) -> Result<Self, Error> {
        let mut count = |user: UserId| sql(HELD).bind(user).value_ahead(write.connection);
        Ok(Self {
            from: count(parties.from)?,
            to: count(parties.to)?,
        })
    }

    /// Raises the alarm about the new owner, or closes that about the former one. The transfer is stored; `moved` is
    /// the number of its customers. `gathered` reads how many customers of stores moved to the new owner since a time.
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

/// A customer is of an app, and an alarm about a platform: it is about the app's first one.
fn raise(write: &mut Write<'_>, app: AppId, user: UserId) -> Result<(), Error> {
    let platform: Option<PlatformId> = sql(PLATFORM).bind(app).value(write.connection)?;
    alarms::raise(write, platform.into(), KIND, &detail(user))
}

const CUSTOMERS: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM store_users WHERE user_id = ? LIMIT {MAX_COUNTED}) held
"};

/// Returns the number of customers of stores that a customer has, counted up to 10,000.
pub fn customers(connection: &mut AnyConnection, user: UserId) -> Result<i64, Error> {
    Ok(sql(CUSTOMERS).bind(user).value(connection)?.unwrap_or(0))
}
