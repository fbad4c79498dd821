//! The apps of the installation. A deleted app is hidden; its purchases, events and deliveries stay in the database.

use crate::admin::destinations::remove_hidden;
use crate::admin::platforms::NO_SECRETS;
use crate::settings::{app_lock, destinations};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::error::Error;
use db::page::{CREATED, Page, Paged};
use db::secrets::random_uuid;
use db::sql::{Sql, insert, statement};
use db::statement::{row, sql};
use domain::{AppId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

row! {
    /// An app of the installation.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
    pub struct App {
        /// Id of the app.
        pub id: AppId,
        /// Name of the app, unique among apps that are not deleted.
        pub name: String,
        /// When the app was created.
        pub created_at: Timestamp,
    }
}

const FIND: Sql =
    statement!("SELECT id, name, created_at FROM apps WHERE id = ? AND deleted_at IS NULL");

const LIST: Sql = statement! {"
    SELECT {CREATED} AS cursor, id, name, created_at
    FROM apps
    WHERE deleted_at IS NULL AND (created_at, id) > (?, ?)
    ORDER BY created_at, id
    LIMIT ?
"};

const RENAME: Sql = statement! {"
    UPDATE apps
    SET name = ?
    WHERE id = ? AND deleted_at IS NULL
    RETURNING id, name, created_at
"};

const DELETE: Sql =
    statement!("UPDATE apps SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL");

const DELETE_PLATFORMS: Sql = statement! {"
    UPDATE platforms
    SET deleted_at = ?, {NO_SECRETS}
    WHERE app_id = ? AND deleted_at IS NULL
"};

const CLOSE_TOPICS: Sql = statement! {"
    UPDATE topics
    SET subscribe_url = NULL
    WHERE platform_id IN (SELECT id FROM platforms WHERE app_id = ?)
"};

const DELETE_DESTINATIONS: Sql = statement!(
    "UPDATE destinations SET deleted_at = ?, secret = NULL WHERE app_id = ? AND deleted_at IS NULL"
);

impl Store {
    pub async fn new_app(&self, name: &str) -> Result<App, Error> {
        let (id, name) = (AppId::new(random_uuid()?), name.to_owned());
        self.change("app.create", move |write| {
            insert!(apps {
                id,
                name: name.as_str(),
                created_at: write.now()?
            })
            .run(write.connection)
            .map_err(|error| error.or_taken("app", &name))?;
            let entry = AuditEntry::on(id, id).after(json!({ "name": name }));
            Ok((
                App {
                    id,
                    name: name.clone(),
                    created_at: write.now()?,
                },
                Some(entry),
            ))
        })
        .await
    }

    pub async fn app(&self, id: AppId) -> Result<App, Error> {
        self.read(move |connection| sql(FIND).bind(id).one(connection, "app"))
            .await
    }

    pub async fn apps(&self, page: Page) -> Result<Paged<App>, Error> {
        let (after, id) = page.pair_or(i64::MIN)?;
        self.read(move |connection| page.read(connection, sql(LIST).bind(after).bind(id)))
            .await
    }

    pub async fn rename_app(&self, id: AppId, name: &str) -> Result<App, Error> {
        let name = name.to_owned();
        self.change("app.update", move |write| {
            let before: App = sql(FIND).bind(id).one(write.connection, "app")?;
            let renamed = sql(RENAME)
                .bind(name.as_str())
                .bind(id)
                .one(write.connection, "app");
            let after: App = renamed.map_err(|error| error.or_taken("app", &name))?;
            let entry = AuditEntry::on(id, id)
                .before(json!({ "name": before.name }))
                .after(json!({ "name": after.name }));
            Ok((after, Some(entry)))
        })
        .await
    }

    /// Hides an app, its platforms and its destinations, and removes their secrets.
    pub async fn delete_app(&self, id: AppId) -> Result<(), Error> {
        let shown = self.shown;
        self.change("app.delete", move |write| {
            app_lock::take(write, id)?;
            let deleted = sql(DELETE)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)?;
            if deleted == 0 {
                return Err(Error::Missing { what: "app" });
            }
            sql(DELETE_PLATFORMS)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)?;
            sql(CLOSE_TOPICS).bind(id).run(write.connection)?;
            for destination in destinations::of_app(write.connection, id)? {
                remove_hidden(write, &destination, shown)?;
            }
            sql(DELETE_DESTINATIONS)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)?;
            Ok(((), Some(AuditEntry::on(id, id))))
        })
        .await
    }
}
