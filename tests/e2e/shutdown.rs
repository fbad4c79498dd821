//! SIGTERM ends every process within its documented deadline, whatever hangs beside it, and loses nothing.

use std::time::Duration;
use system_tests::process::Backend;
use system_tests::receiver::Reply;
use system_tests::temporal::Memory;
use system_tests::world::{Setting, World};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The documented deadlines, and what a busy machine adds.
const SERVE: Duration = Duration::from_secs(10);
const WORKER: Duration = Duration::from_secs(30);
const BUSY: Duration = Duration::from_secs(8);

async fn start() -> World {
    World::start(Setting { backend: Backend::Postgres, window_seconds: 1, ..Setting::default() }).await
}

/// Ends a process by SIGTERM, checks that it ends well within a time, and starts it again.
async fn check_end(world: &mut World, at: usize, (command, at_most): (&str, Duration)) {
    let began = Instant::now();
    world.processes()[at].terminate();
    let status = world.processes()[at].wait_end().await;
    let took = began.elapsed();
    println!("{command} ended after {took:.1?}");
    assert!(status.success(), "{command} ended with {status}:\n{}", world.processes()[at].log());
    assert!(took <= at_most + BUSY, "{command} ended after {took:?}");
    world.processes()[at] = world.installation.start(&[command], &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serve_ends_in_time_beside_a_body_that_never_ends() {
    let mut world = start().await;
    let message = world.send("SUBSCRIPTION_PURCHASED", "slow").await;
    let url = world.notification_url.clone();
    let (address, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
    let mut slow = TcpStream::connect(address).await.expect("a connection");
    let head = format!("POST /{path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 1000\r\n\r\nfirst");
    slow.write_all(head.as_bytes()).await.expect("settle receives");
    check_end(&mut world, 0, ("serve", SERVE)).await;
    world.processes()[0].wait_connected().await;
    world.wait_outcome(&message).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_in_time_beside_an_endpoint_that_hangs() {
    let mut world = start().await;
    world.receiver.answer_first("hangs", Reply::Hang);
    let message = world.send("SUBSCRIPTION_PURCHASED", "hangs").await;
    world.wait_received("hangs", 1).await;
    check_end(&mut world, 1, ("worker", WORKER)).await;
    world.receiver.release();
    world.wait_outcome(&message).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_in_time_while_temporal_hangs() {
    let memory = Memory::Volatile;
    let setting = Setting { backend: Backend::Postgres, memory, window_seconds: 1, ..Setting::default() };
    let mut world = World::start(setting).await;
    world.send("SUBSCRIPTION_PURCHASED", "frozen").await;
    world.wait_received("frozen", 1).await;
    world.temporal.freeze();
    check_end(&mut world, 1, ("worker", WORKER)).await;
    world.temporal.thaw();
    world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "frozen").await;
    world.wait_acked("frozen", 2).await;
    world.finish().await;
}
