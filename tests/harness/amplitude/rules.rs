//! The rules that every sender must keep, checked on its requests.

use super::Exchange;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of events in one request that Amplitude recommends.
const MAX_EVENTS: usize = 10;
/// Maximum number of requests per second that Amplitude allows.
const MAX_PER_SECOND: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Returns all rule violations, each with the offending request.
pub fn broken(requests: &[Exchange]) -> Vec<String> {
    let mut wrong: Vec<String> = requests.iter().filter_map(malformed).collect();
    wrong.extend(changed_contents(requests));
    wrong.extend(overlaps(requests));
    if let Some(first) = requests
        .windows(MAX_PER_SECOND + 1)
        .find(|some| within_a_second(some))
        .and_then(<[_]>::first)
    {
        wrong.push(format!(
            "more than {MAX_PER_SECOND} requests within a second of {:?}",
            first.began
        ));
    }
    wrong
}

fn within_a_second(some: &[Exchange]) -> bool {
    some.first()
        .zip(some.last())
        .is_some_and(|(first, last)| last.began - first.began < SECOND)
}

fn malformed(exchange: &Exchange) -> Option<String> {
    let error = exchange.answer["error"].as_str().unwrap_or_default();
    let is_whole = [
        "Invalid request path",
        "Missing request body",
        "Invalid JSON request body",
    ]
    .contains(&error);
    let lacks = exchange.answer["missing_field"].is_string();
    if is_whole || lacks {
        return Some(format!(
            "{} was answered {}",
            exchange.target, exchange.answer
        ));
    }
    if exchange.events().len() > MAX_EVENTS {
        return Some(format!("{} events in one request", exchange.events().len()));
    }
    let is_odd = |event: &&Value| {
        let has = |field: &str| !event[field].is_null();
        !has("insert_id") || has("ip") || (has("revenue") && has("price"))
    };
    exchange
        .events()
        .iter()
        .find(is_odd)
        .map(|event| format!("no insert_id, an ip, or revenue beside price: {event}"))
}

/// Returns the events whose content differs between two attempts. Insert ids are unique per project.
fn changed_contents(requests: &[Exchange]) -> Vec<String> {
    let (mut first, mut wrong) = (BTreeMap::<String, Value>::new(), Vec::new());
    for (key, event) in requests.iter().flat_map(|exchange| {
        exchange
            .events()
            .iter()
            .map(|event| (&exchange.body["api_key"], event))
    }) {
        let mut content = event.clone();
        if let Some(fields) = content.as_object_mut() {
            fields.remove("$skip_user_properties_sync");
        }
        let name = format!("{} in {key}", event["insert_id"]);
        let known = first.entry(name.clone()).or_insert_with(|| content.clone());
        if *known != content {
            wrong.push(format!(
                "two contents under the insert_id {name}:\n{known}\n{content}"
            ));
        }
    }
    wrong
}

/// Returns pairs of requests about one device, where the second arrived before the first was answered or its sender
/// gave up.
fn overlaps(requests: &[Exchange]) -> Vec<String> {
    let (mut last, mut wrong) = (BTreeMap::<String, &Exchange>::new(), Vec::new());
    for exchange in requests {
        let Some(event) = exchange.events().first() else {
            continue;
        };
        let device = format!("{} in {}", event["device_id"], exchange.body["api_key"]);
        let before = last.get(&device).copied();
        if let Some(before) = before.filter(|before| {
            before
                .closed_at
                .is_none_or(|closed| closed > exchange.began)
        }) {
            wrong.push(format!(
                "two requests about {device} in flight at once:\n{before:?}\n{exchange:?}"
            ));
        }
        // Keep the request that closes last.
        let is_last = |closed: Instant| exchange.closed_at.is_none_or(|own| own >= closed);
        if before.is_none_or(|before| before.closed_at.is_some_and(is_last)) {
            last.insert(device, exchange);
        }
    }
    wrong
}
