//! Requests that overlap although they must not: I7.

use super::Received;
use std::collections::BTreeMap;

/// What a request is about: the device that reported its event, else the receipt of its purchase.
pub fn subject(request: &Received) -> &str {
    request.body["data"]["device"]["id"].as_str().unwrap_or_else(|| request.receipt_id())
}

/// Pairs of requests about one purchase, or from one device, where the first was answered only after the second had arrived. A first
/// request without an answer is not reported.
pub fn find(requests: &[Received]) -> Vec<(&Received, &Received)> {
    let mut last = BTreeMap::<&str, &Received>::new();
    let mut found = Vec::new();
    for request in requests {
        if let Some(before) = last.insert(subject(request), request)
            && before.finished_at.is_some_and(|finished_at| finished_at > request.began)
        {
            found.push((before, request));
        }
    }
    found
}
