//! What is read from a key set, and when one is fetched.

use super::super::PushRefusal;
use super::super::fetch::{Fetched, max_age};
use super::super::keyring::{INTERVAL_MS, Keyring};
use super::super::keyset;
use super::super::signer::Signer;
use super::{Certs, KEY, KEY_ID, OTHER_KEY, Refused, answer, now, shown, unavailable};
use domain::Timestamp;
use futures::future::{join, join_all};
use serde_json::{Value, json};
use std::time::Duration;

const UNKNOWN: Result<(), Refused> = Err((401, "bearer token names an unknown key"));
const NEVER_LOADED: Result<(), Refused> = Err((503, "no key of the store was loaded yet"));

fn after(ms: i64) -> Timestamp {
    now().plus_millis(ms)
}

async fn found(keyring: &Keyring, id: &str, at: Timestamp) -> Result<(), Refused> {
    let key: Result<_, PushRefusal> = keyring.key(id, at).await;
    key.map(drop).map_err(shown)
}

/// Lets other tasks of this runtime run.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn messages_that_wait_for_keys_share_one_fetch() {
    let certs = Certs::working();
    certs.gate.forget_permits(usize::MAX);
    let keyring = Keyring::new(certs.clone());
    let waiting = join_all((0..10).map(|_| found(&keyring, KEY_ID, now())));
    let opening = async {
        settle().await;
        assert_eq!(certs.requests(), 1);
        certs.gate.add_permits(1);
    };
    let (all, ()) = join(waiting, opening).await;
    assert!(all.iter().all(|found| *found == Ok(())), "{all:?}");
    assert_eq!(certs.requests(), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_its_sender_is_gone() {
    let certs = Certs::working();
    certs.gate.forget_permits(usize::MAX);
    let keyring = Keyring::new(certs.clone());
    let gone = tokio::spawn({
        let keyring = keyring.clone();
        async move { keyring.key(KEY_ID, now()).await.map(drop) }
    });
    settle().await;
    gone.abort();
    settle().await;
    certs.gate.add_permits(1);
    assert_eq!(found(&keyring, KEY_ID, now()).await, Ok(()));
    assert_eq!(certs.requests(), 1);
}

#[tokio::test]
async fn an_unknown_key_id_costs_one_fetch_per_interval() {
    let certs = Certs::working();
    let keyring = Keyring::new(certs.clone());
    assert_eq!(found(&keyring, KEY_ID, now()).await, Ok(()));
    for interval in 0..3 {
        for number in 0..1000 {
            let at = after(interval * INTERVAL_MS + number);
            let id = format!("unknown-{number}");
            assert_eq!(found(&keyring, &id, at).await, UNKNOWN);
        }
        let at = after(interval * INTERVAL_MS + 1000);
        assert_eq!(found(&keyring, KEY_ID, at).await, Ok(()));
        let expected = usize::try_from(interval + 1).expect("a number");
        assert_eq!(certs.requests(), expected);
    }
}

#[tokio::test]
async fn a_new_key_of_the_store_is_found() {
    let certs = Certs::working();
    let keyring = Keyring::new(certs.clone());
    assert_eq!(found(&keyring, "new", now()).await, UNKNOWN);
    certs.answer(Ok(answer(&[KEY.jwk(KEY_ID), OTHER_KEY.jwk("new")])));
    let before = after(INTERVAL_MS - 1);
    assert_eq!(found(&keyring, "new", before).await, UNKNOWN);
    assert_eq!(found(&keyring, "new", after(INTERVAL_MS)).await, Ok(()));
    assert_eq!(certs.requests(), 2);
}

#[tokio::test]
async fn keys_are_cached_as_long_as_their_answer_allows() {
    let certs = Certs::working();
    let keyring = Keyring::new(certs.clone());
    let hour = 3_600_000;
    for at in [0, 1, hour / 5 * 4 - 1] {
        assert_eq!(found(&keyring, KEY_ID, after(at)).await, Ok(()));
    }
    assert_eq!(certs.requests(), 1);
    // The key was withdrawn: the next response no longer has it.
    certs.answer(Ok(answer(&[OTHER_KEY.jwk("new")])));
    assert_eq!(found(&keyring, KEY_ID, after(hour)).await, UNKNOWN);
    assert_eq!(certs.requests(), 2);
}

#[tokio::test]
async fn no_message_waits_while_known_keys_are_renewed_in_time() {
    let certs = Certs::working();
    let keyring = Keyring::new(certs.clone());
    assert_eq!(found(&keyring, KEY_ID, now()).await, Ok(()));
    certs.gate.forget_permits(usize::MAX);
    let ageing = after(3_600_000 / 5 * 4);
    assert_eq!(found(&keyring, KEY_ID, ageing).await, Ok(()));
    settle().await;
    assert_eq!(certs.requests(), 2);
    certs.gate.add_permits(1);
    settle().await;
    // The age is counted from the second fetch.
    let later = after(3_600_000 + 1000);
    assert_eq!(found(&keyring, KEY_ID, later).await, Ok(()));
    assert_eq!(certs.requests(), 2);
}

#[tokio::test]
async fn known_keys_stay_while_the_fetch_fails() {
    let certs = Certs::working();
    let keyring = Keyring::new(certs.clone());
    assert_eq!(found(&keyring, KEY_ID, now()).await, Ok(()));
    let failures = [
        Err(unavailable()),
        Ok(Fetched {
            body: b"<html>".to_vec(),
            max_age: None,
        }),
        Ok(answer(&[])),
    ];
    let mut at = after(3_600_000);
    for failure in failures {
        certs.answer(failure);
        assert_eq!(found(&keyring, KEY_ID, at).await, Ok(()));
        assert_eq!(found(&keyring, "unknown", at).await, UNKNOWN);
        settle().await;
        at = at.plus_millis(INTERVAL_MS);
    }
    assert_eq!(certs.requests(), 4);
    // While fetches fail, messages do not wait for the next one.
    certs.gate.forget_permits(usize::MAX);
    assert_eq!(found(&keyring, KEY_ID, at).await, Ok(()));
}

#[tokio::test]
async fn without_any_key_the_store_repeats_its_message() {
    let certs = Certs::new(Err(unavailable()));
    let keyring = Keyring::new(certs.clone());
    for at in [0, 1, INTERVAL_MS - 1] {
        assert_eq!(found(&keyring, KEY_ID, after(at)).await, NEVER_LOADED);
    }
    assert_eq!(certs.requests(), 1);
    certs.answer(Ok(answer(&[KEY.jwk(KEY_ID)])));
    assert_eq!(found(&keyring, KEY_ID, after(INTERVAL_MS)).await, Ok(()));
    assert_eq!(
        found(&keyring, "unknown", after(INTERVAL_MS)).await,
        UNKNOWN
    );
}

#[tokio::test]
async fn a_clock_that_was_set_back_holds_no_fetch_up() {
    let certs = Certs::working();
    let keyring = Keyring::new(certs.clone());
    assert_eq!(found(&keyring, KEY_ID, now()).await, Ok(()));
    let before = after(-24 * 3_600_000);
    assert_eq!(found(&keyring, KEY_ID, before).await, Ok(()));
    assert_eq!(certs.requests(), 2);
}

#[test]
fn a_key_set_is_read_without_keys_of_other_kinds() {
    let with = |field: &str, value: Value| {
        let mut entry = KEY.jwk(field);
        entry[field] = value;
        entry
    };
    let mut bare = OTHER_KEY.jwk("bare");
    let fields = bare.as_object_mut().expect("an object");
    fields.remove("alg");
    fields.remove("use");
    let short = Signer::with_bits(1024).expect("a key");
    let entries = [
        KEY.jwk(KEY_ID),
        bare,
        with("kty", json!("EC")),
        with("alg", json!("RS512")),
        with("use", json!("enc")),
        with("n", json!("no base64!")),
        with("n", json!("AQAB")),
        with("e", json!("")),
        with("kid", json!(1)),
        json!({ "kid": "empty" }),
        json!("text"),
        short.jwk("short"),
    ];
    let keys = keyset::read(&answer(&entries).body).expect("keys");
    let mut ids: Vec<&str> = keys.keys().map(String::as_str).collect();
    ids.sort_unstable();
    assert_eq!(ids, [KEY_ID, "bare"]);

    let mut padded = KEY.jwk(KEY_ID);
    padded["e"] = json!("AAEAAQ");
    let again = keyset::read(&answer(&[padded]).body).expect("keys");
    assert_eq!(again[KEY_ID], keys[KEY_ID]);
}

#[test]
fn what_is_no_key_set_is_refused() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        let refused = keyset::read(text.as_bytes()).map(drop);
        assert_eq!(refused, Err("the answer is no key set"), "{text}");
    }
    let empty = keyset::read(&answer(&[]).body).map(drop);
    assert_eq!(empty, Err("no key of the set can be used"));
}

