//! Samples: which messages signed with the sample key are accepted, and that only the key's owner can send them.

use super::{Beginning, PACKAGE, TOKEN, TOPIC, World, at, letter, message_id, sample};
use api::stores::amazon::sample::{REGION, TOPIC_ARN};
use api::stores::amazon::signer::{Sample, Signer};
use api::stores::samples::SampleKey;
use domain::Notification;
use std::path::Path;
use std::sync::LazyLock;
use system_tests::raw::Raw;

/// The sample key of the data directory.
pub static SIGNER: LazyLock<Signer> = LazyLock::new(generate);
/// Another sample key.
static OTHER: LazyLock<Signer> = LazyLock::new(generate);

const FOREIGN: (u16, &str) = (
    403,
    "only the `settle run` of its own data directory, without `--no-demo`, accepts a sample",
);
const NOT_MINTED: (u16, &str) = (
    400,
    "the receipt of the sample was not minted by settle sample",
);

fn generate() -> Signer {
    Signer::generate(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")).expect("a key")
}

/// Writes a sample key and its certificate into a folder, and returns them in the form that `run` uses.
pub fn demo(signer: &Signer, folder: &Path) -> SampleKey {
    let (key, file) = (
        folder.join("sample-key.pem"),
        folder.join("sample-certificate.pem"),
    );
    std::fs::write(&key, signer.key_pem().expect("a key")).expect("the key's file");
    std::fs::write(&file, signer.certificate_pem().expect("a certificate"))
        .expect("the certificate's file");
    let url = signer.certificate_url(REGION).parse().expect("a URL");
    SampleKey {
        url,
        certificate: file,
        key,
    }
}

async fn world() -> World {
    World::begin(Beginning {
        takes_samples: true,
        ..Beginning::default()
    })
    .await
}

fn minted(name: &str) -> String {
    SIGNER.mint().expect("a mint").purchase_id(name)
}

fn signed(signer: &Signer, topic: &str, sample: &Sample<'_>) -> String {
    signer
        .sign_notification(&letter(1, topic), None, &sample.message())
        .expect("signed")
}

#[tokio::test]
async fn a_sample_needs_no_topic_and_is_stored_as_a_test() {
    let world = world().await;
    let (old, new) = (minted("old"), minted("new"));
    let mut change = sample("SUBSCRIPTION_MODIFIED_IMMEDIATE", &new);
    change.cancelled_receipt_id = Some(&old);
    assert!(!change.is_test, "nothing in the message claims it");
    let body = signed(&SIGNER, TOPIC_ARN, &change);
    assert_eq!(world.post(&body).await, (200, "accepted"));
    assert_eq!(world.post(&body).await, (200, "accepted before"));
    assert_eq!(world.stored(&body).await.len(), 2);
    let mut raw = Raw::of(&storage::Database::Sqlite(
        world.folder.path().join("settle.db"),
    ));
    for text in raw.texts("SELECT body AS value FROM notifications") {
        let stored: Notification = serde_json::from_str(&text).expect("a notification");
        assert!(stored.is_test, "{text}");
    }
    for receipt in [old, new] {
        world.wait_signal(&receipt).await;
    }
    assert!(
        world.topics().await.is_empty() && world.sns.requests().is_empty(),
        "it follows none, and nothing is fetched"
    );
}

#[tokio::test]
async fn a_sample_signed_elsewhere_is_refused() {
    let (with, without) = (world().await, World::begin(Beginning::default()).await);
    let receipt = minted("receipt");
    let own = signed(
        &SIGNER,
        TOPIC_ARN,
        &sample("SUBSCRIPTION_PURCHASED", &receipt),
    );
    let other = signed(
        &OTHER,
        TOPIC_ARN,
        &sample("SUBSCRIPTION_PURCHASED", &receipt),
    );
    let disguised = other.replace(
        &OTHER.certificate_url(REGION),
        &SIGNER.certificate_url(REGION),
    );
    let of_topic = signed(&OTHER, TOPIC, &sample("SUBSCRIPTION_PURCHASED", &receipt));
    assert_eq!(with.post(&other).await, FOREIGN);
    assert_eq!(with.post(&disguised).await, (400, "signature is wrong"));
    assert_eq!(
        with.post(&of_topic).await,
        (403, "topic is not known to this platform")
    );
    assert_eq!(without.post(&own).await, FOREIGN, "`serve` takes none");
    let subscription = SIGNER
        .sign_subscription(&letter(2, TOPIC_ARN), TOKEN)
        .expect("signed");
    assert_eq!(
        with.post(&subscription).await,
        FOREIGN,
        "its key lets no topic in"
    );
    for world in [&with, &without] {
        assert!(world.stored(&own).await.is_empty() && world.topics().await.is_empty());
        assert!(world.sns.requests().is_empty(), "no certificate is fetched");
    }
}

#[tokio::test]
async fn a_sample_is_about_minted_receipts_alone() {
    let world = world().await;
    let (own, other) = (
        minted("own"),
        OTHER.mint().expect("a mint").purchase_id("own"),
    );
    for receipt in ["receipt", "sample.receipt", &other, &own[..own.len() - 1]] {
        let body = signed(
            &SIGNER,
            TOPIC_ARN,
            &sample("SUBSCRIPTION_PURCHASED", receipt),
        );
        assert_eq!(world.post(&body).await, NOT_MINTED, "{receipt}");
        let mut change = sample("SUBSCRIPTION_MODIFIED_IMMEDIATE", &own);
        change.cancelled_receipt_id = Some(receipt);
        let body = signed(&SIGNER, TOPIC_ARN, &change);
        assert_eq!(world.post(&body).await, NOT_MINTED, "{receipt}");
        assert!(
            world.stored(&body).await.is_empty(),
            "{}",
            message_id(&body)
        );
    }
    let unreadable = SIGNER
        .sign_notification(&letter(1, TOPIC_ARN), None, PACKAGE)
        .expect("signed");
    assert_eq!(
        world.post(&unreadable).await,
        (400, "message is not a JSON object")
    );
}
