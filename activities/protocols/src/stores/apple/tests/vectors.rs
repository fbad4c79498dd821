//! Payloads and certificates that Apple published with its libraries. They are not part of this repository; where they
//! are missing, only chains of our own are checked.

use super::at;
use crate::stores::apple::chain::Chains;
use crate::stores::apple::jws::{JwsRefusal, verify};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Returns the folder of Apple's files.
fn published() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/fixtures/apple"
    ));
    if folder.exists() {
        return Some(folder);
    }
    println!("left out: what Apple signed is not beside this repository (shared/fixtures/apple)");
    None
}

fn verdict(chains: &Chains, folder: &Path, name: &str) -> Result<Value, JwsRefusal> {
    let text = std::fs::read_to_string(folder.join(name)).expect("a file");
    let verified = verify(chains, text.trim(), at("2026-11-30T12:00:00Z"))?;
    Ok(Value::Object(verified.members))
}

#[test]
fn what_apple_s_libraries_take_is_taken() {
    let Some(folder) = published() else { return };
    let root = std::fs::read(folder.join("testCA.der")).expect("a root");
    let chains = Chains::under(&[root]);
    for (name, member, expected) in [
        ("testNotification", "/data/bundleId", "com.example"),
        ("testNotification", "/notificationType", "TEST"),
        ("transactionInfo", "/bundleId", "com.example"),
        ("renewalInfo", "/environment", "Sandbox"),
    ] {
        let found = verdict(&chains, &folder, &format!("mock_signed_data/{name}"));
        let found = found.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        let text = found.pointer(member).and_then(Value::as_str);
        assert_eq!(text, Some(expected), "{name}");
    }
}

#[test]
fn what_apple_did_not_sign_for_us_is_refused() {
    let Some(folder) = published() else { return };
    let root = std::fs::read(folder.join("testCA.der")).expect("a root");
    let chains = Chains::under(&[root]);
    for (name, expected) in [
        ("mock_signed_data/missingX5CHeaderClaim", JwsRefusal::Chain),
        // It has no signing time, unlike anything that Apple sends.
        ("mock_signed_data/wrongBundleId", JwsRefusal::Time),
        ("mock_signed_data/legacyTransaction", JwsRefusal::Form),
        ("xcode/xcode-signed-transaction", JwsRefusal::Chain),
        ("xcode/xcode-signed-renewal-info", JwsRefusal::Chain),
        ("xcode/xcode-signed-app-transaction", JwsRefusal::Chain),
    ] {
        let found = verdict(&chains, &folder, name);
        assert_eq!(found, Err(expected), "{name}");
    }
    let found = verdict(
        &Chains::apple(),
        &folder,
        "mock_signed_data/testNotification",
    );
    assert_eq!(found, Err(JwsRefusal::Chain), "under Apple's root");
}

#[test]
fn apple_s_chains_have_their_markers_at_their_time() {
    let Some(folder) = published() else { return };
    let text = std::fs::read_to_string(folder.join("chains.json")).expect("a file");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let certificate = |name: &str| {
        let text = all[format!("{name}_BASE64_ENCODED")].as_str();
        text.expect("a certificate").to_owned()
    };
    let root = STANDARD.decode(certificate("ROOT_CA")).expect("base64");
    let tested = Chains::under(&[root]);
    let apple = Chains::apple();
    let seconds = |second: i64| Timestamp::from_millis(second * 1000);
    let [test, real] = ["INTERMEDIATE_CA", "REAL_APPLE_INTERMEDIATE"];
    for (chains, leaf, intermediate, second, expected) in [
        (&tested, "LEAF_CERT", test, 1_761_962_975, Ok(())),
        (
            &tested,
            "LEAF_CERT_FOR_INTERMEDIATE_CA_INVALID_OID",
            "INTERMEDIATE_CA_INVALID_OID",
            1_761_962_975,
            Err(JwsRefusal::Marker),
        ),
        (
            &tested,
            "LEAF_CERT_INVALID_OID",
            test,
            1_761_962_975,
            Err(JwsRefusal::Marker),
        ),
        (
            &apple,
            "REAL_APPLE_SIGNING_CERTIFICATE",
            real,
            1_761_962_975,
            Ok(()),
        ),
        (
            &apple,
            "REAL_APPLE_SIGNING_CERTIFICATE",
            real,
            1_830_000_000,
            Err(JwsRefusal::Time),
        ),
        (
            &tested,
            "REAL_APPLE_SIGNING_CERTIFICATE",
            real,
            1_761_962_975,
            Err(JwsRefusal::Chain),
        ),
        (
            &apple,
            "LEAF_CERT",
            test,
            1_761_962_975,
            Err(JwsRefusal::Chain),
        ),
    ] {
        let chain = [leaf, intermediate, "ROOT_CA"].map(certificate);
        let found = chains.key(&chain, seconds(second)).map(drop);
        assert_eq!(found, expected, "{leaf} at {second}");
    }
}
