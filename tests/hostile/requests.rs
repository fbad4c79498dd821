//! Attacks with complete requests.

use super::target::Target;
use super::witness::Witness;
use reqwest::Method;
use std::net::SocketAddr;
use system_tests::http::{post_as_sns, send_raw};
use system_tests::sns::TOPIC;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Number of unknown ingress keys: a tenth in a debug build.
const KEYS: usize = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};
/// Number of connections that send the keys, and of concurrent requests per connection.
const SENDERS: usize = 50;
const AT_ONCE: usize = 50;
/// Minimum number of rounds with documents.
const ROUNDS: usize = 500;
const DEPTH: usize = 4000;

/// Sends unknown keys over one connection, which is reopened if settle closes it. Returns the number of answers.
async fn send_keys(address: SocketAddr, sender: usize) -> usize {
    let (mut answered, mut stream) = (
        0,
        TcpStream::connect(address).await.expect("settle accepts"),
    );
    while answered < KEYS / SENDERS {
        let keys = (answered..answered + AT_ONCE)
            .map(|number| format!("unknown-key-{sender:06}-{number:08}"));
        let requests = keys.map(|key| {
            format!(
                "POST /v1/stores/amazon/{key} HTTP/1.1\r\nhost: settle\r\ncontent-length: 0\r\n\r\n"
            )
        });
        stream
            .write_all(requests.collect::<String>().as_bytes())
            .await
            .expect("settle receives");
        let mut text = String::new();
        while text.matches("HTTP/1.1 404").count() < AT_ONCE {
            let mut bytes = vec![0; 64 * 1024];
            let count = stream.read(&mut bytes).await.expect("settle answers");
            assert!(count > 0, "closed after {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        answered += AT_ONCE;
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_unknown_ingress_keys_hold_nothing_up() {
    let target = Target::start().await;
    let address = target.public();
    let senders = (0..SENDERS)
        .map(|sender| send_keys(address, sender))
        .collect::<JoinSet<usize>>();
    let attack = senders.join_all();
    let (answered, witness) = Witness::watch(&target, attack).await;
    println!(
        "{} unknown keys were answered 404",
        answered.iter().sum::<usize>()
    );
    target.finish(&witness.receipts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_four_thousand_levels_hold_nothing_up() {
    let target = Target::start().await;
    let installation = &target.world.installation;
    let (array, object) = (
        "[".repeat(DEPTH) + &"]".repeat(DEPTH),
        r#"{"a":"#.repeat(DEPTH) + "1" + &"}".repeat(DEPTH),
    );
    // A message signed by the store may contain anything: it is stored as unreadable.
    let signed: Vec<_> = [&array, &object]
        .map(|text| target.sns().message(TOPIC, text))
        .into();
    let bodies = [
        array.clone(),
        object.clone(),
        format!(r#"{{"Type":{array}}}"#),
    ];
    let admin = [("authorization", format!("Bearer {}", installation.token))];
    let attack = async |round: usize| {
        for message in &signed {
            let answer = post_as_sns(target.notification_url(), &message.body)
                .await
                .expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        for body in &bodies {
            let refused = post_as_sns(target.notification_url(), body)
                .await
                .expect("an answer");
            assert_eq!(refused.status, 400, "{}", refused.body);
            let url = format!("{}/v1/apps", installation.url());
            let refused = send_raw(Method::POST, &url, &admin, body.clone().into_bytes()).await;
            assert_eq!(refused.expect("an answer").status, 400);
            // Further requests from one address would be refused before their bodies are read.
            if round < 100 {
                let url = format!("{}/v1/device/events", installation.public_url());
                let stranger = send_raw(Method::POST, &url, &[], body.clone().into_bytes()).await;
                assert_eq!(stranger.expect("an answer").status, 401);
            }
        }
    };
    let witness = Witness::watch_rounds(&target, ROUNDS, attack).await;
    target.finish(&witness.receipts).await;
}
