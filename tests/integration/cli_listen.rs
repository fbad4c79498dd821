//! `settle listen`, and the requests that it forwards.

use super::cli::{check_failure, log, logged, ran, settle, stderr_of, stdout_of};
use super::cli_settings::Desk;
use serde_json::Value;
use std::net::TcpStream;
use system_tests::folder::Folder;
use system_tests::ports;
use system_tests::reaper::Watched;
use system_tests::receiver::{Receiver, Reply};
use system_tests::wait;
use system_tests::world::SOON;

/// A destination whose URL is a listener that forwards to a receiver.
struct Forwarding {
    desk: Desk,
    destination: String,
    /// Folder with the listener's output.
    folder: Folder,
    _listener: Watched,
}

impl Forwarding {
    fn to(receiver: &Receiver, name: &str, flags: &[&str]) -> Self {
        let desk = Desk::open(name);
        let address = format!("127.0.0.1:{}", ports::free());
        let url = format!("http://{address}/");
        let created = desk.answer(&[
            "destination",
            "create",
            "--app",
            &desk.app,
            "--name",
            "dev",
            "--url",
            &url,
        ]);
        receiver.trust_shown(&created);
        let folder = Folder::new("cli-listen");
        std::fs::write(
            folder.path().join("secret"),
            created["secret"].as_str().expect("a secret"),
        )
        .expect("a file");
        let line = [
            "listen",
            "--listen",
            &address,
            "--secret",
            "@secret",
            "--forward-to",
            &receiver.url(),
        ];
        let listener = logged(&folder, &mut settle(&folder, &[&line[..], flags].concat()));
        let connect = || {
            TcpStream::connect(&address)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        wait::until_blocking(SOON, "the listener", connect).expect("a connection");
        let destination = created["id"].as_str().expect("an id").to_owned();
        Self {
            desk,
            destination,
            folder,
            _listener: listener,
        }
    }

    /// Sends a test event. Returns whether the delivery succeeded, and the listener's last output.
    fn tested(&self) -> (bool, String) {
        let before = log(&self.folder).lines().count();
        let tested = self.desk.run(&["destination", "test", &self.destination]);
        let printed = || {
            log(&self.folder)
                .lines()
                .skip(before)
                .last()
                .map(str::to_owned)
                .ok_or("nothing yet".to_owned())
        };
        let line = wait::until_blocking(SOON, "a line", printed).expect("a line");
        let works = tested.status.code() == Some(0);
        assert_eq!(
            works,
            stdout_of(&tested).starts_with("Success"),
            "{}",
            stderr_of(&tested)
        );
        (works, line)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_forwards_events_that_the_receiver_verifies() {
    let mut receiver = Receiver::start().await;
    let forwarding = Forwarding::to(&receiver, "cli-forward", &[]);
    let (works, line) = forwarding.tested();
    let to = format!("POST {}", receiver.url());
    assert!(
        works && line.starts_with(&format!("forwarded  {to}  200 in ")) && line.ends_with(" ms"),
        "{line}"
    );
    let printed = log(&forwarding.folder);
    assert!(printed.contains("received  test  (verified"), "{printed}");
    receiver.check();
    let [request]: [_; 1] = receiver.all().try_into().expect("one request");
    assert!(request.verified.is_ok(), "{request:?}");
    receiver.answer(Reply::Status(500));
    let (works, line) = forwarding.tested();
    assert!(
        !works && line.starts_with(&format!("refused    {to}  500 in ")),
        "{line}"
    );
    assert!(line.ends_with("settle retries"), "{line}");
    receiver.refuse().await;
    let (works, line) = forwarding.tested();
    assert!(
        !works && line == format!("failed     {to}  no connection: settle retries"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forwarded_is_shown_as_json_too() {
    let receiver = Receiver::start().await;
    let (works, line) = Forwarding::to(&receiver, "cli-forward-json", &["--json"]).tested();
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert!(
        works && line["verified"] == true && line["event"]["type"] == "test",
        "{line}"
    );
    assert_eq!(
        (
            line["forwarded"]["status"].as_i64(),
            &line["forwarded"]["error"]
        ),
        (Some(200), &Value::Null),
        "{line}"
    );
}

#[test]
fn only_a_url_of_http_is_forwarded_to() {
    let folder = Folder::new("cli-listen-wrong");
    std::fs::write(
        folder.path().join("secret"),
        "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    )
    .expect("a file");
    let line = [
        "listen",
        "--listen",
        "127.0.0.1:0",
        "--secret",
        "@secret",
        "--forward-to",
        "localhost:3000",
    ];
    let refused = settle(&folder, &line).output().expect("settle starts");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr_of(&refused).contains("http://127.0.0.1:3000/hooks"),
        "{}",
        stderr_of(&refused)
    );
}

#[test]
fn a_wrong_secret_or_kind_names_its_flag() {
    let folder = Folder::new("cli-listen-wrong");
    std::fs::write(folder.path().join("secret"), "c2VjcmV0").expect("a file");
    let refused = ran(&folder, &["listen", "--secret", "@secret"]);
    check_failure(&refused, &["--secret", "not a webhook secret"]);
    let typed = [
        "destination",
        "create",
        "--app",
        "a",
        "--name",
        "b",
        "--kind",
        "webhok",
    ];
    let refused = ran(&folder, &typed);
    let text = stderr_of(&refused);
    assert!(
        text.contains("--kind") && text.contains("did you mean `webhook`?"),
        "{text}"
    );
}
