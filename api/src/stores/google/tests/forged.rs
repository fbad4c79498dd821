//! Forged tokens, each refused for its own reason.

use super::{
    ACCOUNT, AUDIENCE, Certs, KEY, KEY_ID, OTHER_KEY, Refused, claims, header, ingress, now,
    seconds, signed, token, verdict,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};

const SIGNATURE: Refused = (401, "signature of the bearer token is wrong");
const MALFORMED: Refused = (401, "bearer token is malformed");
const ALGORITHM: Refused = (401, "bearer token is not signed with RS256");
const NO_KEY: Refused = (401, "bearer token names no key");
const UNKNOWN_KEY: Refused = (401, "bearer token names an unknown key");
const ISSUER: Refused = (401, "issuer of the bearer token is wrong");
const AUDIENCES: Refused = (403, "bearer token is for another audience");
const ACCOUNTS: Refused = (403, "bearer token is of another account");
const UNVERIFIED: Refused = (403, "account of the bearer token is not verified");

/// A name, a token and the expected refusal.
type Forged = (&'static str, String, Refused);

/// A header or claims with one field changed.
fn with(mut of: Value, field: &str, value: Value) -> Value {
    of[field] = value;
    of
}

fn without(mut of: Value, field: &str) -> Value {
    of.as_object_mut().expect("an object").remove(field);
    of
}

/// A token with this header, signed with Google's key.
fn headed(header: &Value) -> String {
    signed(&KEY, &header.to_string(), &claims().to_string())
}

/// A token with the genuine header and this text as claims, signed with Google's key.
fn claiming(claims: &str) -> String {
    signed(&KEY, &header().to_string(), claims)
}

/// The three parts of the genuine token.
fn parts() -> [String; 3] {
    let token = token(&claims());
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().expect("three parts")
}

/// The genuine token with its signature changed.
fn resigned(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let [header, claims, signature] = parts();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    change(&mut bytes);
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// A token signed symmetrically, with the public key as the secret.
fn symmetric() -> String {
    let header = with(header(), "alg", json!("HS256")).to_string();
    let [header, claims] = [header, claims().to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = format!("{header}.{claims}");
    let modulus = KEY.jwk(KEY_ID)["n"].to_string();
    let modulus = URL_SAFE_NO_PAD.decode(modulus.trim_matches('"'));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &modulus.expect("base64"));
    let tag = hmac::sign(&secret, text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

fn of_algorithm() -> Vec<Forged> {
    let unsigned = |algorithm: &str| {
        let header = with(header(), "alg", json!(algorithm)).to_string();
        let [header, claims] =
            [header, claims().to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}.")
    };
    let named = |algorithm: &str| headed(&with(header(), "alg", json!(algorithm)));
    let twice = format!(r#"{{"alg":"none","alg":"RS256","kid":"{KEY_ID}"}}"#);
    vec![
        ("no algorithm", unsigned("none"), ALGORITHM),
        ("no algorithm, capital", unsigned("None"), ALGORITHM),
        ("the public key as a secret", symmetric(), ALGORITHM),
        ("RS384", named("RS384"), ALGORITHM),
        ("RS512", named("RS512"), ALGORITHM),
        ("ES256", named("ES256"), ALGORITHM),
        ("PS256", named("PS256"), ALGORITHM),
        ("small letters", named("rs256"), ALGORITHM),
        ("absent", headed(&without(header(), "alg")), MALFORMED),
        (
            "a number",
            headed(&with(header(), "alg", json!(256))),
            MALFORMED,
        ),
        (
            "twice",
            signed(&KEY, &twice, &claims().to_string()),
            MALFORMED,
        ),
    ]
}

fn of_key() -> Vec<Forged> {
    let named = |id: Value| headed(&with(header(), "kid", id));
    let by_other = |header: &Value| signed(&OTHER_KEY, &header.to_string(), &claims().to_string());
    let own = OTHER_KEY.jwk(KEY_ID);
    let url = json!("https://attacker.example/keys");
    vec![
        ("no key id", headed(&without(header(), "kid")), NO_KEY),
        ("empty key id", named(json!("")), NO_KEY),
        ("key id with a line break", named(json!("a\nb")), NO_KEY),
        ("long key id", named(json!("a".repeat(129))), NO_KEY),
        ("key id is a number", named(json!(1)), MALFORMED),
        ("unknown key id", named(json!("mpf0DA")), UNKNOWN_KEY),
        ("key id is a path", named(json!("../keys")), UNKNOWN_KEY),
        (
            "key id in capitals",
            named(json!(KEY_ID.to_uppercase())),
            UNKNOWN_KEY,
        ),
        ("another key", by_other(&header()), SIGNATURE),
        (
            "own key inside",
            by_other(&with(header(), "jwk", own)),
            SIGNATURE,
        ),
        (
            "own keys at a URL",
            by_other(&with(header(), "jku", url.clone())),
            SIGNATURE,
        ),
        (
            "own certificate",
            by_other(&with(header(), "x5u", url)),
            SIGNATURE,
        ),
        (
            "critical extension",
            headed(&with(header(), "crit", json!(["b64"]))),
            (401, "bearer token has extensions"),
        ),
    ]
}

fn of_signature() -> Vec<Forged> {
    let [header_part, claims_part, signature] = parts();
    let other = with(claims(), "sub", json!("1")).to_string();
    let other = URL_SAFE_NO_PAD.encode(other);
    let padded = URL_SAFE_NO_PAD.decode(&signature).expect("base64");
    let padded = STANDARD.encode(padded);
    let typed = without(header(), "typ").to_string();
    let typed = URL_SAFE_NO_PAD.encode(typed);
    vec![
        (
            "other claims",
            format!("{header_part}.{other}.{signature}"),
            SIGNATURE,
        ),
        (
            "other header",
            format!("{typed}.{claims_part}.{signature}"),
            SIGNATURE,
        ),
        ("empty", resigned(Vec::clear), SIGNATURE),
        (
            "a byte less",
            resigned(|bytes| bytes.truncate(255)),
            SIGNATURE,
        ),
        ("a byte more", resigned(|bytes| bytes.push(0)), SIGNATURE),
        (
            "a changed bit",
            resigned(|bytes| bytes[100] ^= 1),
            SIGNATURE,
        ),
        ("zeros", resigned(|bytes| bytes.fill(0)), SIGNATURE),
        (
            "padded",
            format!("{header_part}.{claims_part}.{padded}"),
            MALFORMED,
        ),
        (
            "two parts",
            format!("{header_part}.{claims_part}"),
            MALFORMED,
        ),
        (
            "four parts",
            format!("{header_part}.{claims_part}.{signature}."),
            MALFORMED,
        ),
        ("dots", "..".to_owned(), MALFORMED),
        ("one part", "token".to_owned(), MALFORMED),
        (
            "header is no JSON",
            signed(&KEY, "{", &claims().to_string()),
            MALFORMED,
        ),
    ]
}

/// A token with one claim changed, signed with Google's key.
fn changed(field: &str, value: Value) -> String {
    token(&with(claims(), field, value))
}

/// A token without a claim, signed with Google's key.
fn lacking(field: &str) -> String {
    token(&without(claims(), field))
}

fn of_claims() -> Vec<Forged> {
    let twice = claims()
        .to_string()
        .replacen('{', r#"{"aud":"https://other.example","#, 1);
    let [future, past] = [61, -3601].map(|second| json!(seconds(now()) + second));
    let expired = with(claims(), "iat", past);
    let expired = with(expired, "exp", json!(seconds(now()) - 1));
    vec![
        ("claims are no JSON", claiming("claims"), MALFORMED),
        ("claims are a list", claiming("[]"), MALFORMED),
        ("audience twice", claiming(&twice), MALFORMED),
        (
            "audience is a list",
            changed("aud", json!([AUDIENCE])),
            MALFORMED,
        ),
        ("no audience", lacking("aud"), MALFORMED),
        ("no issuer", lacking("iss"), MALFORMED),
        ("no expiry", lacking("exp"), MALFORMED),
        ("no time of issue", lacking("iat"), MALFORMED),
        (
            "expiry is a text",
            changed("exp", json!("4102444800")),
            MALFORMED,
        ),
        (
            "verified is a text",
            changed("email_verified", json!("true")),
            MALFORMED,
        ),
        (
            "expired",
            token(&expired),
            (401, "bearer token has expired"),
        ),
        (
            "of the future",
            changed("iat", future),
            (401, "bearer token is not valid yet"),
        ),
        (
            "long",
            changed("azp", json!("1".repeat(4096))),
            (401, "bearer token is too long"),
        ),
    ]
}

fn of_sender() -> Vec<Forged> {
    vec![
        (
            "another issuer",
            changed("iss", json!("https://cloud.google.com/iap")),
            ISSUER,
        ),
        (
            "issuer without scheme",
            changed("iss", json!("accounts.google.com")),
            ISSUER,
        ),
        (
            "issuer with a slash",
            changed("iss", json!("https://accounts.google.com/")),
            ISSUER,
        ),
        (
            "another audience",
            changed("aud", json!("https://example.com")),
            AUDIENCES,
        ),
        (
            "audience with a slash",
            changed("aud", json!(format!("{AUDIENCE}/"))),
            AUDIENCES,
        ),
        (
            "audience in capitals",
            changed("aud", json!(AUDIENCE.to_uppercase())),
            AUDIENCES,
        ),
        ("empty audience", changed("aud", json!("")), AUDIENCES),
        (
            "another account",
            changed("email", json!("me@evil.iam.gserviceaccount.com")),
            ACCOUNTS,
        ),
        (
            "account at the end",
            changed("email", json!(format!("un{ACCOUNT}"))),
            ACCOUNTS,
        ),
        (
            "account in capitals",
            changed("email", json!(ACCOUNT.to_uppercase())),
            ACCOUNTS,
        ),
        ("no account", lacking("email"), ACCOUNTS),
        (
            "unverified",
            changed("email_verified", json!(false)),
            UNVERIFIED,
        ),
        ("verified is absent", lacking("email_verified"), UNVERIFIED),
    ]
}

#[tokio::test]
async fn forty_forged_tokens_are_refused_each_for_its_reason() {
    let certs = Certs::working();
    let google = ingress(&certs);
    let groups = [
        of_algorithm(),
        of_key(),
        of_signature(),
        of_claims(),
        of_sender(),
    ];
    let all = groups.into_iter().flatten().collect::<Vec<Forged>>();
    assert!(all.len() >= 40, "{}", all.len());
    for (name, token, refused) in &all {
        let found = verdict(&google, token, now()).await;
        assert_eq!(found, Err(*refused), "{name}");
    }
    assert_eq!((certs.requests(), google.verdicts.len()), (1, 0));
    assert_eq!(verdict(&google, &token(&claims()), now()).await, Ok(()));
}
