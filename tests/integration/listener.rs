//! The listeners of a running settle: what each serves, and the limits on connections.

use api::clock;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use system_tests::http::{Api, post_as_sns, send_raw, text};
use system_tests::process::{Backend, Installation, Process};
use system_tests::sns::{PACKAGE, Rtn, Sns, TOPIC};
use system_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// A port of 127.0.0.1 (discard) on which no Temporal listens; these tests do not need one.
const NO_TEMPORAL: &str = "127.0.0.1:9";
/// Time limit for an answer or the end of a connection.
const PATIENCE: Duration = Duration::from_secs(180);

async fn start(variables: &[(&str, &str)]) -> (Installation, Process) {
    let installation = Installation::new(Backend::Sqlite, NO_TEMPORAL, &Sns::new());
    let mut process = installation.start(&["run"], variables);
    process.wait_ready().await;
    (installation, process)
}

/// Creates a platform, and returns its notification URL.
pub async fn platform(api: &Api) -> String {
    text(&add_platform(api).await, "notification_url")
}

async fn add_platform(api: &Api) -> Value {
    let name = format!("tests {}", clock::random_uuid());
    let app = api.post("/v1/apps", &json!({ "name": name })).await.ok();
    let body =
        json!({ "store": "amazon", "name": "fire", "package_name": PACKAGE, "topic_arn": TOPIC });
    let path = format!("/v1/apps/{}/platforms", app["id"].as_str().expect("an id"));
    api.post(&path, &body).await.ok()
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://")
        .parse()
        .expect("an address")
}

/// Sends bytes, and returns everything received until settle closes the connection.
async fn exchange(url: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address(url))
        .await
        .expect("a connection");
    stream.write_all(bytes).await.expect("settle receives");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    // A connection closed with unread bytes is reset: the bytes received before that count.
    drop(read.expect("settle closes the connection"));
    String::from_utf8_lossy(&answer).into_owned()
}

