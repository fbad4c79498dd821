//! The connections of `settle codec`. What it converts, and who may have it: `tests/e2e/encrypted.rs`.

use super::listener::{PATIENCE, address, exchange, start};
use serde_json::json;
use std::time::Duration;
use system_tests::process::{Installation, Process};
use system_tests::{ports, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Larger than what the system buffers of a connection.
const BODY_BYTES: usize = 12_000_000;
const OWN_KEY: &str = "2121212121212121212121212121212121212121212121212121212121212121";

/// A running codec server of a service, and its URL.
async fn serve(installation: &Installation) -> (Process, String) {
    let listen = format!("127.0.0.1:{}", ports::free());
    let process = installation.start(&["codec", "--listen", &listen], &[("SETTLE_ENGINE_KEY", OWN_KEY)]);
    wait::until(PATIENCE, "the codec server", async || {
        TcpStream::connect(&listen).await.map(drop).map_err(|error| format!("{error}: {}", process.log()))
    })
    .await;
    (process, format!("http://{listen}"))
}

fn head(authorization: &str) -> String {
    format!(
        "POST /decode HTTP/1.1\r\nhost: codec\r\ncontent-type: application/json\r\n{authorization}\
         content-length: {BODY_BYTES}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_read_before_its_sender_may_read_payloads() {
    let (installation, _service) = start(&[]).await;
    let (_process, url) = serve(&installation).await;
    let api = installation.api();
    let key = json!({ "name": "reader", "role": "read" });
    let key = api.post("/v1/keys", &key).await.ok()["key"].as_str().expect("a key").to_owned();
    for (authorization, status) in [
        (String::new(), "401"),
        ("authorization: Bearer sk_nobody\r\n".to_owned(), "401"),
        (format!("authorization: Bearer {key}\r\n"), "403"),
    ] {
        let answer = exchange(&url, head(&authorization).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{authorization}: {answer}");
    }
    let allowed = head(&format!("authorization: Bearer {}\r\n", installation.token));
    let mut stream = TcpStream::connect(address(&url)).await.expect("a connection");
    stream.write_all(allowed.as_bytes()).await.expect("the head is received");
    let early = timeout(Duration::from_secs(1), stream.read_u8()).await;
    assert!(early.is_err(), "the body of somebody who may read is awaited");
    let body = json!({ "payloads": [{ "data": "" }] }).to_string();
    let padding = " ".repeat(BODY_BYTES - body.len());
    stream.write_all((body + &padding).as_bytes()).await.expect("the body is received");
    let mut first = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut first)).await.expect("in time").expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_codec_server_is_a_listener_with_its_limits() {
    let (installation, _service) = start(&[]).await;
    let (mut process, url) = serve(&installation).await;
    let answer = exchange(&url, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    let long = format!("GET /decode HTTP/1.1\r\nconnection: close\r\nx-long: {}\r\n\r\n", "a".repeat(17 * 1024));
    assert!(exchange(&url, long.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let began = Instant::now();
    assert_eq!(exchange(&url, b"POST /decode HTTP/1.1\r\nhost: cod").await, "");
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(18)).contains(&took), "{took:?} for a head");

    // A request that does not end keeps the process no longer than ten seconds.
    let mut stream = TcpStream::connect(address(&url)).await.expect("a connection");
    let allowed = head(&format!("authorization: Bearer {}\r\n", installation.token));
    stream.write_all(allowed.as_bytes()).await.expect("the head is received");
    let early = timeout(Duration::from_secs(1), stream.read_u8()).await;
    assert!(early.is_err(), "its body is awaited");
    let began = Instant::now();
    process.terminate();
    assert!(process.wait_end().await.success(), "{}", process.log());
    let took = began.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert!(process.log().contains("requests were cut off"), "{}", process.log());
}
