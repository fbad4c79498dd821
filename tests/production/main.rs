//! Runs `docker-compose.temporal.yml` without a container engine: its programs, variables, ports and health checks, on
//! a Temporal Server built from its public Go module, and on PostgreSQL. Under load, every process is restarted in
//! turn, including both databases and the Temporal Server, and history shards move between two Temporal Servers:
//! nothing is lost or duplicated. Run it by name: `cargo test --release --workspace --test production -- --nocapture
//! --test-threads=1`.
//!
//! In addition to the file, settle's services get `SETTLE_CONFIG` with the certificate of the test's store, which would
//! otherwise be fetched from AWS, and with this machine as an allowed network for webhooks. `SETTLE_TEST_IMAGE` names a
//! buildah image from which to start them instead of the program under test, as `.ci/image` does.

mod door;
mod fleet;
mod image;
mod site;
mod tools;
mod verdict;

use site::Site;
use std::time::Duration;

/// Messages per second; settle, its services and the sender share the cores of one machine.
const PER_SECOND: f64 = 24.0;
/// Time of undisturbed load before the first and after the last restart.
const CALM: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_everything_under_load_lose_and_double_nothing() {
    let mut site = Site::start(PER_SECOND).await;
    site.phase("undisturbed", async |site| site.pass(CALM).await)
        .await;
    for name in ["serve-a", "serve-b", "worker-a", "worker-b"] {
        site.phase(&format!("{name} restarted"), async |site| {
            site.restart(name).await
        })
        .await;
    }
    for name in ["settle-postgresql", "temporal-postgresql", "temporal"] {
        site.phase(&format!("{name} restarted"), async |site| {
            site.restart(name).await
        })
        .await;
    }
    site.phase("a second Temporal Server joined", async |site| {
        site.join_temporal().await
    })
    .await;
    site.phase("the first Temporal Server stopped", async |site| {
        site.leave_temporal().await
    })
    .await;
    site.phase("undisturbed again", async |site| site.pass(CALM).await)
        .await;
    site.finish().await;
}

/// Short, so that settle's freshly built image can be checked with it.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_events_arrive() {
    let mut site = Site::start(PER_SECOND).await;
    site.phase("first events", async |site| site.pass(Duration::ZERO).await)
        .await;
    for name in ["serve-a", "worker-a"] {
        site.phase(&format!("{name} restarted"), async |site| {
            site.restart(name).await
        })
        .await;
    }
    site.finish().await;
}
