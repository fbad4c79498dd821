//! Database calls that wait for another session: each is logged while it waits, and counted, and continues when that
//! session is done.

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use system_tests::http::{Api, post_as_sns};
use system_tests::ports;
use system_tests::postgres::Hold;
use system_tests::process::{Backend, Process};
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const LINE: &str = "a call of the database takes more than two seconds";
const COUNTER: &str = "settle_database_long_calls_total";

/// Returns the log lines about long calls that contain these parts.
fn lines(process: &Process, parts: &[&str]) -> Vec<String> {
    let log = process.log();
    let lines = log
        .lines()
        .filter(|line| line.contains(LINE) && parts.iter().all(|part| line.contains(part)));
    lines.map(str::to_owned).collect()
}

/// Waits for a line about a long call that contains these parts, and returns it.
async fn wait_line(process: &Process, parts: &[&str]) -> String {
    wait::until(SOON, "a line about a long call", async || {
        lines(process, parts).pop().ok_or_else(|| process.log())
    })
    .await
}

/// Waits until a long call for this purpose was counted.
async fn wait_counted(metrics: &Api, purpose: &str, waits_for: &str) {
    let wanted = format!("{COUNTER}{{purpose=\"{purpose}\",waits_for=\"{waits_for}\"}} ");
    wait::until(SOON, "a count of long calls", async || {
        let answer = metrics.try_get("/metrics").await?;
        let page = answer.body.as_str().unwrap_or_default();
        if page.contains(&wanted) {
            Ok(())
        } else {
            Err(format!("`{wanted}` is not in\n{page}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_waits_for_a_lock_names_its_blocker() {
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let address = format!("127.0.0.1:{}", ports::free());
    *world.worker() = world
        .installation
        .start(&["worker", "--metrics", &address], &[]);
    let metrics = Api::new(&format!("http://{address}"), "");
    world.send("SUBSCRIPTION_PURCHASED", "locked").await;
    world.wait_acked("locked", 1).await;

    let rows = format!("purchases WHERE collapse_key = '{}'", world.key("locked"));
    let mut hold = Hold::on(world.installation.database(), &rows)
        .await
        .expect("a lock");
    assert_eq!(hold.rows, 1);
    let blocker = hold.backend().expect("its process id");
    world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "locked").await;
    let wanted = ["purpose=\"record\"", "waits_for=\"statement\""];
    let line = wait_line(world.worker(), &wanted).await;
    for part in [
        "step=purchases/purchase.rs:".to_owned(),
        "backend.state=\"active Lock ".to_owned(),
        format!("blockers=\"{blocker} (idle in transaction Client ClientRead "),
    ] {
        assert!(line.contains(&part), "`{part}` is not in {line}");
    }
    assert!(!line.contains(&world.key("locked").to_string()), "{line}");
    wait_counted(&metrics, "record", "statement").await;
    hold.release().expect("an end of the lock");
    world.wait_acked("locked", 2).await;
    let lines = lines(world.worker(), &wanted);
    assert_eq!(lines.len(), 1, "{lines:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_for_the_file_is_logged() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    let mut other =
        SqliteConnection::establish(world.installation.database()).expect("the database");
    // settle may be writing at this moment.
    other
        .batch_execute("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE")
        .expect("the lock of the file");
    let message = world
        .sns
        .notification(&Rtn::new("SUBSCRIPTION_PURCHASED", "locked"));
    let (url, body) = (world.notification_url.clone(), message.body.clone());
    let posting = tokio::spawn(async move { post_as_sns(&url, &body).await });
    // Of several waiting jobs, the first one is logged.
    let line = wait_line(world.worker(), &["waits_for=\"begin\""]).await;
    assert!(!line.contains("backend"), "{line}");
    other.batch_execute("COMMIT").expect("the end of the lock");
    posting.await.expect("no panic").expect("an answer");
    world.post_until_accepted(&message).await;
    world.wait_acked("locked", 1).await;
    world.finish().await;
}
