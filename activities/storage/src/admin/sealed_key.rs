//! The stored form of an ingress key: encrypted, and hashed for look-ups.

use db::error::Error;
use db::secrets::Secrets;
use db::writer::Write;
use domain::PlatformId;
use secrecy::{ExposeSecret, SecretString};

/// The purpose under which `ingress_key` is encrypted and `ingress_hash` is computed.
pub const INGRESS: &str = "platforms.ingress_key";
/// The purpose under which `old_ingress_key` is encrypted.
pub const OLD_INGRESS: &str = "platforms.old_ingress_key";

/// Returns the hash and the encrypted form of an ingress key.
pub fn seal(
    write: &mut Write<'_>,
    secrets: &Secrets,
    id: PlatformId,
    key: &SecretString,
) -> Result<(String, String), Error> {
    let sealed = secrets.seal(write, (INGRESS, &id.to_string()), key)?;
    Ok((secrets.newest_hash(INGRESS, key.expose_secret()), sealed))
}
