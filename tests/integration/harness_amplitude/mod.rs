//! The fake Amplitude behaves as specified in the tables of its README; tested over plain HTTP.

mod answers;
mod counting;
mod faults;

use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::amplitude::{Amplitude, Profile};
use system_tests::http::{Answer, send_raw};

const KEY: &str = "key-of-one";
const OTHER: &str = "key-of-other";
const SECRET: &str = "secret-of-one";
const DAY: Duration = Duration::from_secs(86_400);
/// A time in Amplitude's format: milliseconds since 1970.
const TIME: i64 = 1_900_000_000_000;

async fn fake() -> Amplitude {
    let fake = Amplitude::start().await;
    fake.project(KEY, SECRET);
    fake.project(OTHER, "secret-of-other");
    fake
}

async fn post(fake: &Amplitude, path: &str, body: &str) -> Result<Answer, String> {
    let headers = [("content-type", "application/json".to_owned())];
    send_raw(
        Method::POST,
        &format!("{}{path}", fake.url()),
        &headers,
        body.as_bytes().to_vec(),
    )
    .await
}

async fn upload(fake: &Amplitude, body: &Value) -> Answer {
    post(fake, "/2/httpapi", &body.to_string())
        .await
        .expect("an answer")
}

/// Sends events to the first project.
async fn send(fake: &Amplitude, events: Value) -> Answer {
    upload(fake, &json!({ "api_key": KEY, "events": events })).await
}

/// Returns an event with this insert id and device, and with additional fields.
fn event(insert_id: &str, device_id: &str, more: &Value) -> Value {
    let mut event = json!({ "event_type": "bought", "device_id": device_id, "insert_id": insert_id, "time": TIME });
    for (name, value) in more.as_object().into_iter().flatten() {
        event[name] = value.clone();
    }
    event
}

fn plain(insert_id: &str, device_id: &str) -> Value {
    event(insert_id, device_id, &Value::Null)
}

fn error(answer: &Answer) -> (u16, &str) {
    (
        answer.status,
        answer.body["error"].as_str().unwrap_or_default(),
    )
}

fn profile(fake: &Amplitude, id: &str) -> Profile {
    fake.profile(KEY, id)
        .unwrap_or_else(|| panic!("{id} is not known"))
}

#[test]
fn every_row_of_the_table_has_a_test() {
    let table = include_str!("../../harness/amplitude/README.md");
    let tests = [
        include_str!("answers.rs"),
        include_str!("counting.rs"),
        include_str!("faults.rs"),
    ]
    .concat();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.ends_with("| test |"));
    for row in rows {
        let names: Vec<_> = row
            .rsplit('|')
            .nth(1)
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        let has_all = names
            .iter()
            .all(|name| tests.contains(&format!("async fn {name}(")));
        assert!(
            !names.is_empty() && has_all,
            "the tests {names:?} of the row {row}"
        );
    }
}
