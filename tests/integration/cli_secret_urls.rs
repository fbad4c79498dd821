//! `settle migrate --seal-urls` encrypts destinations' secret URLs, and counts those in the audit log.

use super::cli::settle;
use domain::AppId;
use protocols::destinations::webhook::config::ready;
use protocols::destinations::{Allowed, kind};
use serde_json::{Map, Value, json};
use storage::{Config, Database, Destination, DestinationSettings, Key, NewDestination, Store};
use system_tests::folder::Folder;
use system_tests::raw::Raw;

const KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const HIDDEN: &str = "c8Vt1uZ5mEr3";

/// Creates a webhook like release 0.1.0: with the URL in plain text, in the audit log too.
async fn webhook(store: &Store, app: AppId, name: &str, body: &str) -> Destination {
    let url = format!("https://hooks.slack.com/services/{HIDDEN}");
    let fields = Map::from_iter([
        ("url".to_owned(), json!(url)),
        ("body".to_owned(), json!(body)),
    ]);
    let prepared = kind("webhook")
        .expect("a kind")
        .create(&fields, &Allowed::default(), [7; 32])
        .expect("a webhook");
    let new = NewDestination {
        app_id: app,
        kind: "webhook".to_owned(),
        common: DestinationSettings::new(name),
        settings: prepared.settings,
        secret: prepared.secret,
        traits: prepared.traits,
    };
    store.new_destination(new).await.expect("a destination")
}

/// Returns the output of `settle migrate` with these flags.
fn migrated(folder: &Folder, flags: &[&str]) -> String {
    let line = [&["migrate", "--database", "settle.sqlite"], flags].concat();
    let output = settle(folder, &line)
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains(HIDDEN), "{text}");
    text
}

#[tokio::test]
async fn migrate_encrypts_secret_urls_and_counts_audit_entries() {
    let folder = Folder::new("seal-urls");
    let database = Database::Sqlite(folder.path().join("settle.sqlite"));
    let config = Config {
        database: database.clone(),
        key: Key::new([7; 32]),
        clock: api::clock::now,
    };
    let store = Store::open(config.clone()).await.expect("a database");
    let app = store.new_app("Acme").await.expect("an app").id;
    let chat = webhook(&store, app, "chat", "slack").await;
    let other = webhook(&store, app, "other", "event").await;
    store
        .update_destination(chat.id, Default::default(), |common| common.rate = Some(3))
        .await
        .expect("a change");
    // Deleted like in 0.1.0.
    let deleted = webhook(&store, app, "deleted", "slack").await;
    store
        .delete_destination(deleted.id)
        .await
        .expect("it is deleted");
    drop(store);

    let before = migrated(&folder, &[]);
    assert!(
        before.contains("2 secret URLs are stored unencrypted."),
        "{before}"
    );
    let sealed = migrated(&folder, &["--seal-urls"]);
    assert!(
        sealed.contains("Encrypted 1 URLs") && sealed.contains("Removed 1 URLs"),
        "{sealed}"
    );
    assert!(sealed.contains("3 audit entries still contain"), "{sealed}");
    let again = migrated(&folder, &["--seal-urls"]);
    assert!(
        again.contains("Encrypted 0 URLs") && !again.contains("Removed"),
        "{again}"
    );
    assert!(again.contains("3 audit entries still contain"), "{again}");
    let after = migrated(&folder, &[]);
    assert!(!after.contains("stored unencrypted"), "{after}");

    let in_clear = format!("SELECT id AS value FROM destinations WHERE settings LIKE '%{HIDDEN}%'");
    assert_eq!(
        Raw::of(&database).texts(&in_clear),
        [other.id.to_string()],
        "another webhook is left alone"
    );
    let store = Store::open(config).await.expect("the database");
    let destination = store.destination(chat.id).await.expect("a destination");
    let secret = store.destination_secret(chat.id).await.expect("a secret");
    let opened = ready(&destination, &secret, &Allowed::default()).expect("it is usable");
    assert!(opened.url.as_str().ends_with(HIDDEN));
    let entries: Vec<Value> = Raw::of(&database)
        .texts("SELECT new_fields AS value FROM audit_log WHERE operation = 'destination.update' AND new_fields LIKE '%replaced%' ORDER BY seq DESC LIMIT 1")
        .iter()
        .map(|fields| serde_json::from_str(fields).expect("JSON"))
        .collect();
    assert_eq!(entries[0]["secret"], "replaced");
    assert!(!entries[0].to_string().contains(HIDDEN), "{entries:?}");
}
