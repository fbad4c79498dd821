//! SIGTERM ends every process within its documented deadline, whatever hangs, and loses nothing.

use std::time::Duration;
use system_tests::process::{Backend, Process};
use system_tests::receiver::Reply;
use system_tests::temporal::Memory;
use system_tests::world::{Setting, World};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

const SERVE: Duration = Duration::from_secs(10);
const WORKER: Duration = Duration::from_secs(30);
/// Tolerance on top of a deadline. On a slow machine it is larger: twice the time that an idle process needs to end.
const MARGIN: Duration = Duration::from_secs(8);

async fn start() -> World {
    World::start(Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        ..Setting::default()
    })
    .await
}

/// Starts an idle process for comparison, which is stopped at the same time.
async fn control(world: &World) -> Process {
    let mut control = world.installation.serve_beside(&[]);
    control.wait_ready().await;
    control
}

/// Returns how long a process takes from SIGTERM to its end.
async fn end(process: &mut Process) -> Duration {
    let began = Instant::now();
    process.terminate();
    let status = process.wait_end().await;
    assert!(
        status.success(),
        "it ended with {status}:\n{}",
        process.log()
    );
    began.elapsed()
}

/// Terminates a process with SIGTERM, checks that it ends within a time, and starts it again.
async fn check_end(
    world: &mut World,
    mut control: Process,
    at: usize,
    command: &str,
    at_most: Duration,
) {
    let (took, usual) = tokio::join!(end(&mut world.processes()[at]), end(&mut control));
    println!("{command} ended after {took:.1?}, and one with nothing to end after {usual:.1?}");
    assert!(
        took <= at_most + MARGIN.max(usual * 2),
        "{command} ended after {took:?}, the control after {usual:?}"
    );
    world.processes()[at] = world.installation.start(&[command], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serve_ends_in_time_beside_a_body_that_never_ends() {
    let mut world = start().await;
    let message = world.send("SUBSCRIPTION_PURCHASED", "slow").await;
    let control = control(&world).await;
    let url = world.notification_url.clone();
    let (address, path) = url
        .trim_start_matches("http://")
        .split_once('/')
        .expect("a path");
    let mut slow = TcpStream::connect(address).await.expect("a connection");
    let head =
        format!("POST /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 1000\r\n\r\nfirst");
    slow.write_all(head.as_bytes())
        .await
        .expect("settle receives");
    check_end(&mut world, control, 0, "serve", SERVE).await;
    world.processes()[0].wait_connected().await;
    world.wait_outcome(&message).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_in_time_beside_an_endpoint_that_hangs() {
    let mut world = start().await;
    let control = control(&world).await;
    world.receiver.answer_first("hangs", Reply::Hang);
    let message = world.send("SUBSCRIPTION_PURCHASED", "hangs").await;
    world.wait_received("hangs", 1).await;
    check_end(&mut world, control, 1, "worker", WORKER).await;
    world.receiver.release();
    world.wait_outcome(&message).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_in_time_while_temporal_hangs() {
    let memory = Memory::Volatile;
    let setting = Setting {
        backend: Backend::Postgres,
        memory,
        window_seconds: 1,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.send("SUBSCRIPTION_PURCHASED", "frozen").await;
    world.wait_received("frozen", 1).await;
    let control = control(&world).await;
    world.temporal.freeze();
    check_end(&mut world, control, 1, "worker", WORKER).await;
    world.temporal.thaw();
    world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "frozen").await;
    world.wait_acked("frozen", 2).await;
    world.finish().await;
}
