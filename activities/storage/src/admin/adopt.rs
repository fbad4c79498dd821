//! Adopting purchases that were made before their platform was connected; the API and the CLI call it an import. For
//! each new purchase this module inserts a notification with the store type `IMPORTED`, which is verified and settled
//! like any other. An adopted purchase announces nothing at its first settling.

use crate::admin::customers::Owner;
use crate::admin::naming::{self, CustomerNames, NameOrder};
use crate::admin::platforms::Platform;
use crate::inbox::notifications::{Accepted, NewNotification};
use crate::settings::unnamed::unnamed;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::OPEN_OF_KEY;
use db::sql::{Sql, statement};
use db::statement::{Field, row, sql};
use domain::notification::MAX_ID_BYTES;
use domain::{CollapseKey, Notification, NotificationKind, Outcome, PlatformId, Timestamp};
use serde_json::json;
use std::collections::HashSet;

/// The store type of an adopted purchase's notification. An index in the migration `ledger` repeats it.
const STORE_TYPE: &str = "IMPORTED";

/// A purchase that is to be adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The store's id of the purchase.
    pub receipt_id: String,
    /// The store's id of the customer; absent where the store identifies a purchase by its receipt alone.
    pub app_user_id: Option<String>,
    /// The app's own id of the customer, if known.
    pub external_id: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The new purchases, with the sequence numbers of their notifications.
    pub accepted: Vec<(CollapseKey, i64)>,
    /// Number of purchases that were known before.
    pub known: i64,
    /// Number of purchases that were adopted before and are not settled yet.
    pub waiting: i64,
    /// Index in the list and reason, for each purchase whose external id conflicts with an existing one. These
    /// purchases are adopted without their external id.
    pub unnamed: Vec<(usize, String)>,
}

row! {
    struct Counted {
        outcome: Option<Outcome>,
        value: i64,
    }
}

const KNOWN: Sql = statement!(
    "SELECT collapse_key AS value FROM purchases WHERE revision > 0 AND collapse_key IN (?*)"
);