#[test]
fn the_age_of_an_answer_is_read_from_its_headers() {
    let google = "public, max-age=21037, must-revalidate, no-transform";
    for (cache_control, age, expected) in [
        (google, "", Some(21_037)),
        (google, "37", Some(21_000)),
        (google, "99999", Some(0)),
        (google, "unknown", Some(21_037)),
        ("Max-Age=\"60\"", "", Some(60)),
        ("s-maxage=60", "", None),
        ("max-age=-1", "", None),
        ("no-store", "", None),
        ("", "", None),
    ] {
        let expected = expected.map(Duration::from_secs);
        assert_eq!(max_age(cache_control, age), expected, "{cache_control}");
    }
}

#[tokio::test]
async fn an_answer_without_an_age_is_cached_for_an_hour() {
    let certs = Certs::new(Ok(Fetched {
        max_age: None,
        ..answer(&[KEY.jwk(KEY_ID)])
    }));
    let keyring = Keyring::new(certs.clone());
    assert_eq!(found(&keyring, KEY_ID, now()).await, Ok(()));
    assert_eq!(found(&keyring, KEY_ID, after(2_879_999)).await, Ok(()));
    assert_eq!(certs.requests(), 1);
    assert_eq!(found(&keyring, KEY_ID, after(3_600_000)).await, Ok(()));
    assert_eq!(certs.requests(), 2);
}
