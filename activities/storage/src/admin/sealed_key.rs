//! How an ingress key is stored: encrypted, and hashed for the search.

use db::error::Error;
use db::secrets::Secrets;
use db::writer::Write;
use domain::PlatformId;
use secrecy::{ExposeSecret, SecretString};

/// The columns `ingress_key` and `ingress_hash`, for the encryption.
pub const INGRESS: &str = "platforms.ingress_key";
/// The column `old_ingress_key`, for the encryption.
pub const OLD_INGRESS: &str = "platforms.old_ingress_key";

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
