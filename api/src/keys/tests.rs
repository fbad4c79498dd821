//! Tests of key texts, scopes of paths, and the limit on guesses.

use super::scope::Scope;
use crate::keyring::{KeyText, Refusals};
use domain::KeyId;
use secrecy::ExposeSecret;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;
use storage::Subject;

#[test]
fn the_text_of_a_key_is_its_id_and_its_secret() {
    let secret = "0a".repeat(32);
    let text = format!("sk_6b275a670bbb4f3a99b96600bf711993_{secret}");
    let key = KeyText::parse(&text).expect("a key");
    assert_eq!(
        (key.id.to_string().as_str(), key.secret.expose_secret()),
        ("6b275a67-0bbb-4f3a-99b9-6600bf711993", &*secret)
    );
    assert_eq!(key.write(), text);
    assert!(!format!("{key:?}").contains(&secret));
    for wrong in [
        "",
        "sk_",
        "sk__",
        "sk_x_0a",
        &text[1..],
        &text[..text.len() - 1],
        &format!("{text}0"),
    ] {
        assert!(KeyText::parse(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn the_first_id_of_a_path_decides_what_it_reaches() {
    assert_eq!(
        Scope::of("/v1/apps/{app_id}/customers/erase/{erasure_id}", false),
        Scope::Path(Subject::App)
    );
    assert_eq!(
        Scope::of("/v1/explain/purchases/{collapse_key}", true),
        Scope::Path(Subject::Purchase)
    );
    assert_eq!(Scope::of("/v1/events", true), Scope::Limited);
    assert_eq!(Scope::of("/v1/rates/{day}", false), Scope::Whole);
}

#[test]
fn an_address_guesses_a_few_times_and_its_own_key_still_works() {
    let refusals = Refusals::new(
        NonZeroU32::new(2).expect("not zero"),
        Duration::from_secs(60),
    );
    let [one, other] = ["2001:db8:0:1::1", "2001:db8:0:2::1"]
        .map(|text| text.parse::<IpAddr>().expect("an address"));
    refusals.proved(one, "true");
    for _ in 0..2 {
        assert!(refusals.check(one, "guess").is_ok());
        assert!(refusals.count(one, None).is_ok());
    }
    assert!(
        refusals.check(one, "guess").is_ok(),
        "two are within the bound"
    );
    assert!(refusals.count(one, None).is_err());
    let wait = refusals.check(one, "guess").expect_err("a wait");
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_secs(60),
        "{wait:?}"
    );
    assert!(
        refusals
            .check("2001:db8:0:1:ffff::2".parse().expect("an address"), "guess")
            .is_err(),
        "a neighbour"
    );
    assert!(refusals.check(one, "true").is_ok() && refusals.check(other, "guess").is_ok());
    // A key is still looked up, and is counted by its id.
    assert!(
        refusals
            .check(
                one,
                &format!("sk_6b275a670bbb4f3a99b96600bf711993_{}", "0a".repeat(32))
            )
            .is_ok()
    );
    let [id, next] = [1, 2].map(|number| KeyId::new(uuid::Uuid::from_u128(number)));
    let counted: Vec<bool> = (0..3)
        .map(|_| refusals.count(other, Some(id)).is_ok())
        .collect();
    assert_eq!(
        (counted, refusals.count(other, Some(next)).is_ok()),
        (vec![true, true, false], true)
    );
    assert!(
        refusals.check(other, "guess").is_ok(),
        "wrong keys lock no token"
    );
}
