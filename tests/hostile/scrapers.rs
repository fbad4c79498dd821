//! Many clients that read the metrics of an installation with many pending deliveries.

use super::crowd::LASTING;
use super::target::Target;
use super::witness::Witness;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::json;
use std::net::SocketAddr;
use system_tests::http::send_raw;
use system_tests::rows;
use tokio::task::JoinSet;
use tokio::time::Instant;

const SCRAPERS: usize = 200;
const DESTINATIONS: usize = 20;
const PENDING: usize = 100_000;
/// When the deliveries are due: in the far future, in microseconds since 1970.
const LATER: i64 = 4_102_444_800_000_000;

/// Inserts deliveries of a purchase that does not exist, for disabled destinations, directly into the database.
fn queue(database: &str, destinations: &[String]) {
    let mut connection = SqliteConnection::establish(database).expect("the database");
    connection
        .batch_execute("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; BEGIN")
        .expect("its settings");
    for id in destinations {
        let pending = rows::deliveries()
            .numbered(1, PENDING)
            .text("destination_id", id)
            .sql("next_due_at", LATER);
        let name = format!("'{id}-' || i");
        let pending = ["id", "event_id", "collapse_key"]
            .into_iter()
            .fold(pending, |rows, column| rows.sql(column, &name));
        connection
            .batch_execute(&pending.sql("created_at", LATER).to_string())
            .expect("deliveries");
    }
    connection
        .batch_execute("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("a commit");
    // Unwritten data would delay settle's syncs.
    std::fs::File::open(database)
        .and_then(|file| file.sync_all())
        .expect("a sync");
}

fn erase(database: &str) {
    let mut connection = SqliteConnection::establish(database).expect("the database");
    let clean =
        format!("PRAGMA foreign_keys = OFF; DELETE FROM deliveries WHERE next_due_at = {LATER}");
    connection
        .batch_execute(&clean)
        .expect("no such deliveries");
}

/// Reads the metrics repeatedly. Returns the number of complete pages.
async fn scrape(address: SocketAddr, key: String, end: Instant) -> usize {
    let (mut pages, headers) = (0, [("authorization", format!("Bearer {key}"))]);
    while Instant::now() < end {
        let answer = send_raw(
            reqwest::Method::GET,
            &format!("http://{address}/metrics"),
            &headers,
            Vec::new(),
        )
        .await;
        let is_whole =
            |text: &str| text.matches("settle_destination_pending{").count() > DESTINATIONS;
        pages += usize::from(answer.is_ok_and(|answer| answer.body.as_str().is_some_and(is_whole)));
    }
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_scrapers_of_two_million_pending_hold_nothing_up() {
    let mut target = Target::start().await;
    let mut ids = Vec::new();
    for number in 0..DESTINATIONS {
        let body = json!({
            "kind": "webhook", "name": format!("pending {number}"), "url": format!("http://127.0.0.1:9/{number}"),
            "enabled": false, "events": ["device.session.end"],
        });
        ids.push(target.world.add(&body).await);
    }
    let database = target.world.installation.database().to_owned();
    target.world.kill9();
    let began = Instant::now();
    queue(&database, &ids);
    println!(
        "{} deliveries are pending after {:.0?}",
        DESTINATIONS * PENDING,
        began.elapsed()
    );
    target.world.restart().await;
    target.restarted();
    let body = json!({ "name": "scrapers", "role": "metrics" });
    let created = target.world.api.post("/v1/keys", &body).await.ok();
    let key = created["key"].as_str().expect("a key");
    let (address, end) = (target.admin(), Instant::now() + LASTING);
    let attack = (0..SCRAPERS)
        .map(|_| scrape(address, key.to_owned(), end))
        .collect::<JoinSet<usize>>()
        .join_all();
    let (pages, witness) = Witness::watch(&target, attack).await;
    let pages: usize = pages.into_iter().sum();
    println!("{SCRAPERS} scrapers read {pages} whole pages");
    assert!(pages >= SCRAPERS, "each read some: {pages}");
    target.world.kill9();
    erase(&database);
    target.world.restart().await;
    target.finish(&witness.receipts).await;
}
