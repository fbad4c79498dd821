//! Sign-ins to the dashboard, and one-time sign-in links. Their secrets are stored as SHA-256, because they are as
//! random as API keys. The admin token may be less random, so its hash is keyed.

use crate::admin::keys::Role;
use crate::reports::filtered::Filtered;
use crate::store::Store;
use db::audit_log::{Actor, AuditEntry};
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{CREATED, Page, Paged};
use db::secrets::{random_uuid, sha256};
use db::sql::{Clause, Sql, clause, insert, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::time::DAY;
use domain::{AppId, KeyId, SignInId, Timestamp};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Minimum time between two updates of a sign-in's time of last use.
const LAST_USED_PRECISION: Duration = Duration::from_secs(60);
/// How long a sign-in or a link stays stored after it ended.
const STORED: Duration = DAY.saturating_mul(30);

row! {
    /// A person who signs in, with the role.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Person {
        /// The person's name, which the audit log shows.
        pub name: String,
        pub role: Role,
        /// The only app that the person can access; `None` for all apps.
        pub app_id: Option<AppId>,
        /// The API key behind the sign-in; `None` for the admin token.
        pub key_id: Option<KeyId>,
        /// The hash of the admin token, from [`Store::token_hash`]; `None` for an API key.
        pub token_hash: Option<String>,
    }
}

/// A link to be stored.
#[derive(Debug, Clone)]
pub struct NewLink {
    pub person: Person,
    pub code: SecretString,
    /// How long the link can be used.
    pub valid: Duration,
    /// Maximum duration of the sign-in.
    pub lifetime: Duration,
}

row! {
    /// A sign-in to the dashboard, without its secret.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct SignIn {
        /// Id of the sign-in.
        pub id: SignInId,
        /// Name of the person, shown in the audit log.
        pub name: String,
        /// Role of the sign-in.
        pub role: Role,
        /// Id of the only app that the sign-in can access; null for all apps.
        pub app_id: Option<AppId>,
        /// Id of the API key behind the sign-in; null for the admin token.
        pub key_id: Option<KeyId>,
        /// When the sign-in began.
        pub created_at: Timestamp,
        /// When the sign-in was last used, accurate to a minute.
        pub used_at: Timestamp,
        /// When the sign-in expires, regardless of use.
        pub expires_at: Timestamp,
        /// When the sign-in was ended by a person; null if it was not.
        pub finished_at: Option<Timestamp>,
    }
}

row! {
    /// A sign-in, with the data that decides whether it is still valid.
    #[derive(Debug, Clone)]
    pub struct FoundSignIn {
        pub sign_in: SignIn,
        /// The hash of the admin token behind the sign-in; `None` for an API key.
        pub token_hash: Option<String>,
        pub key_revoked_at: Option<Timestamp>,
        pub key_expires_at: Option<Timestamp>,
    }
}

const COLUMNS: &str =
    "id, name, role, app_id, key_id, created_at, used_at, expires_at, finished_at";

