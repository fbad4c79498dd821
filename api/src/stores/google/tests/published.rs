//! Tokens that Google signed and published. They are not part of this repository; where they are missing, only tokens
//! signed with our own keys are checked.

use super::super::keyset;
use super::super::token::UnverifiedToken;
use super::super::{PushRefusal, PushTarget};
use super::shown;
use domain::Timestamp;
use serde_json::Value;
use std::path::PathBuf;

const AUDIENCE: &str = "https://example.com/path";
const ACCOUNT: &str = "integration-tests@chingor-test.iam.gserviceaccount.com";
/// When the valid token was issued and expires, in seconds since 1970.
const ISSUED: i64 = 1_587_626_288;
const EXPIRES: i64 = 1_587_629_888;

struct Published {
    keys: keyset::KeySet,
    tokens: Vec<Value>,
}

fn published() -> Option<Published> {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/fixtures/google"
    ));
    let Ok(keys) = std::fs::read(folder.join("federated_keys.json")) else {
        println!(
            "left out: tokens signed by Google are not beside this repository (shared/fixtures/google)"
        );
        return None;
    };
    let tokens = std::fs::read(folder.join("tokens.json")).expect("tokens");
    Some(Published {
        keys: keyset::read(&keys).expect("keys"),
        tokens: serde_json::from_slice(&tokens).expect("JSON"),
    })
}

impl Published {
    fn token(&self, name: &str) -> &str {
        let mut tokens = self.tokens.iter();
        let token = tokens.find(|token| token["name"] == name);
        token.expect(name)["token"].as_str().expect("a text")
    }

    /// The result of checking a token at a time, for an audience and account.
    fn verdict(&self, name: &str, second: i64, target: [&str; 2]) -> Result<(), (u16, &str)> {
        let now = Timestamp::from_millis(second * 1000);
        let [audience, account] = target;
        let target = PushTarget {
            audience,
            account,
            subscription: "projects/p/subscriptions/s",
        };
        let check = || {
            let token = UnverifiedToken::parse(self.token(name))?;
            let unknown = PushRefusal::NotGenuine("unknown key");
            let key = self.keys.get(&token.key_id).ok_or(unknown)?;
            token.verify(key, now)?.check_target(&target)
        };
        check().map_err(shown)
    }
}

#[test]
fn googles_token_is_valid_at_its_time_and_not_a_second_later() {
    let Some(published) = published() else { return };
    let name = "FEDERATED_SIGNON_RS256_TOKEN";
    let target = [AUDIENCE, ACCOUNT];
    for second in [ISSUED, ISSUED + 1800, EXPIRES] {
        assert_eq!(published.verdict(name, second, target), Ok(()), "{second}");
    }
    let expired = Err((401, "bearer token has expired"));
    assert_eq!(published.verdict(name, EXPIRES + 1, target), expired);
    let early = Err((401, "bearer token is not valid yet"));
    assert_eq!(published.verdict(name, ISSUED - 61, target), early);
    let audience = Err((403, "bearer token is for another audience"));
    let other = ["https://example.com", ACCOUNT];
    assert_eq!(published.verdict(name, ISSUED, other), audience);
    let account = Err((403, "bearer token is of another account"));
    let other = [AUDIENCE, "chingor@google.com"];
    assert_eq!(published.verdict(name, ISSUED, other), account);
}

#[test]
fn a_token_of_another_algorithm_or_key_is_refused() {
    let Some(published) = published() else { return };
    let target = [AUDIENCE, ACCOUNT];
    let algorithm = Err((401, "bearer token is not signed with RS256"));
    let found = published.verdict("ES256_TOKEN", 1_584_047_020, target);
    assert_eq!(found, algorithm);
    let found = published.verdict("SERVICE_ACCOUNT_RS256_TOKEN", 1_660_877_080, target);
    assert_eq!(found, Err((401, "unknown key")));
}

#[test]
fn googles_token_with_any_other_key_is_refused() {
    let Some(published) = published() else { return };
    let token = published.token("FEDERATED_SIGNON_RS256_TOKEN");
    let token = UnverifiedToken::parse(token).expect("a token");
    let now = Timestamp::from_millis(ISSUED * 1000);
    let others = published.keys.iter().filter(|(id, _)| **id != token.key_id);
    let refused: Vec<_> = others
        .map(|(_, key)| token.verify(key, now).map(drop).map_err(shown))
        .collect();
    assert_eq!(
        refused,
        [Err((401, "signature of the bearer token is wrong"))]
    );
}
