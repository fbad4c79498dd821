//! The chain that signs samples, as the verifier reads it.

use super::super::signer::{Chain, of_samples};
use super::{at, now};
use protocols::stores::apple::chain::Chains;
use protocols::stores::apple::jws::{JwsRefusal, verify};
use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::{DecodePem as _, Encode as _};

fn chain() -> &'static Chain {
    of_samples().expect("a chain")
}

fn payload(signed_at: &str) -> Value {
    json!({ "bundleId": "com.example.radio", "signedDate": at(signed_at).micros() / 1000 })
}

fn trusted(chain: &Chain) -> Chains {
    Chains::under(&[chain.root().to_vec()])
}

#[test]
fn what_the_chain_signs_is_verified_under_its_root() {
    let chains = trusted(chain());
    let payload = payload("2026-12-01T12:00:00Z");
    let text = chain().sign(&payload).expect("a signature");
    for _ in 0..2 {
        let Ok(verified) = verify(&chains, &text, now()) else {
            panic!("not verified");
        };
        assert_eq!(Value::Object(verified.members), payload);
        assert_eq!(verified.signed_at, now());
    }
    assert_eq!(chains.remembered(), 1);
}

#[test]
fn no_other_root_is_trusted() {
    let text = chain().sign(&payload("2026-12-01T12:00:00Z"));
    let text = text.expect("a signature");
    let other = Chain::generate().expect("a chain");
    for chains in [Chains::apple(), trusted(&other)] {
        let verdict = verify(&chains, &text, now()).map(drop);
        assert_eq!(verdict, Err(JwsRefusal::Chain));
    }
}

#[test]
fn a_text_is_signed_regardless_of_its_content() {
    let chains = trusted(chain());
    let text = chain().sign_text(&json!({ "alg": "none" }).to_string(), "{}");
    let verdict = verify(&chains, &text.expect("a signature"), now()).map(drop);
    assert_eq!(verdict, Err(JwsRefusal::Algorithm));
}

#[test]
fn the_root_is_also_a_file() {
    let pem = chain().root_pem();
    let certificate = Certificate::from_pem(pem.as_bytes()).expect("a certificate");
    assert_eq!(certificate.to_der().expect("its DER"), chain().root());
}
