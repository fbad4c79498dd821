//! An installation of an earlier release with work of all kinds in progress is upgraded under load: all at once,
//! process by process with both releases side by side, and back. Nothing is lost, duplicated or reordered, and `settle
//! check` finds nothing. A store that the earlier release does not know is connected once all processes know it.
//!
//! The later release is the program under test with planted migrations, with each kind of step, and a planted change of
//! the purchases' workflow. The earlier one is the program that `SETTLE_TEST_EARLIER` names or, without it, the program
//! under test with nothing planted. `.ci/release` builds it from the commit of the last release and runs this: `cargo
//! test --release --workspace --test upgrade -- --nocapture --test-threads=1`.

mod filled;
mod google;
mod site;

use site::{Release, Site};
use std::time::Duration;
use system_tests::process::Backend;

/// Time of undisturbed load before and after an upgrade.
const CALM: Duration = Duration::from_secs(10);

async fn at_once(backend: Backend) {
    let mut site = Site::start(backend).await;
    site.phase("the earlier release", async |site| {
        let first = site.names()[0];
        site.refuse_google(first, 400).await;
        site.pass(CALM).await;
    })
    .await;
    site.phase("upgraded at once", async |site| {
        site.stop_all().await;
        site.migrate();
        site.start_all(Release::Later).await;
    })
    .await;
    site.phase("the later release", async |site| {
        site.connect_google().await;
        site.pass(CALM).await;
    })
    .await;
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_at_once_on_sqlite_loses_and_doubles_nothing() {
    at_once(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_at_once_on_postgresql_loses_and_doubles_nothing() {
    at_once(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_loses_and_doubles_nothing() {
    let mut site = Site::start(Backend::Postgres).await;
    site.phase("the earlier release", async |site| site.pass(CALM).await)
        .await;
    site.phase("migrated", async |site| site.migrate()).await;
    // The earlier release can use the later one's tables, so a crash of one of its processes heals by itself.
    for name in ["worker-b", "serve-b"] {
        let crashed = format!("{name} of the earlier release crashed");
        site.phase(&crashed, async |site| {
            site.crash(name, Release::Earlier).await
        })
        .await;
    }
    site.phase("worker-a upgraded", async |site| {
        site.replace("worker-a", Release::Later).await
    })
    .await;
    site.phase("worker-a crashed", async |site| {
        site.crash("worker-a", Release::Later).await
    })
    .await;
    // The dead worker's runs go to a worker that cannot continue them, and wait until it is back.
    site.phase("worker-a died, and came back", async |site| {
        site.strand("worker-a").await
    })
    .await;
    site.phase("serve-a upgraded", async |site| {
        site.replace("serve-a", Release::Later).await;
        site.refuse_google("serve-a", 409).await;
        site.refuse_google("serve-b", 400).await;
    })
    .await;
    for name in ["worker-b", "serve-b"] {
        site.phase(&format!("{name} upgraded"), async |site| {
            site.replace(name, Release::Later).await
        })
        .await;
    }
    site.phase("the later release", async |site| {
        site.connect_google().await;
        site.pass(CALM).await;
    })
    .await;
    site.finish().await;
}

async fn and_back(backend: Backend) {
    let mut site = Site::start(backend).await;
    site.phase("upgraded at once", async |site| {
        site.stop_all().await;
        site.migrate();
        site.start_all(Release::LaterWithTheSameWorkflows).await;
        site.connect_google().await;
    })
    .await;
    site.phase("back at once", async |site| {
        site.leave_google_waiting().await;
        site.stop_all().await;
        site.note_google();
        site.start_all(Release::Earlier).await;
    })
    .await;
    site.phase("the earlier release", async |site| {
        site.complete().await;
        site.check_google_waits().await;
    })
    .await;
    site.phase("forward again", async |site| {
        site.stop_all().await;
        site.resume_google();
        site.start_all(Release::LaterWithTheSameWorkflows).await;
        site.push_again().await;
    })
    .await;
    site.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_on_sqlite_loses_and_doubles_nothing() {
    and_back(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_on_postgresql_loses_and_doubles_nothing() {
    and_back(Backend::Postgres).await;
}
