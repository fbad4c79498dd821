//! The secret with which the customer's own server signs logins on a platform.

use crate::people::login_context::APP;
use crate::settings::app_lock;
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::{JobKind, Write};
use domain::{AppId, PlatformId};
use secrecy::SecretString;
use serde_json::json;

row! {
    struct Sealed {
        login_secret: Option<String>,
    }
}

const FIND: Sql =
    statement!("SELECT login_secret FROM platforms WHERE id = ? AND deleted_at IS NULL");

const SET: Sql = statement! {"
    UPDATE platforms
    SET login_secret = ?, settings_version = settings_version + 1
    WHERE id = ? AND deleted_at IS NULL
"};

/// Encryption purpose of the secret; the encryption is also bound to the platform's id.
pub const PURPOSE: &str = "platforms.login_secret";

const NOTE_UNSIGNED: Sql = statement! {"
    UPDATE platforms
    SET unsigned_login_at = ?
    WHERE id = ? AND unsigned_login_at IS NULL
"};

impl Store {
    /// Notes that a login without a token was stored on a platform of an app. Only the time of the first one is stored.
    pub async fn note_unsigned_login(&self, app: AppId, id: PlatformId) -> Result<(), Error> {
        let note = move |write: &mut Write<'_>| {
            sql(NOTE_UNSIGNED)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)
                .map(drop)
        };
        self.database
            .writer
            .write(JobKind::People(app, None), note)
            .await
    }

    /// Returns the login secret of a platform; `None` if logins need no token.
    pub async fn login_secret(&self, id: PlatformId) -> Result<Option<SecretString>, Error> {
        let secrets = self.database.secrets.clone();
        self.read_for_devices(move |connection| {
            let Sealed { login_secret } = sql(FIND).bind(id).one(connection, "platform")?;
            login_secret
                .map(|sealed| secrets.open(PURPOSE, &id.to_string(), &sealed))
                .transpose()
        })
        .await
    }

    /// Sets the login secret of a platform: from now on its logins need a token. `None` removes it.
    pub async fn set_login_secret(
        &self,
        id: PlatformId,
        secret: Option<SecretString>,
    ) -> Result<(), Error> {
        let secrets = self.database.secrets.clone();
        self.change("platform.login-secret", move |write| {
            let app: Option<AppId> = sql(APP).bind(id).value(write.connection)?;
            let app = app.ok_or(Error::Missing { what: "platform" })?;
            // A login may be reading at this moment what it will move.
            app_lock::take(write, app)?;
            let place = id.to_string();
            let seal = |secret| secrets.seal(write, (PURPOSE, &place), secret);
            let sealed = secret.as_ref().map(seal).transpose()?;
            let changed = sql(SET).bind(sealed).bind(id).run(write.connection)?;
            if changed == 0 {
                return Err(Error::Missing { what: "platform" });
            }
            let state = if secret.is_some() {
                "replaced"
            } else {
                "removed"
            };
            Ok((
                (),
                Some(AuditEntry::on(app, id).after(json!({ "login_secret": state }))),
            ))
        })
        .await
    }
}
