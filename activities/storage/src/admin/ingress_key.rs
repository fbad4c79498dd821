//! The ingress key, the secret part of a platform's notification URL: how the platform is found by it, and how it is
//! rotated. The old key works until its overlap ends, because an admin has to move the store's subscription to the new
//! URL.

use super::platforms::{PLATFORM, Platform, fields, find, lock};
use super::sealed_key::{INGRESS, OLD_INGRESS, seal};
use crate::inbox::topics::{self, Topic};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::secrets::Secrets;
use db::sql::{Sql, statement};
use db::statement::{padded, row, sql};
use db::writer::Write;
use domain::{PlatformId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Minimum time between two updates of the time of last use.
const LAST_USED_PRECISION: Duration = Duration::from_secs(60);

row! {
    /// A platform's old ingress key: the one that the current key replaced.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OldIngressKey {
        pub until: Timestamp,
        /// When the old key was last used, up to a minute too early; `None` if it was not used since the rotation.
        pub used_at: Option<Timestamp>,
    }
}

/// The platform of an ingress key, with its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub platform: Platform,
    pub topics: Vec<Topic>,
    /// When the key expires, if it is the platform's old one.
    pub ends_at: Option<Timestamp>,
}

/// The recipients of several ingress keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipients {
    /// Recipients by ingress key, including old keys whose overlap has ended.
    pub found: HashMap<String, Recipient>,
    /// The ids of the encryption keys that this process lacks: ingress keys that were not found may be hashed with
    /// one of them. Empty if all were found.
    pub missing_keys: Vec<String>,
}

row! {
    struct Hashed {
        id: PlatformId,
        hash: String,
        ends_at: Option<Timestamp>,
    }
}

const FIND_BY_HASHES: Sql = statement! {hot "platforms_ingress_hash or platforms_old_ingress_hash", "
    SELECT id, ingress_hash AS hash, CAST(NULL AS BIGINT) AS ends_at
    FROM platforms
    WHERE ingress_hash IN (?*)
    UNION ALL
    SELECT id, old_ingress_hash AS hash, old_ingress_until AS ends_at
    FROM platforms
    WHERE old_ingress_hash IN (?*)
"};

const OF_IDS: Sql = statement!("SELECT {PLATFORM} AND id IN (?*)");

const KEY: Sql =
    statement!("SELECT ingress_key AS value FROM platforms WHERE deleted_at IS NULL AND id = ?");

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
    /// Finds the recipients of these ingress keys in one read.
    pub async fn recipients(&self, keys: Vec<String>) -> Result<Recipients, Error> {
        let secrets = self.database.secrets.clone();
        self.read_for_ingress(move |connection| recipients(connection, &secrets, &keys))
            .await
    }

    /// Returns the secret part of the URL to which a platform's notifications are sent.
    pub async fn ingress_key(&self, id: PlatformId) -> Result<SecretString, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let sealed: Option<String> = sql(KEY).bind(id).value(connection)?;
            let sealed = sealed.ok_or(Error::Missing { what: "platform" })?;
            secrets.open(INGRESS, &id.to_string(), &sealed)
        })
        .await
    }

    /// Returns the old ingress key, if it has not expired yet.
    pub async fn old_ingress_key(&self, id: PlatformId) -> Result<Option<OldIngressKey>, Error> {
        self.read_now(move |connection, now| sql(OLD).bind(id).bind(now).first(connection))
            .await
    }

    /// Replaces the ingress key. The current key works for `overlap` from now on; the old one, if any, stops at once.
    pub async fn rotate_ingress_key(
        &self,
        id: PlatformId,
        key: SecretString,
        overlap: Duration,
    ) -> Result<Platform, Error> {
        let secrets = self.database.secrets.clone();
        self.change("platform.rotate-ingress-key", move |write| {
            let platform = lock(write, id)?;
            let until = write.now()?.plus(overlap);
            replace(write, &secrets, id, &key, until)?;
            let mut changed = fields(&platform);
            changed["ingress_key"] = json!("replaced");
            changed["old_ingress_until"] = json!(until);
            let entry = AuditEntry::on(platform.app_id, id)
                .before(fields(&platform))
                .after(changed);
            Ok((platform, Some(entry)))
        })
        .await
    }

    /// Retires the old ingress key. Changes nothing if there is none.
    pub async fn retire_old_ingress_key(&self, id: PlatformId) -> Result<Platform, Error> {
        self.change("platform.retire-old-ingress-key", move |write| {
            let changed = sql(END_OLD).bind(id).run(write.connection)?;
            let platform = find(write.connection, id)?;
            let entry =
                AuditEntry::on(platform.app_id, id).after(json!({ "old_ingress_key": "ended" }));
            Ok((platform, (changed > 0).then_some(entry)))
        })
        .await
    }

    /// Records that the old ingress key was used, unless a use within the last minute is already recorded.
    pub async fn note_old_ingress_key_used(&self, id: PlatformId) -> Result<(), Error> {
        self.write(move |write| {
            let noted = write.now()?.minus(LAST_USED_PRECISION);
            sql(USE_OLD)
                .bind((write.now()?, id, noted))
                .run(write.connection)
                .map(drop)
        })
        .await
    }
}

