//! The time until a page shows something, with a hundred thousand purchases in the tables. Run it alone, with a release
//! build: `cargo test --release --workspace --test pages paint -- --nocapture`.

use super::stage::Stage;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use system_tests::rows::{self, Rows};
use system_tests::wait;
use system_tests::world::SOON;

/// Number of purchases, each with a notification, an event and a delivery.
const PURCHASES: i64 = 100_000;
const SHOWN: i64 = 99_000;
/// Number of times that each page is loaded; the median counts.
const LOADS: usize = 7;
/// Maximum time until the first contents are painted, in milliseconds. For a debug build the limit is only a safeguard.
/// On a slow machine it is larger: [`MAX_FACTOR`] times the time for [`CONTROL`], which is loaded alternately with each
/// page.
const BOUND_MS: f64 = if cfg!(debug_assertions) {
    3_000.0
} else {
    200.0
};
const MAX_FACTOR: f64 = 4.0;
/// A page that reads no purchases.
const CONTROL: &str = "/ui/sign-in";

/// Returns SQL for an id that contains the row's number.
fn id(kind: &str) -> String {
    format!("printf('%08x-0000-4000-8000-{kind}%011x', i, i)")
}

fn fill(stage: &Stage) {
    let (app, platform) = (&stage.world.app_id, stage.world.platform_id);
    let destination = &stage.world.destination_id;
    let [key, user, event, delivery] = ["a", "b", "c", "d"].map(id);
    let body = "json_object('id', i, 'data', json_object('product_ref_id', 'com.example.month', 'state', 'active'))";
    // The newest purchase was accepted an hour ago, each earlier one a second before.
    let at = format!("(unixepoch() - 3600 - {PURCHASES} + i) * 1000000");
    let numbers = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PURCHASES})"
    );
    let filled = |rows: Rows| {
        rows.numbered(1, PURCHASES)
            .sql("collapse_key", &key)
            .sql("created_at", &at)
    };
    let purchases = filled(rows::purchases(platform, app))
        .sql("receipt_id", "'receipt-' || i")
        .sql("updated_at", &at);
    let purchases = purchases
        .sql("app_user_id", "'store-' || i")
        .sql("user_id", &user)
        .text("environment", "sandbox");
    let purchases = purchases.sql("product_id", "'com.example.month' || (i % 40)");
    let events = filled(rows::events())
        .sql("id", &event)
        .text("app_id", app)
        .sql("user_id", &user);
    let events = events
        .sql("user_revision", 1)
        .text("environment", "sandbox")
        .sql("body", body);
    let deliveries = filled(rows::deliveries())
        .sql("id", &delivery)
        .text("destination_id", destination);
    let deliveries = ["next_due_at", "tried_at", "finished_at"]
        .into_iter()
        .fold(deliveries, |rows, column| rows.sql(column, &at));
    let deliveries = deliveries.sql(
        "status",
        "CASE WHEN i % 1000 = 0 THEN 'failed' ELSE 'delivered' END",
    );
    let deliveries = deliveries.sql("event_id", &event).sql("attempts", 1);
    let mut database =
        SqliteConnection::establish(stage.world.installation.database()).expect("the database");
    database
        .batch_execute(&format!(
            "PRAGMA busy_timeout = 20000;
             BEGIN IMMEDIATE;
             INSERT INTO users (id, app_id, external_id, revision, created_at)
                 {numbers} SELECT {user}, '{app}', 'customer-' || i, 1, {at} FROM n;
             {purchases}
             INSERT INTO notifications (platform_id, message_id, receipt_id, collapse_key, store_type, body, accepted_at,
                     due_at, outcome, revision, finished_at)
                 {numbers} SELECT '{platform}', 'message-' || i, 'receipt-' || i, {key}, 'SUBSCRIPTION_PURCHASED', '{{}}',
                     {at}, {at}, 'settled', 1, {at} FROM n;
             {events}
             {deliveries}
             COMMIT;
             ANALYZE;"
        ))
        .expect("a hundred thousand purchases");
}

/// Returns the milliseconds until the first contents of a page are painted.
async fn painted(stage: &Stage, path: &str) -> f64 {
    stage.open(path).await;
    let script = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0";
    wait::until(SOON, "the first paint", async || {
        match stage.browser.run(script).await.as_f64() {
            Some(time) if time > 0.0 => Ok(time),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Returns the medians for a page and for the control, which are loaded alternately.
async fn in_turn(stage: &Stage, path: &str) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..LOADS {
        for (times, path) in times.iter_mut().zip([path, CONTROL]) {
            times.push(painted(stage, path).await);
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[LOADS / 2]
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_painted_soon_with_a_hundred_thousand_purchases() {
    let stage = Stage::start().await;
    fill(&stage);
    let purchase = format!("/ui/purchases/{SHOWN:08x}-0000-4000-8000-a{SHOWN:011x}");
    let destination = format!("/ui/destinations/{}", stage.world.destination_id);
    let catalogue = format!("/ui/apps/{}/catalogue", stage.world.app_id);
    let mut slow = Vec::new();
    for path in [
        "/ui/",
        "/ui/connect",
        "/ui/purchases",
        "/ui/purchases?failing=true",
        purchase.as_str(),
        "/ui/events",
        "/ui/destinations",
        destination.as_str(),
        "/ui/customers",
        catalogue.as_str(),
        "/ui/alarms",
        "/ui/settings",
    ] {
        let [time, control] = in_turn(&stage, path).await;
        println!("{path}: first contents after {time:.0} ms, of the control after {control:.0} ms");
        if time > BOUND_MS.max(control * MAX_FACTOR) {
            slow.push(format!(
                "{path}: {time:.0} ms, and the control {control:.0} ms"
            ));
        }
    }
    assert!(slow.is_empty(), "later than {BOUND_MS} ms: {slow:?}");
    stage.browser.quit().await;
}