const LIST: Sql = statement! {"
    SELECT {CREATED} AS cursor, {COLUMNS}
    FROM sign_ins
    WHERE (created_at, id) > (?, ?) AND {{which}}
    ORDER BY created_at, id
    LIMIT ?
"};
const OF_APP: Clause = clause!(&[LIST], "app_id = ?");

const FIND: Sql = statement!("SELECT {COLUMNS} FROM sign_ins WHERE id = ?");

const FOUND: &str = "
    SELECT s.id, s.name, s.role, s.app_id, s.key_id, s.created_at, s.used_at, s.expires_at, s.finished_at, s.token_hash,
        k.revoked_at AS key_revoked_at, k.expires_at AS key_expires_at
    FROM sign_ins s
    LEFT JOIN api_keys k ON k.id = s.key_id";

const FIND_BY_HASH: Sql = statement!(hot "sign_ins_hash", "{FOUND} WHERE s.hash = ?");

const FIND_FOUND: Sql = statement!("{FOUND} WHERE s.id = ?");

const INSERT: Sql = statement! {"
    INSERT INTO sign_ins (id, hash, name, role, app_id, key_id, token_hash, created_at, used_at, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"};

const FINISH: Sql =
    statement!("UPDATE sign_ins SET finished_at = ? WHERE id = ? AND finished_at IS NULL");

const USE: Sql = statement!("UPDATE sign_ins SET used_at = ? WHERE id = ? AND used_at <= ?");

const FORGET: Sql = statement!(hot "sign_ins_expire", "DELETE FROM sign_ins WHERE expires_at < ?");

const FIND_LINK: Sql = statement! {"
    SELECT l.name, l.role, l.app_id, l.key_id, l.token_hash, l.lifetime_ms AS lifetime, l.taken_at, l.expires_at,
        k.revoked_at AS key_revoked_at, k.expires_at AS key_expires_at
    FROM sign_in_links l
    LEFT JOIN api_keys k ON k.id = l.key_id
    WHERE l.hash = ?
"};

const TAKE_LINK: Sql = statement! {"
    UPDATE sign_in_links
    SET taken_at = ?
    WHERE hash = ? AND taken_at IS NULL AND expires_at > ?
"};

const FORGET_LINKS: Sql =
    statement!(hot "sign_in_links_expire", "DELETE FROM sign_in_links WHERE expires_at < ?");

row! {
    /// A link that can be used.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Link {
        pub person: Person,
        /// Maximum duration of the sign-in.
        pub lifetime: Duration,
    }
}

row! {
    /// A link, with the data that decides whether it can be used.
    struct FoundLink {
        link: Link,
        taken_at: Option<Timestamp>,
        expires_at: Timestamp,
        key_revoked_at: Option<Timestamp>,
        key_expires_at: Option<Timestamp>,
    }
}

/// Why a link cannot be used to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEnd {
    /// No link with this code exists, or it ended long ago.
    Unknown,
    Taken,
    Expired,
    /// The key of the link's creator was revoked or has expired.
    KeyRevoked,
    /// The admin token of the link's creator was replaced.
    TokenReplaced,
}

impl FoundLink {
    /// Returns the link if it can be used now. `token_hash` is the hash of the current admin token.
    fn usable(self, now: Timestamp, token_hash: &str) -> Result<Link, LinkEnd> {
        let Person {
            token_hash: of_maker,
            ..
        } = &self.link.person;
        if self.taken_at.is_some() {
            return Err(LinkEnd::Taken);
        }
        if self.expires_at <= now {
            return Err(LinkEnd::Expired);
        }
        if self.key_revoked_at.is_some() || self.key_expires_at.is_some_and(|end| end <= now) {
            return Err(LinkEnd::KeyRevoked);
        }
        if of_maker.as_ref().is_some_and(|hash| hash != token_hash) {
            return Err(LinkEnd::TokenReplaced);
        }
        Ok(self.link)
    }
}

/// Returns the link with this hash if it can be used now.
fn usable(
    connection: &mut AnyConnection,
    hash: &str,
    token_hash: &str,
    now: Timestamp,
) -> Result<Result<Link, LinkEnd>, Error> {
    let found: Option<FoundLink> = sql(FIND_LINK).bind(hash).first(connection)?;
    Ok(found
        .ok_or(LinkEnd::Unknown)
        .and_then(|found| found.usable(now, token_hash)))
}

impl Store {
    /// Returns the hash of the admin token that is stored with its sign-ins and links. It is keyed, because the token
    /// may be a phrase, and an unkeyed hash of a phrase can be found by trial.
    pub fn token_hash(&self, token: &SecretString) -> String {
        self.database
            .secrets
            .phrase_hash("sign_ins.token_hash", token.expose_secret())
    }

    /// Stores a one-time sign-in link. Returns when it expires.
    pub async fn new_sign_in_link(&self, new: NewLink) -> Result<Timestamp, Error> {
        let hash = sha256(new.code.expose_secret());
        self.change("sign_in.link", move |write| {
            let NewLink {
                person,
                valid,
                lifetime,
                ..
            } = &new;
            sql(FORGET_LINKS)
                .bind(write.now()?.minus(STORED))
                .run(write.connection)?;
            let expires_at = write.now()?.plus(*valid);
            insert!(sign_in_links {
                hash: hash.as_str(),
                name: person.name.as_str(),
                role: person.role,
                app_id: person.app_id,
                key_id: person.key_id,
                token_hash: person.token_hash.as_deref(),
                lifetime_ms: *lifetime,
                created_at: write.now()?,
                expires_at,
            })
            .run(write.connection)?;
            let entry =
                AuditEntry::on(person.app_id, &person.name).after(fields(person, expires_at));
            Ok((expires_at, Some(entry)))
        })
        .await
    }

    /// Returns a link that can still be used, or why it cannot. `token_hash` is the hash of the current admin token.
    pub async fn sign_in_link(
        &self,
        code: &SecretString,
        token_hash: String,
    ) -> Result<Result<Link, LinkEnd>, Error> {
        let hash = sha256(code.expose_secret());
        self.read_now(move |connection, now| usable(connection, &hash, &token_hash, now))
            .await
    }

    /// Uses a link to begin a sign-in whose secret is `secret`. A link that cannot be used does not change.
    pub async fn take_sign_in_link(
        &self,
        code: &SecretString,
        token_hash: String,
        secret: &SecretString,
    ) -> Result<Result<SignIn, LinkEnd>, Error> {
        let (hash, secret) = (sha256(code.expose_secret()), secret.clone());
        self.write(move |write| {
            let now = write.now()?;
            let Link { person, lifetime } = match usable(write.connection, &hash, &token_hash, now)?
            {
                Ok(link) => link,
                Err(end) => return Ok(Err(end)),
            };
            let taken = sql(TAKE_LINK)
                .bind((write.now()?, hash.as_str(), write.now()?))
                .run(write.connection)?;
            if taken == 0 {
                return Ok(Err(LinkEnd::Taken));
            }
            begin(write, &person, &secret, lifetime).map(Ok)
        })
        .await
    }

    /// Begins a sign-in whose secret is `secret`.
    pub async fn new_sign_in(
        &self,
        person: Person,
        secret: SecretString,
        lifetime: Duration,
    ) -> Result<SignIn, Error> {
        self.write(move |write| begin(write, &person, &secret, lifetime))
            .await
    }

    /// Finds the sign-in with this secret, valid or not; the caller decides whether it is still valid.
    pub async fn sign_in_of(&self, secret: &SecretString) -> Result<Option<FoundSignIn>, Error> {
        let hash = sha256(secret.expose_secret());
        self.read(move |connection| sql(FIND_BY_HASH).bind(hash).first(connection))
            .await
    }

    /// Returns a sign-in with the data that decides whether it is still valid; `None` if it is no longer stored.
    pub async fn found_sign_in(&self, id: SignInId) -> Result<Option<FoundSignIn>, Error> {
        self.read(move |connection| sql(FIND_FOUND).bind(id).first(connection))
            .await
    }

    /// Lists the sign-ins, oldest first; only those of `app`, if there is one.
    pub async fn sign_ins(&self, app: Option<AppId>, page: Page) -> Result<Paged<SignIn>, Error> {
        let (after, id) = page.pair_or(i64::MIN)?;
        self.read(move |connection| {
            let list = Filtered::new(LIST, [after.into(), id.as_str().into()]).and(OF_APP, app);
            page.read(connection, list.statement())
        })
        .await
    }

    /// Ends a sign-in. A sign-in that already ended does not change.
    pub async fn finish_sign_in(&self, id: SignInId) -> Result<(), Error> {
        self.change("sign_in.end", move |write| {
            let sign_in: SignIn = find(write.connection, id)?;
            let finished = sql(FINISH)
                .bind(write.now()?)
                .bind(id)
                .run(write.connection)?;
            let entry = AuditEntry::on(sign_in.app_id, id)
                .after(json!({ "name": sign_in.name, "finished_at": write.now()? }));
            Ok(((), (finished > 0).then_some(entry)))
        })
        .await
    }

    /// Records that a sign-in was used now, unless a use within the last minute is already recorded.
    pub async fn note_sign_in_used(&self, id: SignInId) -> Result<(), Error> {
        self.write(move |write| {
            let noted = write.now()?.minus(LAST_USED_PRECISION);
            sql(USE)
                .bind((write.now()?, id, noted))
                .run(write.connection)
                .map(drop)
        })
        .await
    }
}

/// Begins a sign-in, with an audit entry in the person's name.
fn begin(
    write: &mut Write<'_>,
    person: &Person,
    secret: &SecretString,
    lifetime: Duration,
) -> Result<SignIn, Error> {
    let id = SignInId::new(random_uuid()?);
    sql(FORGET)
        .bind(write.now()?.minus(STORED))
        .run(write.connection)?;
    sql(INSERT)
        .bind((
            id,
            sha256(secret.expose_secret()),
            person.name.as_str(),
            person.role,
            person.app_id,
            person.key_id,
            person.token_hash.as_deref(),
            write.now()?,
            write.now()?,
            write.now()?.plus(lifetime),
        ))
        .run(write.connection)?;
    let sign_in: SignIn = find(write.connection, id)?;
    let actor = Actor {
        key: person.key_id,
        ..Actor::named(&person.name)
    };
    AuditEntry::on(person.app_id, id)
        .after(fields(person, sign_in.expires_at))
        .record(write, &actor, "sign_in.start")?;
    Ok(sign_in)
}

fn find(connection: &mut AnyConnection, id: SignInId) -> Result<SignIn, Error> {
    sql(FIND).bind(id).one(connection, "sign-in")
}

fn fields(person: &Person, expires_at: Timestamp) -> Value {
    json!({ "name": person.name, "role": person.role, "expires_at": expires_at })
}
