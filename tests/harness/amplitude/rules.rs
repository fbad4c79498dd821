//! What no sender should do, seen from its requests.

use super::Exchange;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// More events are not recommended in one request.
const EVENTS: usize = 10;
/// More requests a second are not allowed.
const REQUESTS: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Every rule that was broken, with what broke it.
pub fn broken(requests: &[Exchange]) -> Vec<String> {
    let mut wrong: Vec<String> = requests.iter().filter_map(malformed).collect();
    wrong.extend(two_contents(requests));
    wrong.extend(at_once(requests));
    if let Some(first) = requests.windows(REQUESTS + 1).find(|some| within_a_second(some)).and_then(<[_]>::first) {
        wrong.push(format!("more than {REQUESTS} requests within a second of {:?}", first.began));
    }
    wrong
}

fn within_a_second(some: &[Exchange]) -> bool {
    some.first().zip(some.last()).is_some_and(|(first, last)| last.began - first.began < SECOND)
}

fn malformed(exchange: &Exchange) -> Option<String> {
    let error = exchange.answer["error"].as_str().unwrap_or_default();
    let is_whole = ["Invalid request path", "Missing request body", "Invalid JSON request body"].contains(&error);
    let lacks = exchange.answer["missing_field"].is_string();
    if is_whole || lacks {
        return Some(format!("{} was answered {}", exchange.target, exchange.answer));
    }
    if exchange.events().len() > EVENTS {
        return Some(format!("{} events in one request", exchange.events().len()));
    }
    let is_odd = |event: &&Value| {
        let has = |field: &str| !event[field].is_null();
        !has("insert_id") || has("ip") || (has("revenue") && has("price"))
    };
    exchange.events().iter().find(is_odd).map(|event| format!("no insert_id, an ip, or revenue beside price: {event}"))
}

/// Events whose content is another one in another attempt. Each project has events of its own.
fn two_contents(requests: &[Exchange]) -> Vec<String> {
    let (mut first, mut wrong) = (BTreeMap::<String, Value>::new(), Vec::new());
    for (key, event) in
        requests.iter().flat_map(|exchange| exchange.events().iter().map(|event| (&exchange.body["api_key"], event)))
    {
        let mut content = event.clone();
        if let Some(fields) = content.as_object_mut() {
            fields.remove("$skip_user_properties_sync");
        }
        let name = format!("{} in {key}", event["insert_id"]);
        let known = first.entry(name.clone()).or_insert_with(|| content.clone());
        if *known != content {
            wrong.push(format!("two contents under the insert_id {name}:\n{known}\n{content}"));
        }
    }
    wrong
}

/// Requests about one device of which the second came while the first was open: neither answered nor given up.
fn at_once(requests: &[Exchange]) -> Vec<String> {
    let (mut last, mut wrong) = (BTreeMap::<String, &Exchange>::new(), Vec::new());
    for exchange in requests {
        let Some(event) = exchange.events().first() else { continue };
        let device = format!("{} in {}", event["device_id"], exchange.body["api_key"]);
        let before = last.get(&device).copied();
        if let Some(before) = before.filter(|before| before.closed_at.is_none_or(|closed| closed > exchange.began)) {
            wrong.push(format!("two requests about {device} in flight at once:\n{before:?}\n{exchange:?}"));
        }
        // Of several the one that is open longest.
        let is_last = |closed: Instant| exchange.closed_at.is_none_or(|own| own >= closed);
        if before.is_none_or(|before| before.closed_at.is_some_and(is_last)) {
            last.insert(device, exchange);
        }
    }
    wrong
}
