//! Finds requests that must not overlap (I7) but do.

use super::Received;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the subjects of a request: the ids of the devices that reported its events, else the receipt id of its
/// purchase.
pub fn subjects(request: &Received) -> Vec<&str> {
    let devices = request
        .bodies()
        .into_iter()
        .filter_map(|body| body["data"]["device"]["id"].as_str());
    let devices: BTreeSet<&str> = devices.collect();
    if !devices.is_empty() {
        return devices.into_iter().collect();
    }
    vec![
        request.body["alarm"]["id"]
            .as_str()
            .unwrap_or_else(|| request.receipt_id()),
    ]
}

/// Returns pairs of requests about one purchase, or from one device, where the first was answered only after the second
/// had arrived. Pairs whose first request was never answered are left out.
pub fn find(requests: &[Received]) -> Vec<(&Received, &Received)> {
    let mut last = BTreeMap::<&str, &Received>::new();
    let mut found = Vec::new();
    for request in requests {
        for subject in subjects(request) {
            if let Some(before) = last.insert(subject, request)
                && before
                    .finished_at
                    .is_some_and(|finished_at| finished_at > request.began)
            {
                found.push((before, request));
            }
        }
    }
    found
}
