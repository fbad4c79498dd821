//! Payloads with chains of our own: which are taken, and why the others are refused.

use super::{Drafts, INTERMEDIATE_MARKER, LEAF_MARKER, SigningChain, at, marker, now, payload};
use crate::stores::apple::chain::Chains;
use crate::stores::apple::jws::{JwsRefusal, verify};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CustomExtension, IsCa, KeyUsagePurpose, date_time_ymd};
use serde_json::json;

#[test]
fn a_payload_under_a_trusted_root_is_taken() {
    let chain = SigningChain::apple();
    let text = chain.sign(&chain.header(), &payload(now()));
    let verified = verify(&chain.trusted(), &text, now()).expect("a payload");
    assert_eq!(verified.members["bundleId"], "com.example");
    assert_eq!(verified.signed_at, now());
    let other = SigningChain::apple();
    let found = verify(&other.trusted(), &text, now()).map(drop);
    assert_eq!(found, Err(JwsRefusal::Chain), "another root");
    let found = verify(&Chains::apple(), &text, now()).map(drop);
    assert_eq!(found, Err(JwsRefusal::Chain), "Apple's root");
}

#[test]
fn the_sent_root_is_ignored() {
    let chain = SigningChain::apple();
    let other = SigningChain::apple();
    let mut header = chain.header();
    for third in [other.certificates[2].as_str(), "AAAA", ""] {
        header["x5c"][2] = json!(third);
        let text = chain.sign(&header, &payload(now()));
        let found = verify(&chain.trusted(), &text, now()).map(drop);
        assert_eq!(found, Ok(()), "{third}");
    }
}

#[test]
fn there_are_exactly_three_certificates() {
    let chain = SigningChain::apple();
    let all = &chain.certificates;
    for certificates in [
        json!(null),
        json!([]),
        json!([all[0]]),
        json!([all[0], all[1]]),
        json!([all[0], all[1], all[2], all[2]]),
        json!([all[1], all[0], all[2]]),
        json!(["", "", ""]),
    ] {
        let header = json!({ "alg": "ES256", "x5c": certificates });
        let text = chain.sign(&header, &payload(now()));
        let found = verify(&chain.trusted(), &text, now()).map(drop);
        let is_null = certificates.is_null();
        let expected = if is_null {
            JwsRefusal::Form
        } else {
            JwsRefusal::Chain
        };
        assert_eq!(found, Err(expected), "{certificates}");
    }
}

#[test]
fn a21_a_chain_without_both_markers_is_refused() {
    let changes: [fn(&mut Drafts); 4] = [
        |drafts| drafts.leaf.custom_extensions.clear(),
        |drafts| drafts.intermediate.custom_extensions.clear(),
        |drafts| drafts.leaf.custom_extensions = vec![marker(INTERMEDIATE_MARKER)],
        |drafts| drafts.intermediate.custom_extensions = vec![marker(LEAF_MARKER)],
    ];
    for change in changes {
        let verdict = SigningChain::new(change).verdict(now());
        assert_eq!(verdict, Err(JwsRefusal::Marker));
    }
}

#[test]
fn a_certificate_that_may_not_sign_is_refused() {
    let changes: [fn(&mut Drafts); 6] = [
        |drafts| drafts.leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        |drafts| drafts.intermediate.is_ca = IsCa::ExplicitNoCa,
        |drafts| drafts.intermediate.is_ca = IsCa::NoCa,
        |drafts| drafts.leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement],
        |drafts| drafts.intermediate.key_usages = vec![KeyUsagePurpose::CrlSign],
        |drafts| {
            let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            unknown.set_criticality(true);
            drafts.leaf.custom_extensions.push(unknown);
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let verdict = SigningChain::new(change).verdict(now());
        assert_eq!(verdict, Err(JwsRefusal::Chain), "change {number}");
    }
}

#[test]
fn a_certificate_counts_at_the_time_of_signing() {
    let chain = SigningChain::new(|drafts| drafts.leaf.not_after = date_time_ymd(2026, 6, 1));
    let expected = [
        ("2026-05-31T12:00:00Z", Ok(())),
        ("2026-06-02T00:00:00Z", Err(JwsRefusal::Time)),
        ("2025-12-31T00:00:00Z", Err(JwsRefusal::Time)),
        ("2019-12-31T00:00:00Z", Err(JwsRefusal::Time)),
    ];
    for (signed_at, expected) in expected {
        assert_eq!(chain.verdict(at(signed_at)), expected, "{signed_at}");
    }
    let chain = SigningChain::new(|drafts| drafts.root.not_after = date_time_ymd(2026, 6, 1));
    assert_eq!(chain.verdict(now()), Err(JwsRefusal::Time), "the root");
}

