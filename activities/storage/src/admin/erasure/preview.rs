//! A preview of the data that erasing a customer would change.

use crate::admin::customers::{Customer, view};
use crate::purchases::users;
use crate::reports::customer::{self, CustomerName};
use crate::settings::destinations;
use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use domain::AppId;

/// Data stored about a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasurePreview {
    pub customer: Customer,
    pub purchases: i64,
    pub events: i64,
    pub devices: i64,
    /// Number of destinations that get a request to delete the user.
    pub deletions: usize,
}

const COUNT_PURCHASES: Sql = statement! {hot "purchases_user", "
    SELECT COUNT(*) AS value
    FROM purchases
    WHERE user_id = ?
"};
const COUNT_EVENTS: Sql = statement! {hot "events_of_user", "
    SELECT COUNT(*) AS value
    FROM events
    WHERE user_id = ?
"};
const COUNT_DEVICES: Sql = statement! {hot "devices_user", "
    SELECT COUNT(*) AS value
    FROM devices
    WHERE user_id = ?
"};

impl Store {
    /// Counts what erasing a customer would change now.
    ///
    /// # Errors
    /// [`Error::Missing`] when the app has no such customer.
    pub async fn preview_erasure(
        &self,
        app: AppId,
        name: CustomerName,
    ) -> Result<ErasurePreview, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let missing = Error::Missing { what: "customer" };
            let user =
                customer::find(connection, &secrets, app, &name)?.ok_or_else(|| missing.clone())?;
            let user = users::find_in_app(connection, app, user)?
                .ok_or(missing)?
                .id;
            let mut count = |text: Sql| {
                sql(text)
                    .bind(user)
                    .value(connection)
                    .map(Option::unwrap_or_default)
            };
            let (purchases, events, devices) = (
                count(COUNT_PURCHASES)?,
                count(COUNT_EVENTS)?,
                count(COUNT_DEVICES)?,
            );
            let keeping = destinations::of_app(connection, app)?
                .into_iter()
                .filter(|one| one.per_user);
            let deletions = keeping.count();
            Ok(ErasurePreview {
                customer: view(connection, user)?,
                purchases,
                events,
                devices,
                deletions,
            })
        })
        .await
    }
}
