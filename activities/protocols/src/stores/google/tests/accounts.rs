//! Key files, the request for an access token, and its replies.

use super::{EMAIL, KEY_ID, answered, at, google, key_file, merged, pem, rsa_pem, subject};
use crate::http::{Method, Reply};
use crate::stores::google::account::{ServiceAccount, WrongKeyFile};
use crate::stores::google::response::{AccessProblem, ReadError};
use crate::stores::google::token::{issued, request};
use crate::stores::google::{Google, Settings};
use crate::stores::{Answer, StoreProtocol as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RsaKeyPair, UnparsedPublicKey,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::time::Duration;
use storage::AttemptClass;
use url::form_urlencoded;

fn parsed(file: &Value) -> Result<ServiceAccount, WrongKeyFile> {
    ServiceAccount::parse(&file.to_string().into())
}

fn account() -> ServiceAccount {
    parsed(&key_file()).unwrap()
}

/// Verifies a request's signature, and returns its header and claims.
fn assertion(body: &[u8]) -> [Value; 2] {
    let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    assert_eq!(fields[0], ("grant_type".to_owned(), grant.to_owned()));
    assert_eq!((fields.len(), fields[1].0.as_str()), (2, "assertion"));
    let parts: Vec<&str> = fields[1].1.split('.').collect();
    assert_eq!(parts.len(), 3);
    let der: String = pem()
        .lines()
        .filter(|line| !line.contains("-----"))
        .collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    let signed = format!("{}.{}", parts[0], parts[1]);
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    public.verify(signed.as_bytes(), &signature).unwrap();
    [parts[0], parts[1]].map(|part| {
        let json = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&json).unwrap()
    })
}

#[test]
fn the_file_signs_a_request_to_googles_own_address() {
    let (sent, bucket) = google().token_request(&subject("any"), at()).unwrap();
    assert_eq!(sent.method, Method::Post);
    assert_eq!(sent.url.as_str(), "https://oauth2.googleapis.com/token");
    assert!(!sent.is_operator_url, "it is guarded");
    let form = "application/x-www-form-urlencoded";
    assert!(
        sent.headers
            .contains(&("content-type".to_owned(), form.to_owned()))
    );
    assert_eq!((bucket.name, bucket.per_second), ("token", 2));
    let [header, claims] = assertion(&sent.body);
    assert_eq!(
        header,
        json!({ "alg": "RS256", "typ": "JWT", "kid": KEY_ID })
    );
    assert_eq!(
        claims,
        json!({
            "iss": EMAIL, "scope": "https://www.googleapis.com/auth/androidpublisher",
            "aud": "https://oauth2.googleapis.com/token", "iat": 1_790_000_000, "exp": 1_790_003_600,
        })
    );
    let again = google().token_request(&subject("any"), at()).unwrap();
    assert_eq!(again.0.body, sent.body, "it depends on its arguments alone");
}

#[test]
fn an_operators_address_replaces_googles() {
    let settings = Settings {
        base: Some("http://127.0.0.1:9000".parse().unwrap()),
        ..Settings::default()
    };
    let (sent, _) = request(&settings, &account(), at()).unwrap();
    assert_eq!(sent.url.as_str(), "http://127.0.0.1:9000/token");
    assert!(sent.is_operator_url);
    let [_, claims] = assertion(&sent.body);
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
}

#[test]
fn a_file_without_the_id_of_its_key_signs_too() {
    let file = merged(key_file(), json!({ "private_key_id": null }));
    let (sent, _) = request(&Settings::default(), &parsed(&file).unwrap(), at()).unwrap();
    let [header, _] = assertion(&sent.body);
    assert_eq!(header, json!({ "alg": "RS256", "typ": "JWT" }));
}

#[test]
fn a_file_that_is_no_key_file_is_refused() {
    let without = |name: &str| {
        let mut file = key_file();
        file.as_object_mut().unwrap().remove(name);
        file.to_string()
    };
    let with = |members: Value| merged(key_file(), members).to_string();
    let client = json!({ "installed": { "client_id": "a", "client_secret": "hunter2" } });
    for file in [
        String::new(),
        "hunter2".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        pem().to_owned(),
        client.to_string(),
        without("type"),
        without("client_email"),
        without("private_key"),
        with(json!({ "type": "authorized_user" })),
        with(json!({ "client_email": "no address" })),
        with(json!({ "client_email": "@example.com" })),
        with(json!({ "client_email": 7 })),
        with(json!({ "padding": "x".repeat(20_000) })),
        key_file().to_string()[..400].to_owned(),
    ] {
        let refused = ServiceAccount::parse(&file.as_str().into()).unwrap_err();
        assert_eq!(refused, WrongKeyFile::Form, "{file}");
    }
    let marked = format!("\u{feff}{}\n", key_file());
    assert!(
        ServiceAccount::parse(&marked.into()).is_ok(),
        "an editor's marks"
    );
}