#[test]
fn a_signing_time_is_whole_and_not_ahead() {
    let chain = SigningChain::apple();
    assert_eq!(chain.verdict(now().plus_millis(60_000)), Ok(()));
    let app = json!({ "receiptCreationDate": now().micros() / 1000 });
    let text = chain.sign(&chain.header(), &app);
    assert!(verify(&chain.trusted(), &text, now()).is_ok());
    let ahead = now().plus_millis(16 * 60_000);
    assert_eq!(chain.verdict(ahead), Err(JwsRefusal::Time));
    for payload in [
        json!({}),
        json!({ "signedDate": null }),
        json!({ "signedDate": "1764504000000" }),
        json!({ "signedDate": 1_764_504_000_000.5 }),
    ] {
        let text = chain.sign(&chain.header(), &payload);
        let found = verify(&chain.trusted(), &text, now()).map(drop);
        assert_eq!(found, Err(JwsRefusal::Time), "{payload}");
    }
}

#[test]
fn another_algorithm_or_extension_is_refused() {
    let chain = SigningChain::apple();
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("RS256")),
        ("alg", json!("HS256")),
        ("alg", json!("es256")),
        ("crit", json!(["exp"])),
    ] {
        let mut header = chain.header();
        header[name] = value;
        let text = chain.sign(&header, &payload(now()));
        let found = verify(&chain.trusted(), &text, now()).map(drop);
        assert_eq!(found, Err(JwsRefusal::Algorithm), "{header}");
    }
}

#[test]
fn a_changed_payload_or_signature_is_refused() {
    let chain = SigningChain::apple();
    let text = chain.sign(&chain.header(), &payload(now()));
    let parts: Vec<&str> = text.split('.').collect();
    let other = payload(now().plus_millis(1)).to_string();
    let other = URL_SAFE_NO_PAD.encode(other);
    let changed = format!("{}.{other}.{}", parts[0], parts[2]);
    let other_chain = SigningChain::apple();
    let foreign = other_chain.sign(&chain.header(), &payload(now()));
    for (text, expected) in [
        (changed, JwsRefusal::Signature),
        (foreign, JwsRefusal::Signature),
        (format!("{}.{}.", parts[0], parts[1]), JwsRefusal::Signature),
        (format!("{}.{}", parts[0], parts[1]), JwsRefusal::Form),
        (format!("{text}.{}", parts[2]), JwsRefusal::Form),
        (format!("{text}="), JwsRefusal::Form),
        (format!(" {text}"), JwsRefusal::Form),
        (String::new(), JwsRefusal::Form),
        ("..".to_owned(), JwsRefusal::Form),
        ("A".repeat(70_000), JwsRefusal::Form),
    ] {
        let found = verify(&chain.trusted(), &text, now()).map(drop);
        assert_eq!(found, Err(expected), "{}", text.len());
    }
}

#[test]
fn few_chains_are_remembered_and_no_refused_one() {
    let chain = SigningChain::apple();
    let chains = chain.trusted();
    let sign = |chain: &SigningChain| chain.sign(&chain.header(), &payload(now()));
    for _ in 0..3 {
        assert!(verify(&chains, &sign(&chain), now()).is_ok());
    }
    assert_eq!(chains.remembered(), 1);
    let foreign = SigningChain::apple();
    assert!(verify(&chains, &sign(&foreign), now()).is_err());
    assert_eq!(chains.remembered(), 1);
    let many: Vec<SigningChain> = (0..40).map(|_| SigningChain::apple()).collect();
    let roots: Vec<Vec<u8>> = many.iter().map(|chain| chain.root.clone()).collect();
    let chains = Chains::under(&roots);
    for chain in &many {
        assert!(verify(&chains, &sign(chain), now()).is_ok());
    }
    assert_eq!(chains.remembered(), 32);
    assert!(verify(&chains, &sign(&many[0]), now()).is_ok());
}