async fn status(url: &str, token: &str) -> u16 {
    let headers = [("authorization", format!("Bearer {token}"))];
    send_raw(reqwest::Method::GET, url, &headers, Vec::new())
        .await
        .expect("an answer")
        .status
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_reaches_stores_devices_and_schemas_alone() {
    let (installation, _process) = start(&[]).await;
    let (public, admin, token) = (
        installation.public_url(),
        installation.url(),
        &installation.token,
    );
    for path in ["/livez", "/openapi/device.json", "/api/v1/events/schema/"] {
        assert_eq!(
            (
                status(&format!("{public}{path}"), token).await,
                status(&format!("{admin}{path}"), token).await
            ),
            (200, 200)
        );
    }
    for path in [
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/v1/apps",
        "/v1/alarms",
    ] {
        assert_eq!(
            status(&format!("{public}{path}"), token).await,
            404,
            "{path} for everybody"
        );
        assert_eq!(
            status(&format!("{admin}{path}"), token).await,
            200,
            "{path} at the API"
        );
    }
    assert_eq!(
        status(&format!("{public}/v1/device/entitlements"), "pk_none").await,
        401
    );
    let url = platform(&installation.api()).await;
    assert!(url.starts_with(&public), "{url}");
    let message = Sns::new().notification(&Rtn::new("SUBSCRIPTION_PURCHASED", "r1"));
    assert_eq!(
        post_as_sns(&url, &message.body)
            .await
            .expect("an answer")
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_serves_everything_by_a_setting() {
    let installation =
        Installation::new(Backend::Sqlite, NO_TEMPORAL, &Sns::new()).with_one_address();
    let mut process = installation.start(&["run"], &[]);
    process.wait_ready().await;
    let url = installation.url();
    assert_eq!(url, installation.public_url());
    for path in ["/livez", "/readyz", "/metrics", "/v1/apps"] {
        assert_eq!(
            status(&format!("{url}{path}"), &installation.token).await,
            200,
            "{path}"
        );
    }
    assert!(
        process
            .log()
            .contains(&format!("settle accepts notifications at {url}; ")),
        "{}",
        process.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_ingress_key_is_refused_before_its_body() {
    let (installation, _process) = start(&[]).await;
    let known = platform(&installation.api())
        .await
        .replace(&installation.public_url(), "");
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: settle\r\ncontent-length: 100000\r\n\r\n")
    };
    let answer = exchange(
        &installation.public_url(),
        head("/v1/stores/amazon/unknown").as_bytes(),
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.contains("unknown ingress key"),
        "{answer}"
    );
    let no_store = exchange(
        &installation.public_url(),
        head("/v1/stores/nobody/unknown").as_bytes(),
    )
    .await;
    assert!(no_store.starts_with("HTTP/1.1 404"), "{no_store}");
    let mut stream = TcpStream::connect(address(&installation.public_url()))
        .await
        .expect("a connection");
    stream
        .write_all(head(&known).as_bytes())
        .await
        .expect("settle receives");
    let early = timeout(Duration::from_millis(500), stream.read_u8()).await;
    assert!(early.is_err(), "the body of a known key is awaited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_sixteen_kibibytes_and_ten_seconds() {
    let (installation, _process) = start(&[]).await;
    let url = installation.public_url();
    let head = |bytes: usize| {
        format!(
            "GET /livez HTTP/1.1\r\nhost: settle\r\nconnection: close\r\nx-long: {}\r\n\r\n",
            "a".repeat(bytes)
        )
    };
    assert!(
        exchange(&url, head(15 * 1024).as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(
        exchange(&url, head(17 * 1024).as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    // Idle connections are closed after a minute: those without a complete head are closed earlier, however slow the
    // machine is.
    let mut idle = answered(&url).await;
    let began = Instant::now();
    let (half, nothing) = tokio::join!(
        exchange(&url, b"GET /livez HTTP/1.1\r\nhost: set"),
        exchange(&url, b"")
    );
    let took = began.elapsed();
    assert_eq!((half.as_str(), nothing.as_str()), ("", ""));
    assert!(took > Duration::from_millis(9_500), "closed after {took:?}");
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: settle\r\nconnection: close\r\n\r\n")
        .await
        .expect("settle receives");
    let mut rest = String::new();
    timeout(PATIENCE, idle.read_to_string(&mut rest))
        .await
        .expect("in time")
        .expect("an answer");
    assert!(
        rest.contains("HTTP/1.1 200"),
        "the idle connection was closed as early as the others: {rest}"
    );
}

/// Returns a connection on which one request was answered, and which stays open.
async fn answered(url: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address(url))
        .await
        .expect("a connection");
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: settle\r\n\r\n")
        .await
        .expect("settle receives");
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_host() {
    let (installation, _process) = start(&[]).await;
    for url in [installation.public_url(), installation.url()] {
        for hosts in [
            "",
            "host: settle\r\nhost: settle\r\n",
            "host: settle\r\nHost: other\r\n",
        ] {
            let answer = exchange(
                &url,
                format!("GET /livez HTTP/1.1\r\n{hosts}\r\n").as_bytes(),
            )
            .await;
            assert!(
                answer.starts_with("HTTP/1.1 400") && answer.contains("one `Host` header"),
                "{hosts:?}: {answer}"
            );
        }
        let old = exchange(&url, b"GET /livez HTTP/1.0\r\n\r\n").await;
        assert!(old.starts_with("HTTP/1.0 200"), "{old}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_versions_of_http_are_refused() {
    let (installation, _process) = start(&[]).await;
    for url in [installation.public_url(), installation.url()] {
        let answer = exchange(
            &url,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        )
        .await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer:?}"
        );
        let upgrade = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
                        http2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
        let mut stream = TcpStream::connect(address(&url))
            .await
            .expect("a connection");
        stream.write_all(upgrade).await.expect("settle receives");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_close_the_oldest_idle_one() {
    let (installation, _process) = start(&[("SETTLE_CONNECTIONS", "16")]).await;
    let url = installation.public_url();
    let mut all = Vec::new();
    for _ in 0..9 {
        all.push(answered(&url).await);
    }
    // An address may have half of the sixteen connections, so the ninth closes the first.
    let mut rest = Vec::new();
    timeout(PATIENCE, all[0].read_to_end(&mut rest))
        .await
        .expect("the first one is closed")
        .expect("its end");
    let mut open = all.pop().expect("the last one");
    open.write_all(b"GET /livez HTTP/1.1\r\nhost: settle\r\nconnection: close\r\n\r\n")
        .await
        .expect("settle receives");
    let mut answers = String::new();
    open.read_to_string(&mut answers).await.expect("an answer");
    assert!(answers.contains("HTTP/1.1 200"), "{answers}");
    let shown =
        "settle_connections_closed_total{listener=\"public\",why=\"room\",phase=\"idle\"} 1";
    let metrics = installation.api().get("/metrics").await.body;
    assert!(
        metrics.as_str().is_some_and(|text| text.contains(shown)),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_writes_nothing() {
    let (installation, process) = start(&[]).await;
    let log = format!("{}-wal", installation.database());
    let size = || std::fs::read(&log).expect("the write-ahead log");
    let api = installation.api();
    // Writes caused by the start end at some point.
    let began = clock::now();
    wait::until(PATIENCE, "thirty probes that write nothing", async || {
        let before = size();
        for _ in 0..30 {
            assert_eq!(api.get("/readyz").await.status, 200);
        }
        if size() == before {
            Ok(())
        } else {
            Err(format!("written since {began}: {}", process.log()))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_needs_neither_a_token_nor_another_program() {
    let (installation, _process) = start(&[]).await;
    for (url, path, code) in [
        (installation.url(), "/readyz", 0),
        (installation.public_url(), "/livez", 0),
        (installation.public_url(), "/readyz", 1),
        ("http://127.0.0.1:9".to_owned(), "/livez", 1),
    ] {
        let output = installation.call(&["healthy", &format!("{url}{path}")]);
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{url}{path}: {line}");
        assert_eq!(line.is_empty(), code == 0, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_key_leave_readyz_its_place() {
    let (installation, _process) = start(&[]).await;
    let (api, url) = (installation.api(), installation.url());
    let key = text(
        &api.post("/v1/keys", &json!({ "name": "reader", "role": "read" }))
            .await
            .ok(),
        "key",
    );
    let head =
        format!("GET /v1/live HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\r\n");
    // More streams than that listener's connections.
    let (mut all, mut streams) = (Vec::new(), 0);
    for number in 0..260 {
        let mut stream = TcpStream::connect(address(&url))
            .await
            .expect("a connection");
        stream
            .write_all(head.as_bytes())
            .await
            .expect("settle receives");
        let mut first = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut first))
            .await
            .expect("an answer in time")
            .expect("an answer");
        match &first {
            b"HTTP/1.1 200" => streams += 1,
            b"HTTP/1.1 429" => {}
            _ => panic!("{number}: {}", String::from_utf8_lossy(&first)),
        }
        all.push(stream);
    }
    assert_eq!(streams, 4);
    assert_eq!(api.get("/readyz").await.status, 200);
    // A stream that its client closes frees its place.
    drop(all);
    wait::until(PATIENCE, "a place is free", async || {
        begins(&url, &head).await
    })
    .await;
}

/// Sends a head; returns `Ok` if the answer is a 200, whose body may be endless.
async fn begins(url: &str, head: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(address(url))
        .await
        .expect("a connection");
    stream
        .write_all(head.as_bytes())
        .await
        .expect("settle receives");
    let mut first = [0; 12];
    stream
        .read_exact(&mut first)
        .await
        .map_err(|error| error.to_string())?;
    if &first == b"HTTP/1.1 200" {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&first).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_devices_hold_no_place() {
    let (installation, _process) = start(&[]).await;
    let (api, url) = (installation.api(), installation.public_url());
    let platform = format!("/v1/platforms/{}", text(&add_platform(&api).await, "id"));
    let key = text(&api.get(&platform).await.ok(), "publishable_key");
    let body = json!({
        "device": {
            "id": "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11", "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1",
            "sdk_version": "web/1", "os": { "name": "fireos", "version": "8" },
        },
        "sent_at": "2026-11-20T12:00:00Z",
        "events": [],
    });
    let body = body.to_string();
    let head = |more: &str| {
        format!(
            "POST /v1/device/events HTTP/1.1\r\nhost: settle\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n",
            body.len()
        )
    };
    // More requests than an address may have in progress. Settle waits for each one's body, which never arrives.
    let mut slow = Vec::new();
    for number in 0..16 {
        let mut stream = TcpStream::connect(address(&url))
            .await
            .expect("a connection");
        stream
            .write_all(head("expect: 100-continue\r\n").as_bytes())
            .await
            .expect("settle receives");
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.expect("an answer");
        assert_eq!(
            String::from_utf8_lossy(&first),
            "HTTP/1.1 100",
            "request {number}"
        );
        slow.push(stream);
    }
    let answer = exchange(&url, format!("{}{body}", head("")).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_for_devices_has_a_tag_and_counts_its_readers() {
    let (installation, _process) =
        start(&[("SETTLE_DEVICES_REQUESTS_PER_SECOND_AND_ADDRESS", "1")]).await;
    check_document(&installation.public_url(), "/openapi/device.json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_document_is_written_once() {
    let (installation, _process) =
        start(&[("SETTLE_DEVICES_REQUESTS_PER_SECOND_AND_ADDRESS", "1")]).await;
    check_document(&installation.url(), "/openapi.json").await;
}

/// Requests a document without a key until the address is refused.
async fn check_document(url: &str, path: &str) {
    let host = url.trim_start_matches("http://");
    let read = async |tag: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        exchange(
            url,
            format!("{head}if-none-match: {tag}\r\n\r\n").as_bytes(),
        )
        .await
    };
    let first = read("\"none\"").await;
    assert!(
        first.starts_with("HTTP/1.1 200") && first.contains("/v1/device/events"),
        "{first}"
    );
    let tag = first
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("a tag");
    let known = read(tag).await;
    assert!(
        known.starts_with("HTTP/1.1 304") && !known.contains("/v1/device"),
        "{known}"
    );
    wait::until(PATIENCE, "an address that asks too often", async || {
        let answer = read(tag).await;
        if answer.starts_with("HTTP/1.1 429") {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_nobody_named_is_warned_of_once() {
    let (installation, process) = start(&[]).await;
    let request = "GET /openapi/device.json HTTP/1.1\r\nhost: settle\r\nconnection: close\r\n\
                   x-forwarded-for: 203.0.113.1\r\n\r\n";
    for _ in 0..3 {
        let answer = exchange(&installation.public_url(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let metrics = installation.api().get("/metrics").await.body;
    let counted = "settle_unknown_proxy_requests_total 3";
    assert!(
        metrics.as_str().is_some_and(|text| text.contains(counted)),
        "{metrics}"
    );
    assert_eq!(
        process.log().matches("X-Forwarded-For").count(),
        1,
        "{}",
        process.log()
    );
}
