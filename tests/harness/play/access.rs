//! Access tokens: the fake issues them for assertions of its service account, as Google's token endpoint does.

use api::clock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::OsRng;
use rsa::sha2::Sha256;
use rsa::signature::Verifier as _;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use url::form_urlencoded;

/// The service account that may read the purchases.
pub const ACCOUNT: &str = "reader@settle-tests.iam.gserviceaccount.com";
const KEY_ID: &str = "5e771e0000004000800000005e771e";
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/androidpublisher";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Lifetime of a token, in seconds.
const LIFETIME: i64 = 3599;
/// Number of digits of a token, which is about as long as Google's.
const LENGTH: usize = 1006;
/// Maximum lifetime of an assertion, in seconds.
const MAX_LIFETIME: i64 = 3600;
/// How far the clock of the sender may be ahead, in seconds.
const SKEW: i64 = 300;

/// The service account's key, which all tests of the process share.
static KEY: LazyLock<RsaPrivateKey> =
    LazyLock::new(|| RsaPrivateKey::new(&mut OsRng, 2048).expect("a key"));

/// Returns the text of the service account's key file. Its token URL is one that must never be used.
///
/// # Panics
/// When the key cannot be encoded.
pub fn key_file() -> String {
    let pem = KEY.to_pkcs8_pem(LineEnding::LF).expect("the key as PEM");
    let file = json!({
        "type": "service_account", "project_id": "settle-tests", "private_key_id": KEY_ID,
        "private_key": pem.as_str(), "client_email": ACCOUNT, "client_id": "113774264463038321964",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": "https://elsewhere.example/token",
        "universe_domain": "googleapis.com",
    });
    file.to_string()
}

/// The issued tokens. They expire by real time, because a test may move its clock between two requests.
#[derive(Debug, Default)]
pub struct Access {
    /// When each token expires, in seconds since 1970.
    tokens: BTreeMap<String, i64>,
    count: u64,
}

impl Access {
    /// Issues a token for the body of a request.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn issue(&mut self, body: &[u8], now: Timestamp) -> Result<Value, String> {
        let fields: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        if field("grant_type") != GRANT {
            return Err(format!("the grant type {}", field("grant_type")));
        }
        check(field("assertion"), seconds(now))?;
        self.count += 1;
        let token = format!("ya29.settle-tests-{:0>LENGTH$}", self.count);
        let expires_at = seconds(clock::now()) + LIFETIME;
        self.tokens.insert(token.clone(), expires_at);
        Ok(json!({ "access_token": token, "expires_in": LIFETIME, "token_type": "Bearer" }))
    }

    /// Returns whether the value of an `authorization` header is that of a valid token.
    pub fn is_valid(&self, authorization: &str) -> bool {
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        self.tokens
            .get(token)
            .is_some_and(|expires_at| *expires_at > seconds(clock::now()))
    }

    /// Makes all issued tokens invalid.
    pub fn withdraw(&mut self) {
        self.tokens.clear();
    }
}

const fn seconds(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000)
}

/// Checks an assertion as of this second.
fn check(assertion: &str, now: i64) -> Result<(), String> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or("no assertion")?;
    let (header, claims) = signed.split_once('.').ok_or("an assertion in two parts")?;
    let [header, claims] = [header, claims].map(|part| decoded(part).unwrap_or_default());
    if header["alg"] != "RS256" || header["kid"] != KEY_ID {
        return Err(format!("the header {header}"));
    }
    for (name, wanted) in [("iss", ACCOUNT), ("aud", AUDIENCE), ("scope", SCOPE)] {
        if claims[name] != wanted {
            return Err(format!("`{name}` is {} and not {wanted}", claims[name]));
        }
    }
    let [issued_at, expires_at] = ["iat", "exp"].map(|name| claims[name].as_i64().unwrap_or(0));
    let is_issued = issued_at <= now + SKEW;
    let is_short = (1..=MAX_LIFETIME).contains(&(expires_at - issued_at));
    if !(is_issued && is_short) {
        return Err(format!(
            "issued at {issued_at} until {expires_at}, now {now}"
        ));
    }
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|error| error.to_string())?;
    let signature = Signature::try_from(signature.as_slice()).map_err(|error| error.to_string())?;
    VerifyingKey::<Sha256>::new(KEY.to_public_key())
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "a signature of another key".to_owned())
}

fn decoded(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
