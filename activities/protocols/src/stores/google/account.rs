//! The key file of a service account, as the Google Cloud console creates it.
//!
//! Only the account's email address, the key and the key's id are read. The file also contains server URLs, which are
//! not read: an uploaded file must never decide where a request goes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Timestamp;
use domain::text::is_plain;
use domain::time::HOUR;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use std::fmt;

/// Maximum size of a file. Google's files have about 2.4 KiB.
const MAX_FILE_BYTES: usize = 16 * 1024;
/// Maximum length of an account's email address and of a key's id.
const MAX_CHARS: usize = 320;
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Why a file is refused. The messages repeat nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongKeyFile {
    /// The text is no key file of a service account.
    #[error(
        "the JSON key file of a service account: create one in the Google Cloud console, under IAM & Admin, Service \
         Accounts, Keys, and upload it unchanged"
    )]
    Form,
    /// The key in the file cannot sign.
    #[error(
        "a key file with a whole RSA key of 2048 to 4096 bits: create a new key of the service account, of the type \
         JSON, and upload its file unchanged"
    )]
    Key,
}

/// A service account that can sign requests for access tokens.
pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    key: RsaKeyPair,
}

impl fmt::Debug for ServiceAccount {
    /// Hides the account and its key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").finish_non_exhaustive()
    }
}

/// The relevant fields of a key file.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
}

impl ServiceAccount {
    /// Parses and checks a key file.
    ///
    /// # Errors
    /// Fails with [`WrongKeyFile`] if the text is no key file, or if its key cannot sign.
    pub fn parse(file: &SecretString) -> Result<Self, WrongKeyFile> {
        let text = domain::text::trimmed(file.expose_secret());
        if text.len() > MAX_FILE_BYTES {
            return Err(WrongKeyFile::Form);
        }
        let file: KeyFile = serde_json::from_str(text).map_err(|_| WrongKeyFile::Form)?;
        if file.kind != "service_account" || !is_address(&file.client_email) {
            return Err(WrongKeyFile::Form);
        }
        let key = key(&file.private_key).ok_or(WrongKeyFile::Key)?;
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id.filter(|id| is_plain(id, MAX_CHARS)),
            key,
        })
    }

    /// Returns the account's email address, to which rights are granted in the Play Console.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// Returns a JSON Web Token signed with RS256, which `audience` exchanges for an access token with `scope`
    /// (<https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>); `None` if the
    /// key cannot sign.
    pub fn assertion(&self, audience: &str, scope: &str, now: Timestamp) -> Option<SecretString> {
        let second = now.micros().div_euclid(1_000_000);
        let lifetime = i64::try_from(HOUR.as_secs()).ok()?;
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = json!(id);
        }
        let claims = json!({
            "iss": self.email, "scope": scope, "aud": audience, "iat": second, "exp": second + lifetime,
        });
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public().modulus_len()];
        // This padding is deterministic: the signature depends only on the text and the key, and the random source is
        // not used.
        let random = SystemRandom::new();
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &random,
                signed.as_bytes(),
                &mut signature,
            )
            .ok()?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Some(format!("{signed}.{signature}").into())
    }
}

/// Returns whether a text can be an account's email address.
fn is_address(text: &str) -> bool {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    let has_parts = text
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    is_plain(text, MAX_CHARS) && is_visible && has_parts
}

/// Parses an RSA key from a PEM text in PKCS #8. The library also checks its size, 2048 to 4096 bits.
fn key(pem: &str) -> Option<RsaKeyPair> {
    let (_, rest) = pem.split_once(PEM_BEGIN)?;
    let (encoded, _) = rest.split_once(PEM_END)?;
    let encoded: String = encoded.split_whitespace().collect();
    let der = STANDARD.decode(encoded).ok()?;
    RsaKeyPair::from_pkcs8(&der).ok()
}