fn recipients(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    keys: &[String],
) -> Result<Recipients, Error> {
    // During a rotation of the encryption key, a platform's hash is made with the newest key or an earlier one.
    let hashes = keys.iter().flat_map(|key| {
        secrets
            .hashes(INGRESS, key)
            .into_iter()
            .map(move |hash| (hash, key))
    });
    let hashes: HashMap<String, &String> = hashes.collect();
    let list = padded(hashes.keys().map(String::as_str).collect());
    let rows: Vec<Hashed> = sql(FIND_BY_HASHES)
        .bind_list(list.clone())
        .bind_list(list)
        .all(connection)?;
    let platforms = of_ids(connection, rows.iter().map(|row| row.id).collect())?;
    let mut found = HashMap::new();
    for row in rows {
        let (Some((platform, topics)), Some(key)) = (platforms.get(&row.id), hashes.get(&row.hash))
        else {
            continue;
        };
        let recipient = Recipient {
            platform: platform.clone(),
            topics: topics.clone(),
            ends_at: row.ends_at,
        };
        found.insert((*key).clone(), recipient);
    }
    let is_complete = keys.iter().all(|key| found.contains_key(key));
    // Checked after the search: an encryption key is stored before its hashes, so one added meanwhile is noticed.
    let checked = if is_complete {
        Ok(())
    } else {
        secrets.check(connection)
    };
    let missing_keys = match checked {
        Err(Error::MissingKeys(ids)) => ids,
        checked => checked.map(|()| Vec::new())?,
    };
    Ok(Recipients {
        found,
        missing_keys,
    })
}

/// Loads the platforms with these ids, each with its topics.
fn of_ids(
    connection: &mut AnyConnection,
    ids: Vec<PlatformId>,
) -> Result<BTreeMap<PlatformId, (Platform, Vec<Topic>)>, Error> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids = padded(ids);
    let platforms: Vec<Platform> = sql(OF_IDS).bind_list(ids.iter().copied()).all(connection)?;
    let mut all: BTreeMap<_, _> = platforms
        .into_iter()
        .map(|platform| (platform.id, (platform, Vec::new())))
        .collect();
    for topic in topics::of_platforms(connection, &ids)? {
        if let Some((_, topics)) = all.get_mut(&topic.platform_id) {
            topics.push(topic);
        }
    }
    Ok(all)
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
        .bind((
            hash,
            sealed,
            overlaps.then(|| secrets.newest_hash(INGRESS, old.expose_secret())),
            overlaps.then_some(old_sealed),
            overlaps.then_some(until),
            id,
        ))
        .run(write.connection)
        .map(drop)
}
