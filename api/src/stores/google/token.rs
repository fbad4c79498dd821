//! The token of a push: an OpenID Connect token that Google signs for the subscription's account.
//! <https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions>
//!
//! Pure: the time, the key and the expected values are arguments. Any Google Cloud project can obtain a signed token
//! for any audience, so the account is compared as well. Nothing here shows a token or its account in debug output.

use super::keyset::PublicKey;
use super::refusal::PushRefusal;
use super::settings::PushTarget;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use domain::text::is_plain;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// Maximum length of a token, in bytes; Google's have about 900.
const MAX_TOKEN_BYTES: usize = 4096;
/// Maximum length of a key id; Google's have 40 characters.
const MAX_KEY_ID_CHARS: usize = 128;
const ISSUER: &str = "https://accounts.google.com";
/// How long a token is accepted after the second in which it expires, in milliseconds: less than one more second.
const EXPIRY_SKEW_MS: i64 = 999;
/// How far the time of issue may be ahead of this machine's clock, in milliseconds.
const ISSUE_SKEW_MS: i64 = 60_000;

pub(super) const NO_BEARER: PushRefusal = PushRefusal::NotGenuine("no bearer token");
pub(super) const OTHER_AUDIENCE: PushRefusal =
    PushRefusal::Foreign("bearer token is for another audience");
pub(super) const OTHER_ACCOUNT: PushRefusal =
    PushRefusal::Foreign("bearer token is of another account");
pub(super) const EXPIRED: PushRefusal = PushRefusal::NotGenuine("bearer token has expired");
pub(super) const NOT_YET_VALID: PushRefusal =
    PushRefusal::NotGenuine("bearer token is not valid yet");
const MALFORMED: PushRefusal = PushRefusal::NotGenuine("bearer token is malformed");

/// Returns the bearer token of a request.
///
/// # Errors
/// The request has no bearer token, or more than one.
pub fn bearer(headers: &HeaderMap) -> Result<&str, PushRefusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(NO_BEARER)?;
    if values.next().is_some() {
        return Err(PushRefusal::NotGenuine("several authorization headers"));
    }
    let text = value.to_str().map_err(|_| NO_BEARER)?;
    let (scheme, token) = text.split_once(' ').ok_or(NO_BEARER)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(NO_BEARER);
    }
    Ok(token)
}

/// A well-formed token whose signature and claims are not verified yet.
pub struct UnverifiedToken<'a> {
    /// Id of the key that supposedly signed the token.
    pub key_id: String,
    /// The signed part of the token: header and claims.
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct TokenHeader {
    alg: String,
    kid: Option<String>,
    /// Extensions that a verifier must support (RFC 7515, 4.1.11); none is supported here.
    crit: Option<IgnoredAny>,
}

impl<'a> UnverifiedToken<'a> {
    /// Checks the format of a token: three parts in base64url, RS256, a key id.
    ///
    /// # Errors
    /// The token has a different format.
    pub fn parse(token: &'a str) -> Result<Self, PushRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(PushRefusal::NotGenuine("bearer token is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        if claims.contains('.') {
            return Err(MALFORMED);
        }
        let header: TokenHeader = json(header)?;
        if header.alg != "RS256" {
            return Err(PushRefusal::NotGenuine(
                "bearer token is not signed with RS256",
            ));
        }
        if header.crit.is_some() {
            return Err(PushRefusal::NotGenuine("bearer token has extensions"));
        }
        let key_id = header.kid.filter(|id| is_plain(id, MAX_KEY_ID_CHARS));
        Ok(Self {
            key_id: key_id.ok_or(PushRefusal::NotGenuine("bearer token names no key"))?,
            signed,
            claims,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?,
        })
    }

    /// Verifies the signature, issuer and time of the token. `key` must be the key with [`Self::key_id`].
    ///
    /// # Errors
    /// Google did not sign the token, or it is not valid at `now`.
    pub fn verify(&self, key: &PublicKey, now: Timestamp) -> Result<SignedClaims, PushRefusal> {
        if !key.verify(self.signed.as_bytes(), &self.signature) {
            return Err(PushRefusal::NotGenuine(
                "signature of the bearer token is wrong",
            ));
        }
        let claims: RawClaims = json(self.claims)?;
        if claims.iss != ISSUER {
            return Err(PushRefusal::NotGenuine(
                "issuer of the bearer token is wrong",
            ));
        }
        let claims = SignedClaims {
            audience: claims.aud,
            account: claims.email,
            is_account_verified: claims.email_verified == Some(true),
            issued_at: from_seconds(claims.iat),
            expires_at: from_seconds(claims.exp),
        };
        claims.check_time(now)?;
        Ok(claims)
    }
}

#[derive(Deserialize)]
struct RawClaims {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    email: Option<String>,
    email_verified: Option<bool>,
}

/// Claims of a token that Google signed.
pub struct SignedClaims {
    audience: String,
    account: Option<String>,
    is_account_verified: bool,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl SignedClaims {
    /// Returns when the token expires.
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Checks that the token is valid at `now`.
    ///
    /// # Errors
    /// The token has expired, or was issued in the future.
    pub fn check_time(&self, now: Timestamp) -> Result<(), PushRefusal> {
        if now > self.expires_at.plus_millis(EXPIRY_SKEW_MS) {
            return Err(EXPIRED);
        }
        if self.issued_at > now.plus_millis(ISSUE_SKEW_MS) {
            return Err(NOT_YET_VALID);
        }
        Ok(())
    }

    /// Checks that the token was signed for this platform's subscription. The audience and account must match exactly,
    /// and Google must have verified the account.
    ///
    /// # Errors
    /// The token was signed for another subscription.
    pub fn check_target(&self, target: &PushTarget<'_>) -> Result<(), PushRefusal> {
        if self.audience != target.audience {
            return Err(OTHER_AUDIENCE);
        }
        if self.account.as_deref() != Some(target.account) {
            return Err(OTHER_ACCOUNT);
        }
        if !self.is_account_verified {
            return Err(PushRefusal::Foreign(
                "account of the bearer token is not verified",
            ));
        }
        Ok(())
    }
}

const fn from_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// Decodes a JSON value in base64url. A known field that appears twice is an error.
fn json<T: DeserializeOwned>(part: &str) -> Result<T, PushRefusal> {
    let text = URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)?;
    serde_json::from_slice(&text).map_err(|_| MALFORMED)
}
