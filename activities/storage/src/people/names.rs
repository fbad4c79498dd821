//! External ids: the customers' own ids in the app's system.

use crate::events::deliveries;
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase::{self, Urgency};
pub use crate::purchases::users::named;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::sql;
use db::writer::Write;
use domain::UserId;

const NAME: Sql = statement!("SELECT external_id AS value FROM users WHERE id = ?");

/// Returns the external id of a user, who need not exist.
pub fn external_id(connection: &mut AnyConnection, user: UserId) -> Result<Option<String>, Error> {
    let name: Option<Option<String>> = sql(NAME).bind(user).value(connection)?;
    Ok(name.flatten())
}

const SET_NAME: Sql = statement!("UPDATE users SET external_id = ? WHERE id = ?");

const OF_USER: Clause = clause! {&purchase::RECHECKS, hot "purchases_user", "
    user_id = ?
"};

/// Sets the first external id of a user. Rechecks the user's purchases with the cause `by`, so that the id is
/// announced, and makes due the deliveries that waited for it.
pub fn set(
    write: &mut Write<'_>,
    user: UserId,
    external_id: &str,
    by: CauseKind,
) -> Result<(), Error> {
    sql(SET_NAME)
        .bind(external_id)
        .bind(user)
        .later(write.connection)?;
    deliveries::release(write, user)?;
    purchase::recheck(write, Urgency::Person, by, OF_USER, [user.into()]).map(drop)
}
