//! Access to the API: requests are signed with an In-App Purchase key, whose public part the fake knows.

use super::encoded_pem;
use crate::sns::PACKAGE;
use api::clock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// `issuer_id` of the tests' platforms.
pub const ISSUER: &str = "57246542-96fe-1a63-e053-0824d011072a";
/// `key_id` of the tests' platforms.
pub const KEY_ID: &str = "2X9R4HXF34";
const AUDIENCE: &str = "appstoreconnect-v1";
/// Maximum lifetime of a token, in seconds.
const MAX_LIFETIME: i64 = 3600;
/// How far the clock of the sender may be from the fake's, in seconds.
const SKEW: i64 = 60;

/// A private key in PKCS #8.
pub struct Key {
    document: Vec<u8>,
    pair: EcdsaKeyPair,
}

/// The team's key, which all tests of the process share.
static KEY: LazyLock<Key> = LazyLock::new(Key::generate);

impl Key {
    /// Creates a key that the App Store does not know.
    ///
    /// # Panics
    /// When no key can be created.
    pub fn generate() -> Self {
        let random = clock::random();
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let document = document.as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document, &random);
        Self {
            document,
            pair: pair.expect("a key pair"),
        }
    }

    /// Returns the value of an `authorization` header that is valid for five minutes from `now`, if the App Store knows
    /// the key.
    ///
    /// # Panics
    /// When the key cannot sign.
    pub fn bearer(&self, now: Timestamp) -> String {
        let issued_at = now.micros().div_euclid(1_000_000);
        let header = json!({ "alg": "ES256", "kid": KEY_ID, "typ": "JWT" });
        let claims = json!({
            "iss": ISSUER, "iat": issued_at, "exp": issued_at + 300, "aud": AUDIENCE, "bid": PACKAGE,
        });
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let signature = self.pair.sign(&clock::random(), text.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.expect("a signature"));
        format!("Bearer {text}.{signature}")
    }

    /// Returns the text of the key's `.p8` file.
    pub fn file(&self) -> String {
        encoded_pem("PRIVATE KEY", &self.document)
    }
}

/// Returns the value of an `authorization` header that is valid for five minutes from `now`.
pub fn bearer(now: Timestamp) -> String {
    KEY.bearer(now)
}

/// Returns the text of the `.p8` file of the key that the App Store knows.
pub fn key_file() -> String {
    KEY.file()
}

/// The tokens that were used. They expire by real time, because a test may move its clock between two requests.
#[derive(Debug, Default)]
pub struct Access {
    /// When each token was first used, in real time.
    first_used: BTreeMap<String, Timestamp>,
}

impl Access {
    /// Checks the value of an `authorization` header as of this time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&mut self, authorization: &str, now: Timestamp) -> Result<(), String> {
        let token = authorization.strip_prefix("Bearer ").ok_or("no token")?;
        let claims = claims(token)?;
        let real = clock::now();
        let Some(first_used) = self.first_used.get(token) else {
            check_times(&claims, seconds(now))?;
            self.first_used.insert(token.to_owned(), real);
            return Ok(());
        };
        let [issued_at, expires_at] = times(&claims);
        if seconds(real) - seconds(*first_used) <= expires_at - issued_at + SKEW {
            Ok(())
        } else {
            Err(format!("a token that was first used at {first_used}"))
        }
    }
}

/// Returns the claims of a token, whose header, signature and names are right.
fn claims(token: &str) -> Result<Value, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("no signature")?;
    let (header, claims) = signed.split_once('.').ok_or("a token in two parts")?;
    let [header, claims] = [header, claims].map(|part| decoded(part).unwrap_or_default());
    for (name, wanted) in [("alg", "ES256"), ("kid", KEY_ID), ("typ", "JWT")] {
        if header[name] != wanted {
            return Err(format!("`{name}` is {} and not {wanted}", header[name]));
        }
    }
    for (name, wanted) in [("iss", ISSUER), ("aud", AUDIENCE), ("bid", PACKAGE)] {
        if claims[name] != wanted {
            return Err(format!("`{name}` is {} and not {wanted}", claims[name]));
        }
    }
    let signature = URL_SAFE_NO_PAD.decode(signature);
    let signature = signature.map_err(|error| error.to_string())?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, KEY.pair.public_key())
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "a signature of another key".to_owned())?;
    Ok(claims)
}

const fn seconds(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000)
}

fn times(claims: &Value) -> [i64; 2] {
    ["iat", "exp"].map(|name| claims[name].as_i64().unwrap_or(0))
}

/// Checks the claims about times of a new token as of this second.
fn check_times(claims: &Value, now: i64) -> Result<(), String> {
    let [issued_at, expires_at] = times(claims);
    let is_issued = issued_at <= now + SKEW;
    let is_short = (1..=MAX_LIFETIME).contains(&(expires_at - issued_at));
    if is_issued && is_short && expires_at + SKEW > now {
        Ok(())
    } else {
        Err(format!(
            "issued at {issued_at} until {expires_at}, now {now}"
        ))
    }
}

fn decoded(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