const ABANDONED: Sql = statement! {"
    SELECT collapse_key AS value
    FROM notifications
    WHERE store_type || '' = '{STORE_TYPE}' AND outcome || '' = 'given_up' AND collapse_key IN (?*)
"};

const COUNT_OPEN: Sql = statement! {"
    SELECT COUNT(DISTINCT collapse_key) AS value
    FROM notifications
    WHERE store_type || '' = '{STORE_TYPE}' AND {OPEN_OF_KEY} AND collapse_key IN (?*)
"};

const COUNT_IMPORTED: Sql = statement! {hot "notifications_imported", "
    SELECT outcome, COUNT(*) AS value
    FROM notifications
    WHERE store_type = '{STORE_TYPE}' AND platform_id = ?
    GROUP BY outcome
    ORDER BY outcome
"};

impl Store {
    /// Adopts the purchases of a list that are not known yet, and sets the external ids of all their customers. `at` is
    /// the store time of the notifications.
    pub async fn adopt(
        &self,
        platform: &Platform,
        purchases: Vec<Adoption>,
        at: Timestamp,
    ) -> Result<Adopted, Error> {
        let (app, id, count) = (platform.app_id, platform.id, purchases.len());
        let entry = move || AuditEntry::on(app, id).after(json!({ "purchases": count }));
        // The purchases are accepted by transactions of the inbox, so the audit entry of the import comes before them.
        self.change("platform.import", move |_| {
            Ok(((), (count > 0).then(entry)))
        })
        .await?;
        let mut adopted = Adopted {
            unnamed: self.name_all(platform, purchases.clone()).await?,
            ..Adopted::default()
        };
        let keyed: Vec<(CollapseKey, &Adoption)> = purchases
            .iter()
            .map(|purchase| (CollapseKey::of(platform.id, &purchase.receipt_id), purchase))
            .collect();
        let keys: Vec<CollapseKey> = keyed.iter().map(|(key, _)| *key).collect();
        let (known, abandoned): (Vec<CollapseKey>, Vec<CollapseKey>) = self
            .read(move |connection| {
                Ok((
                    within(connection, KNOWN, &keys)?,
                    within(connection, ABANDONED, &keys)?,
                ))
            })
            .await?;
        let known: HashSet<CollapseKey> = known.into_iter().collect();
        let new: Vec<_> = keyed
            .into_iter()
            .filter(|(key, _)| !known.contains(key))
            .collect();
        adopted.known = i64::try_from(purchases.len() - new.len()).unwrap_or(i64::MAX);
        // An adoption that was given up may be repeated. Its notification gets another message id.
        let times = |key: CollapseKey| {
            abandoned
                .iter()
                .filter(|abandoned| **abandoned == key)
                .count()
        };
        let rows = new
            .iter()
            .map(|(key, purchase)| {
                NewNotification::of(platform.id, purchase.notification(*key, at, times(*key)))
            })
            .collect();
        let mut adopted_before = Vec::new();
        for ((key, _), accepted) in new.into_iter().zip(self.accept(rows).await?) {
            match accepted {
                Accepted::New { seq } => adopted.accepted.push((key, seq)),
                Accepted::Repeated { .. }
                | Accepted::Waiting { .. }
                | Accepted::Duplicate { .. } => {
                    adopted_before.push(key);
                }
            }
        }
        let count = i64::try_from(adopted_before.len()).unwrap_or(i64::MAX);
        let open: Vec<i64> = self
            .read(move |connection| within(connection, COUNT_OPEN, &adopted_before))
            .await?;
        adopted.waiting = open.first().copied().unwrap_or(0);
        adopted.known += count - adopted.waiting;
        Ok(adopted)
    }

    /// Counts the adopted purchases by outcome; `None` counts those that are still waiting.
    pub async fn count_adopted(
        &self,
        platform: PlatformId,
    ) -> Result<Vec<(Option<Outcome>, i64)>, Error> {
        self.read(move |connection| {
            let rows: Vec<Counted> = sql(COUNT_IMPORTED).bind(platform).all(connection)?;
            Ok(rows
                .into_iter()
                .map(|row| (row.outcome, row.value))
                .collect())
        })
        .await
    }

    /// Sets the external ids of the purchases' customers, in one transaction. Returns the index and the reason of each
    /// purchase whose external id conflicts.
    async fn name_all(
        &self,
        platform: &Platform,
        purchases: Vec<Adoption>,
    ) -> Result<Vec<(usize, String)>, Error> {
        if purchases
            .iter()
            .all(|purchase| purchase.external_id.is_none())
        {
            return Ok(Vec::new());
        }
        let (app, installation, secrets) = (
            platform.app_id,
            self.database.installation,
            self.database.secrets.clone(),
        );
        let store = platform.store.clone();
        self.write(move |write| {
            let mut unnamed = Vec::new();
            for (index, purchase) in purchases.iter().enumerate() {
                let Some(external_id) = &purchase.external_id else {
                    continue;
                };
                let owner = purchase.owner(&store);
                let owner = owner.or_tombstone(write.connection, &secrets, app)?;
                let names = CustomerNames::from(external_id);
                let order = NameOrder {
                    app,
                    owner: &owner,
                    names: &names,
                    author: None,
                    condition: None,
                };
                match naming::name(write, installation, order) {
                    Ok(_) => {}
                    Err(Error::Conflict { detail, .. }) => unnamed.push((index, detail)),
                    Err(error) => return Err(error),
                }
            }
            Ok(unnamed)
        })
        .await
    }
}

/// Runs a statement whose only parameter is a list of collapse keys. Without keys, the result is empty.
fn within<T: Field + 'static>(
    connection: &mut AnyConnection,
    which: Sql,
    keys: &[CollapseKey],
) -> Result<Vec<T>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    sql(which)
        .uncached()
        .bind_list(keys.iter().copied())
        .values(connection)
}

impl Adoption {
    /// Returns the customer by the store's id or, without one, a stand-in derived from the receipt. An external id set
    /// for the stand-in passes to the customer once the store reports one.
    fn owner(&self, store: &str) -> Owner {
        let name = self.app_user_id.clone();
        Owner::StoreUser {
            store: store.to_owned(),
            app_user_id: name.unwrap_or_else(|| unnamed(&self.receipt_id)),
        }
    }

    /// Builds the purchase's notification. `abandoned` is how many earlier adoptions of the purchase were given up.
    fn notification(&self, key: CollapseKey, at: Timestamp, abandoned: usize) -> Notification {
        Notification {
            message_id: message_id(&self.receipt_id, key, abandoned),
            collapse_key: key,
            receipt_id: self.receipt_id.clone(),
            kind: NotificationKind::Adopted,
            store_type: STORE_TYPE.to_owned(),
            store_time: at,
            app_user_id: self.app_user_id.clone(),
            related_receipt_id: None,
            is_test: false,
            voided: None,
            refunded: None,
        }
    }
}

/// Returns the id of the message that adopts a purchase. It contains the store's id of the purchase, or the collapse
/// key if the result would be longer than [`MAX_ID_BYTES`].
fn message_id(receipt_id: &str, key: CollapseKey, abandoned: usize) -> String {
    let of = |name: &str| match abandoned {
        0 => format!("import/{name}"),
        times => format!("import/{name}/{}", times + 1),
    };
    let id = of(receipt_id);
    if id.len() > MAX_ID_BYTES {
        of(&key.to_string())
    } else {
        id
    }
}
