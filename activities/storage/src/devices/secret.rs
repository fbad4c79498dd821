//! How a device proves its identity: with a secret that it generated. The secret's hash is stored in the transaction
//! that creates the device, and never later, so that knowing the id of a device without a secret is not enough to take
//! it over.
//!
//! A device without a secret may only report.

use db::connection::AnyConnection;
use db::error::{Error, Unproved};
use db::secrets::sha256;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::DevicePlace;
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::hash::{Hash, Hasher};
use subtle::ConstantTimeEq;

/// The SHA-256 of a device's secret, in lower-case hex. Hashes are compared in constant time.
#[derive(Clone)]
pub struct SecretHash(String);

impl SecretHash {
    pub fn of(secret: &SecretString) -> Self {
        Self(sha256(secret.expose_secret()))
    }

    pub const fn stored(hex: String) -> Self {
        Self(hex)
    }

    /// Returns the hash in hex, as stored.
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretHash {}

impl Hash for SecretHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretHash")
    }
}

/// Checks that a request with the secret `shown`, if any, may report on a device that was created with `created`, if
/// any.
pub fn may_report(
    shown: Option<&SecretHash>,
    created: Option<&SecretHash>,
) -> Result<(), Unproved> {
    match (shown, created) {
        (_, None) => Ok(()),
        (None, Some(_)) => Err(Unproved::Missing),
        (Some(shown), Some(created)) if shown == created => Ok(()),
        (Some(_), Some(_)) => Err(Unproved::Other),
    }
}

row! {
    struct Created {
        secret_hash: Option<String>,
    }
}

const CREATED: Sql = statement!("SELECT secret_hash FROM devices WHERE platform_id = ? AND id = ?");

/// Checks that `shown` is the secret of the device. An unknown device has no secret yet and passes the check.
pub fn prove(
    connection: &mut AnyConnection,
    place: DevicePlace,
    shown: &SecretHash,
) -> Result<(), Error> {
    find(connection, place)?.map_or(Ok(()), |created| prove_created(created.secret_hash, shown))
}

/// Checks that `shown` is the secret with which a device was created. Fails if it was created without one.
pub fn prove_created(created: Option<String>, shown: &SecretHash) -> Result<(), Error> {
    let created = created
        .map(SecretHash::stored)
        .ok_or(Error::Unproved(Unproved::Never))?;
    may_report(Some(shown), Some(&created)).map_err(Error::Unproved)
}

/// Whether the device was created with a secret.
pub fn is_provable(connection: &mut AnyConnection, place: DevicePlace) -> Result<bool, Error> {
    Ok(find(connection, place)?.is_some_and(|created| created.secret_hash.is_some()))
}

fn find(connection: &mut AnyConnection, place: DevicePlace) -> Result<Option<Created>, Error> {
    sql(CREATED)
        .bind(place.platform)
        .bind(place.device)
        .first(connection)
}
