//! I8, checked from outside the program: a sync to disk completes between each notification and its 200, and between each
//! report of a device and its 200.
//!
//! Needs `strace`; `.ci/run` installs it and runs this by name: `cargo test --workspace --test durability`.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::process::{Backend, Installation, Trace, Variable};
use system_tests::sns::{PACKAGE, Rtn, Sns, TOPIC};
use system_tests::temporal::{Memory, Temporal};
use system_tests::{http, wait};

const CALLS: &str = "fsync,fdatasync,read,recvfrom,readv,write,writev,sendto,sendmsg";
const REQUESTS: u32 = 20;
const SOON: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Notifications,
    Reports,
}

/// The relevant events of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Request,
    Synced,
    Acknowledged,
}

/// Returns the requests, completed syncs and acknowledgements of a trace, in order.
fn seen(trace: &str) -> Vec<Seen> {
    trace.lines().filter_map(event).collect()
}

fn event(line: &str) -> Option<Seen> {
    let call = line.split_once(' ')?.1.trim_start();
    let is_done = |name: &str| {
        call.starts_with(&format!("{name}(")) || call.starts_with(&format!("<... {name} resumed>"))
    };
    // A sync counts when it has returned, and only if it succeeded.
    if (is_done("fsync") || is_done("fdatasync")) && call.ends_with("= 0") {
        return Some(Seen::Synced);
    }
    // A read counts when its bytes have arrived, a write as soon as it begins.
    if call.contains("\"POST /v1/stores/") || call.contains("\"POST /v1/device/events") {
        return Some(Seen::Request);
    }
    call.contains("\"HTTP/1.1 200")
        .then_some(Seen::Acknowledged)
}

/// Returns the number of acknowledged requests; an error if one was acknowledged without a sync after the request.
fn check(seen: &[Seen]) -> Result<usize, String> {
    let (mut open, mut is_synced, mut acknowledged) = (false, false, 0);
    for (at, event) in seen.iter().enumerate() {
        match event {
            Seen::Request => (open, is_synced) = (true, false),
            Seen::Synced => is_synced = true,
            Seen::Acknowledged if open && !is_synced => {
                return Err(format!("no sync before the 200 at {at}: {seen:?}"));
            }
            Seen::Acknowledged if open => (open, acknowledged) = (false, acknowledged + 1),
            Seen::Acknowledged => {}
        }
    }
    Ok(acknowledged)
}

async fn platform(api: &http::Api) -> Value {
    let app = api
        .post("/v1/apps", &json!({ "name": "durability" }))
        .await
        .ok();
    let body =
        json!({ "store": "amazon", "name": "tests", "package_name": PACKAGE, "topic_arn": TOPIC });
    let path = format!("/v1/apps/{}/platforms", app["id"].as_str().expect("an id"));
    api.post(&path, &body).await.ok()
}

/// Sends one request after the other, so that each sync belongs to one of them.
async fn send(sent: Sent, sns: &Sns, api: &http::Api) {
    let platform = platform(api).await;
    let text = |field: &str| platform[field].as_str().expect("a text").to_owned();
    let devices = Devices::with_key(api, &text("publishable_key"));
    for number in 0..REQUESTS {
        let answer = match sent {
            Sent::Notifications => {
                let message = sns.notification(&Rtn::new(
                    "SUBSCRIPTION_PURCHASED",
                    &format!("receipt-{number}"),
                ));
                http::post_as_sns(&text("notification_url"), &message.body)
                    .await
                    .expect("an answer")
            }
            Sent::Reports => {
                devices
                    .report(Device(number), &Device(number).visit())
                    .await
            }
        };
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

fn read(trace: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(trace).unwrap_or_default()).into_owned()
}

/// Runs settle under `strace` with these variables, sends requests, and returns the result of [`check`].
async fn traced(sent: Sent, variables: &[Variable<'_>]) -> Result<usize, String> {
    let temporal = Temporal::start(Memory::Volatile).await;
    let sns = Sns::new();
    let installation = Installation::new(Backend::Sqlite, &temporal.address(), &sns);
    let file = installation.folder().join("trace");
    let mut process = installation.start_traced(
        &["run"],
        variables,
        &Trace {
            calls: CALLS,
            file: &file,
        },
    );
    process.wait_ready().await;
    send(sent, &sns, &installation.api()).await;
    wait::until(SOON, "the whole trace", async || {
        let seen = seen(&read(&file));
        let answered = seen
            .iter()
            .filter(|event| **event == Seen::Acknowledged)
            .count();
        // Answers to `/readyz` and to the API count too.
        if answered > REQUESTS as usize {
            Ok(check(&seen))
        } else {
            Err(format!("{answered} answers"))
        }
    })
    .await
}

async fn check_noticed(sent: Sent, fault: &str) {
    let refused = traced(sent, &[("FAILPOINTS", fault)]).await;
    assert!(
        refused.is_err_and(|reason| reason.contains("no sync")),
        "the planted fault goes unseen"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_completes_between_each_notification_and_its_200() {
    assert_eq!(
        traced(Sent::Notifications, &[]).await,
        Ok(REQUESTS as usize)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_completes_between_each_report_of_a_device_and_its_200() {
    assert_eq!(traced(Sent::Reports, &[]).await, Ok(REQUESTS as usize));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_sync_is_noticed() {
    for sent in [Sent::Notifications, Sent::Reports] {
        check_noticed(sent, "storage.durability_off=return").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_before_the_commit_is_noticed() {
    check_noticed(Sent::Notifications, "accept.acknowledge_early=return").await;
    check_noticed(Sent::Reports, "device.acknowledge_early=return").await;
}

#[test]
fn a_200_without_a_completed_sync_is_noticed() {
    let request =
        "7 recvfrom(9, \"POST /v1/stores/amazon/k HTTP/1.1\\r\\n\"..., 64, 0, NULL, NULL) = 64";
    let begun = "8 fdatasync(11 <unfinished ...>";
    let completed = "8 <... fdatasync resumed>)            = 0";
    let failed = "8 fdatasync(11)                       = -1 EIO (Input/output error)";
    let answer = "7 writev(9, [{iov_base=\"HTTP/1.1 200 OK\\r\\n\"..., iov_len=80}], 1) = 80";
    let lines = |lines: &[&str]| check(&seen(&lines.join("\n")));
    assert_eq!(lines(&[request, begun, completed, answer]), Ok(1));
    assert!(lines(&[request, begun, answer, completed]).is_err());
    assert!(lines(&[request, failed, answer]).is_err());
    assert!(lines(&[request, begun, completed, answer, request, answer]).is_err());
}
