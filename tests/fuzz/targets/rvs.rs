//! The store's answer about a receipt. The first line contains the status and the `Retry-After`, the rest is the body.
//!
//! Only a 200 may verify, and only the queried receipt; no sentence about a failure may repeat the store's text; a
//! verified receipt must survive storage, and must read the same when the body is written again.

use super::lines;
use domain::{Snapshot, Timestamp, Verification};
use protocols::http::Reply;
use protocols::stores::Answer;
use protocols::stores::amazon::response::answer;
use serde_json::Value;

const RECEIPT: &str = "wE1EG1gsEZI9q9UnI5YoZ2OxeoVKPdR5bvPMqyKQq5Y=:1:11";
/// A text in the body that must be in no sentence about a failure.
const SECRET: &str = "hunter2";

pub fn check(data: &[u8]) {
    let (head, body) = lines(data);
    let (head, body) = (String::from_utf8_lossy(head), String::from_utf8_lossy(body));
    let (status, retry_after) = head.split_once(' ').unwrap_or((&head, ""));
    let status = status.parse().unwrap_or(200);
    let at: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a time");
    let read = |body: &str| {
        let retry_after = (!retry_after.is_empty()).then(|| retry_after.to_owned());
        answer(
            &Reply::Answer {
                status,
                retry_after,
                headers: Vec::new(),
                body: body.to_owned(),
            },
            RECEIPT,
            at,
        )
    };
    let found = read(&body);
    let json: Option<Value> = serde_json::from_str(&body).ok();
    match &found {
        Answer::Verification(Verification::Verified(snapshot)) => {
            assert!(
                status == 200 && json.as_ref().is_some_and(Value::is_object),
                "{body}"
            );
            verified(
                snapshot,
                json.as_ref().and_then(|json| json.get("receiptId")),
                at,
            );
        }
        Answer::Named(..) => panic!("RVS names no customer: {body}"),
        Answer::Verification(_) | Answer::Refused(_) => assert_ne!(status, 200, "{body}"),
        Answer::Retry(retry) => {
            assert!(
                !retry.why.is_empty() && !retry.why.contains(SECRET),
                "{}",
                retry.why
            );
            let seconds = retry.retry_after.map(|wait| wait.as_secs());
            assert!(seconds.is_none() || retry.is_throttled && status == 429);
        }
    }
    // A float may be read as its neighbour.
    if let Some(json) = json.filter(|json| !has_floats(json)) {
        assert_eq!(read(&format!("{json:#}")), found);
    }
}

fn verified(snapshot: &Snapshot, receipt: Option<&Value>, at: Timestamp) {
    if let Some(Value::String(receipt)) = receipt {
        let is_absent = receipt.trim().is_empty() || receipt.trim().eq_ignore_ascii_case("null");
        assert!(is_absent || receipt.trim() == RECEIPT, "{receipt:?}");
    }
    assert_eq!(snapshot.at, at);
    let dates = [
        snapshot.purchased_at,
        snapshot.renews_at,
        snapshot.ends_at,
        snapshot.trial_ends_at,
    ];
    let dates = dates
        .into_iter()
        .chain([snapshot.grace_ends_at, snapshot.deferred_at])
        .flatten();
    dates.for_each(|date| assert!(date > Timestamp::default(), "{date}"));
    let country = snapshot.country.iter();
    country.for_each(|code| {
        assert!(
            code.len() == 2 && code.bytes().all(|one| one.is_ascii_uppercase()),
            "{code}"
        )
    });
    snapshot
        .term
        .iter()
        .for_each(|term| assert!(term.count >= 1));
    let stored = serde_json::to_string(snapshot).expect("JSON");
    assert_eq!(
        &serde_json::from_str::<Snapshot>(&stored).expect("a snapshot"),
        snapshot,
        "{stored}"
    );
}

fn has_floats(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_floats),
        Value::Object(fields) => fields.values().any(has_floats),
        _ => false,
    }
}
