//! The secret part of a platform's notification URL: how its platform is found, and how it is replaced. The one before
//! works until its time is over, since a person moves the store's subscription to the new URL.

use super::platforms::{INGRESS, PLATFORM, Platform, fields, find, lock};
use crate::db::audit_log::AuditEntry;
use crate::db::error::Error;
use crate::db::secrets::Secrets;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use domain::{PlatformId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::time::Duration;

/// The column `old_ingress_key`, for the encryption.
pub const OLD_INGRESS: &str = "platforms.old_ingress_key";

/// How old the time of the last use may be before it is written again.
const LAST_USED_PRECISION: Duration = Duration::from_secs(60);

row! {
    /// The key before the present one.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OldIngressKey {
        pub until: Timestamp,
        /// When a message came by it last, up to a minute before the last one; `None` if none did.
        pub used_at: Option<Timestamp>,
    }
}

const FIND_BY_HASH: Sql = statement! {hot "platforms_ingress_hash", "
    SELECT {PLATFORM} AND ingress_hash IN (?*)
"};

const FIND_BY_OLD_HASH: Sql = statement! {hot "platforms_old_ingress_hash", "
    SELECT {PLATFORM} AND old_ingress_hash IN (?*) AND old_ingress_until > ?
"};

const KEY: Sql = statement!("SELECT ingress_key AS value FROM platforms WHERE deleted_at IS NULL AND id = ?");

const OLD: Sql = statement! {"
    SELECT old_ingress_until AS until, old_ingress_used_at AS used_at
    FROM platforms
    WHERE id = ? AND old_ingress_until > ?
"};

const REPLACE: Sql = statement! {"
    UPDATE platforms
    SET ingress_hash = ?, ingress_key = ?, old_ingress_hash = ?, old_ingress_key = ?, old_ingress_until = ?,
        old_ingress_used_at = NULL
    WHERE id = ?
"};

const END_OLD: Sql = statement! {"
    UPDATE platforms
    SET old_ingress_hash = NULL, old_ingress_key = NULL, old_ingress_until = NULL, old_ingress_used_at = NULL
    WHERE id = ? AND old_ingress_hash IS NOT NULL
"};

const USE_OLD: Sql = statement! {"
    UPDATE platforms
    SET old_ingress_used_at = ?
    WHERE id = ? AND old_ingress_hash IS NOT NULL AND (old_ingress_used_at IS NULL OR old_ingress_used_at <= ?)
"};

impl Store {
    /// The platform that an ingress key belongs to.
    ///
    /// # Errors
    /// [`Error::MissingKeys`] when none was found, and its hash may be that of a key which this process lacks.
    pub async fn platform_by_ingress_key(&self, key: &str) -> Result<Option<Platform>, Error> {
        // While keys are turned, a platform has the hash of the newest key or of one before.
        let (hashes, secrets) = (self.secrets.hashes(INGRESS, key), self.secrets.clone());
        self.read_for_ingress(move |connection| {
            let found = sql(FIND_BY_HASH).bind_list(hashes).first(connection)?;
            if found.is_none() {
                // After the search: a hash is stored after its key, so one that was stored meanwhile is noticed.
                secrets.check(connection)?;
            }
            Ok(found)
        })
        .await
    }

    /// The platform whose ingress key was this one before, if it has not ended yet.
    pub async fn platform_by_old_ingress_key(&self, key: &str, now: Timestamp) -> Result<Option<Platform>, Error> {
        let hashes = self.secrets.hashes(INGRESS, key);
        self.read_for_ingress(move |connection| sql(FIND_BY_OLD_HASH).bind_list(hashes).bind(now).first(connection))
            .await
    }

    /// The secret part of the URL that a platform's notifications are sent to.
    pub async fn ingress_key(&self, id: PlatformId) -> Result<SecretString, Error> {
        let secrets = self.secrets.clone();
        self.read(move |connection| {
            let sealed: Option<String> = sql(KEY).bind(id).value(connection)?;
            let sealed = sealed.ok_or(Error::Missing { what: "platform" })?;
            secrets.open(INGRESS, &id.to_string(), &sealed)
        })
        .await
    }

    /// The key before the present one, if it has not ended yet.
    pub async fn old_ingress_key(&self, id: PlatformId) -> Result<Option<OldIngressKey>, Error> {
        self.read_now(move |connection, now| sql(OLD).bind(id).bind(now).first(connection)).await
    }

    /// Replaces the ingress key. The present one works for `overlap` from now on; one before it ends at once.
    pub async fn rotate_ingress_key(
        &self,
        id: PlatformId,
        key: SecretString,
        overlap: Duration,
    ) -> Result<Platform, Error> {
        let secrets = self.secrets.clone();
        self.change("platform.rotate-ingress-key", move |write| {
            let platform = lock(write, id)?;
            let until = write.now()?.plus(overlap);
            replace(write, &secrets, id, &key, until)?;
            let mut changed = fields(&platform);
            changed["ingress_key"] = json!("replaced");
            changed["old_ingress_until"] = json!(until);
            let entry = AuditEntry::on(platform.app_id, id).before(fields(&platform)).after(changed);
            Ok((platform, Some(entry)))
        })
        .await
    }

    /// Ends the ingress key before the present one. Without one nothing is changed.
    pub async fn retire_old_ingress_key(&self, id: PlatformId) -> Result<Platform, Error> {
        self.change("platform.retire-old-ingress-key", move |write| {
            let changed = sql(END_OLD).bind(id).run(write.connection)?;
            let platform = find(write.connection, id)?;
            let entry = AuditEntry::on(platform.app_id, id).after(json!({ "old_ingress_key": "ended" }));
            Ok((platform, (changed > 0).then_some(entry)))
        })
        .await
    }

    /// Notes that a message came by the key before the present one, unless that was noted within the last minute.
    pub async fn note_old_ingress_key_used(&self, id: PlatformId) -> Result<(), Error> {
        self.write(move |write| {
            let noted = write.now()?.minus(LAST_USED_PRECISION);
            sql(USE_OLD).bind(write.now()?).bind(id).bind(noted).run(write.connection).map(drop)
        })
        .await
    }
}

fn replace(
    write: &mut Write<'_>,
    secrets: &Secrets,
    id: PlatformId,
    key: &SecretString,
    until: Timestamp,
) -> Result<(), Error> {
    let sealed: Option<String> = sql(KEY).bind(id).value(write.connection)?;
    let sealed = sealed.ok_or(Error::Missing { what: "platform" })?;
    let old = secrets.open(INGRESS, &id.to_string(), &sealed)?;
    let old_sealed = secrets.seal(write, (OLD_INGRESS, &id.to_string()), &old)?;
    let overlaps = until > write.now()?;
    let (hash, sealed) = seal(write, secrets, id, key)?;
    sql(REPLACE)
        .bind(hash)
        .bind(sealed)
        .bind(overlaps.then(|| secrets.newest_hash(INGRESS, old.expose_secret())))
        .bind(overlaps.then_some(old_sealed))
        .bind(overlaps.then_some(until))
        .bind(id)
        .run(write.connection)
        .map(drop)
}

/// The stored hash of an ingress key, and its stored form.
pub fn seal(
    write: &mut Write<'_>,
    secrets: &Secrets,
    id: PlatformId,
    key: &SecretString,
) -> Result<(String, String), Error> {
    let sealed = secrets.seal(write, (INGRESS, &id.to_string()), key)?;
    Ok((secrets.newest_hash(INGRESS, key.expose_secret()), sealed))
}