#[test]
fn only_a_whole_rsa_key_of_2048_bits_is_taken() {
    let curve =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let armored = |der: &[u8]| {
        let text = STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    };
    let short = rsa_pem(1024);
    for key in [
        "hunter2".to_owned(),
        short.clone(),
        armored(curve.unwrap().as_ref()),
        armored(b"hunter2"),
        pem()[..900].to_owned(),
        pem().replace("PRIVATE KEY", "RSA PRIVATE KEY"),
        pem().replacen('M', "*", 1),
    ] {
        let refused = parsed(&merged(key_file(), json!({ "private_key": key }))).unwrap_err();
        assert_eq!(refused, WrongKeyFile::Key, "{key}");
    }
}

#[test]
fn no_message_and_no_debug_form_repeats_a_file() {
    for refused in [WrongKeyFile::Form, WrongKeyFile::Key] {
        let sentence = refused.to_string();
        assert!(!sentence.contains(". "), "one sentence: {sentence}");
    }
    let subject = subject("any");
    let (sent, _) = google().token_request(&subject, at()).unwrap();
    let token = issued(&token_reply(json!({}))).unwrap();
    let shown = format!("{:?} {sent:?} {token:?} {:?}", account(), subject.own);
    for hidden in [EMAIL, KEY_ID, "BEGIN", "ya29", "eyJ"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
}

fn token_reply(members: Value) -> Reply {
    let base =
        json!({ "access_token": "ya29.c.token", "expires_in": 3599, "token_type": "Bearer" });
    answered(200, merged(base, members)).reply
}

#[test]
fn an_issued_token_is_read() {
    let token = issued(&token_reply(json!({ "scope": "any" }))).unwrap();
    assert_eq!(token.token.expose_secret(), "ya29.c.token");
    assert_eq!(token.lifetime, Duration::from_secs(3599));
}

#[test]
fn a_reply_without_a_usable_token_is_requested_again() {
    for reply in [
        token_reply(json!({ "access_token": "" })),
        token_reply(json!({ "access_token": "two\nlines" })),
        token_reply(json!({ "access_token": "x".repeat(5000) })),
        token_reply(json!({ "access_token": 7 })),
        token_reply(json!({ "expires_in": 0 })),
        token_reply(json!({ "expires_in": null })),
        token_reply(json!({ "token_type": "MAC" })),
        answered(200, "{\"access_token\": \"ya29").reply,
        answered(200, "<html>").reply,
    ] {
        let error = issued(&reply).unwrap_err();
        assert!(
            matches!(&error, ReadError::Retry(retry) if retry.class == "unreadable"),
            "{error:?}"
        );
    }
}

#[test]
fn a_refused_signature_is_the_credentials_fault() {
    for (status, name) in [
        (400, "invalid_grant"),
        (401, "invalid_client"),
        (401, "unauthorized_client"),
        (403, "access_denied"),
        (400, "invalid_scope"),
    ] {
        let body = json!({ "error": name, "error_description": "a text of the store" });
        let error = issued(&answered(status, body).reply).unwrap_err();
        assert_eq!(
            error,
            ReadError::Refused(AccessProblem::Credential),
            "{name}"
        );
    }
}

#[test]
fn a_token_that_is_not_issued_for_now_is_requested_again() {
    let retry = |reply: Reply| match issued(&reply).unwrap_err() {
        ReadError::Retry(retry) => (retry.class, retry.is_throttled, retry.is_strange),
        other => panic!("{other:?}"),
    };
    let named = |status, name: &str| answered(status, json!({ "error": name })).reply;
    assert_eq!(
        retry(named(403, "rate_limit_exceeded")),
        ("throttled", true, false)
    );
    assert_eq!(retry(answered(429, "").reply), ("throttled", true, false));
    assert_eq!(
        retry(answered(503, "").reply),
        ("server_error", false, false)
    );
    let unexpected = ("unexpected_status", false, true);
    assert_eq!(retry(named(400, "invalid_request")), unexpected);
    assert_eq!(
        retry(answered(400, "<html>").reply),
        unexpected,
        "of a proxy"
    );
    assert_eq!(retry(answered(404, "").reply), unexpected);
    assert_eq!(retry(answered(302, "").reply), unexpected);
    let failure = Reply::Failure {
        class: AttemptClass::Tls,
        message: "no TLS".to_owned(),
    };
    assert_eq!(retry(failure), ("tls", false, false));
}

#[test]
fn a_platform_without_a_usable_account_is_refused() {
    let mut of = subject("any");
    of.own.credentials = Some(SecretString::from("{\"service_account\": \"hunter2\"}"));
    assert_eq!(
        google().token_request(&of, at()).err(),
        Some(Answer::Refused(AccessProblem::Credential.refusal()))
    );
    of.own.credentials = None;
    assert_eq!(
        google().token_request(&of, at()).err(),
        Some(Answer::Refused(AccessProblem::Credential.refusal()))
    );
    let shown = format!("{:?}", Google::new(Settings::default(), None));
    assert!(shown.starts_with("Google"), "{shown}");
}
