//! Connections that are held open.

use super::crowd::{Part, hold};
use super::target::Target;
use super::witness::Witness;
use std::sync::atomic::Ordering;

pub const MIB: usize = 1024 * 1024;
/// The bytes that a slow body sends every second.
pub static PIECE: [u8; 32 * 1024] = [b' '; 32 * 1024];

/// Holds this number of connections open while notifications arrive.
async fn withstand(target: Target, count: usize, part: Part) {
    let (counts, witness) = Witness::watch(&target, hold(target.public(), count, part)).await;
    assert!(counts.opened.load(Ordering::Relaxed) >= count, "{counts:?}");
    assert!(
        counts.closed.load(Ordering::Relaxed) > 0,
        "settle closes some: {counts:?}"
    );
    target.finish(&witness.receipts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_half_open_heads_hold_nothing_up() {
    let target = Target::start().await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: settle\r\n",
        target.ingress_path()
    );
    withstand(
        target,
        2000,
        Part {
            first: head.into_bytes(),
            then: b"x-more: 1\r\n",
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_bodies_of_two_mebibytes_hold_nothing_up() {
    let target = Target::start().await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: settle\r\ncontent-length: {}\r\n\r\n",
        target.ingress_path(),
        2 * MIB
    );
    // Together they announce two gibibytes, and have sent 48 MiB after two seconds.
    withstand(
        target,
        1000,
        Part {
            first: head.into_bytes(),
            then: &PIECE,
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eleven_hundred_idle_connections_hold_nothing_up() {
    let target = Target::start().await;
    let request = b"GET /livez HTTP/1.1\r\nhost: settle\r\n\r\n".to_vec();
    withstand(
        target,
        1100,
        Part {
            first: request,
            then: b"",
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_prefaces_of_http_2_hold_nothing_up() {
    let target = Target::start().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    withstand(
        target,
        500,
        Part {
            first: preface,
            then: b"\0\0\0\x04\0\0\0\0\0",
        },
    )
    .await;
}
