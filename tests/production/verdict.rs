//! The conditions at the end: every accepted message has its outcome, every revision one delivery, and the receiver has
//! each event once and each purchase's newest revision last.

use domain::{CollapseKey, PlatformId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use system_tests::http::{Api, text};
use system_tests::load::store::Accepted;
use system_tests::receiver::Receiver;
use system_tests::wait;

/// Time limit for all work in progress.
const DONE: Duration = Duration::from_secs(300);

pub struct Checked<'a> {
    pub api: &'a Api,
    pub receiver: &'a Receiver,
    pub accepted: &'a [Accepted],
    pub platform_id: PlatformId,
}

impl Checked<'_> {
    /// Waits until everything is settled and delivered, and checks it.
    pub async fn check(&self) {
        let settled = self.outcomes().await;
        let deliveries = self.deliveries().await;
        let events = self
            .api
            .all("/v1/events?type=purchase.updated&limit=500")
            .await;
        let mut by_key = BTreeMap::<String, Vec<&Value>>::new();
        for event in &events {
            by_key
                .entry(text(event, "collapse_key"))
                .or_default()
                .push(event);
        }
        for (key, of_purchase) in &by_key {
            check_revisions(
                key,
                of_purchase,
                settled.get(key).copied().unwrap_or_default(),
            );
            self.check_newest(key, of_purchase);
        }
        assert_eq!(
            by_key.keys().collect::<Vec<_>>(),
            settled.keys().collect::<Vec<_>>(),
            "all purchases announced"
        );
        check_deliveries(&events, &deliveries);
        self.receiver
            .verdict()
            .unwrap_or_else(|broken| panic!("{broken}"));
        self.receiver
            .check_no_duplicates()
            .unwrap_or_else(|broken| panic!("{broken}"));
        self.print(&events, &deliveries);
    }

    /// Waits until every message has its outcome; returns the number of settled messages of each purchase.
    async fn outcomes(&self) -> BTreeMap<String, i64> {
        let sent: BTreeSet<&str> = self
            .accepted
            .iter()
            .map(|message| message.message_id.as_str())
            .collect();
        let all = wait::until(DONE, "the outcomes of all messages", async || {
            let all = self.api.all("/v1/notifications?limit=500").await;
            let open = all.iter().filter(|one| one["outcome"].is_null()).count();
            if open == 0 {
                Ok(all)
            } else {
                Err(format!("{open} of {} have none", all.len()))
            }
        })
        .await;
        let stored: BTreeSet<String> = all.iter().map(|one| text(one, "message_id")).collect();
        let lost: Vec<&&str> = sent.iter().filter(|id| !stored.contains(**id)).collect();
        assert!(lost.is_empty(), "accepted and lost: {lost:?}");
        assert_eq!(
            (all.len(), stored.len()),
            (sent.len(), sent.len()),
            "each message once"
        );
        let mut settled = BTreeMap::new();
        for one in &all {
            let key = CollapseKey::of(self.platform_id, &text(one, "receipt_id")).to_string();
            *settled.entry(key).or_default() += i64::from(one["outcome"] == "settled");
        }
        settled
    }

    /// Waits until no delivery is pending, and returns all deliveries.
    async fn deliveries(&self) -> Vec<Value> {
        wait::until(DONE, "the end of all deliveries", async || {
            let all = self.api.all("/v1/deliveries?limit=500").await;
            let pending = all.iter().filter(|one| one["status"] == "pending").count();
            if pending == 0 {
                Ok(all)
            } else {
                Err(format!("{pending} are pending"))
            }
        })
        .await
    }

    /// Checks that the last acknowledged revision is the newest.
    fn check_newest(&self, key: &str, events: &[&Value]) {
        let newest = events
            .iter()
            .filter_map(|event| event["revision"].as_i64())
            .max();
        assert_eq!(
            self.receiver.revisions(key).last().copied(),
            newest,
            "the newest revision of {key} arrived last"
        );
    }

    fn print(&self, events: &[Value], deliveries: &[Value]) {
        let of = |status: &str| {
            deliveries
                .iter()
                .filter(|one| one["status"] == status)
                .count()
        };
        let requests = self.receiver.all();
        let mut acknowledged = BTreeMap::<&str, usize>::new();
        for request in requests.iter().filter(|request| request.is_acked()) {
            *acknowledged.entry(&request.webhook_id).or_default() += 1;
        }
        let again = acknowledged.values().filter(|times| **times > 1).count();
        println!(
            "{} messages, {} revisions: {} delivered, {} superseded by a newer one; {} requests; {again} ids came \
             again, because their answer could not be stored",
            self.accepted.len(),
            events.len(),
            of("delivered"),
            of("superseded"),
            requests.len()
        );
    }
}

/// Checks that the revisions have no gap, that each has one event, and that together they count the settled
/// notifications.
fn check_revisions(key: &str, events: &[&Value], settled: i64) {
    let mut revisions: Vec<i64> = events
        .iter()
        .filter_map(|event| event["revision"].as_i64())
        .collect();
    revisions.sort_unstable();
    let newest = i64::try_from(events.len()).unwrap_or(i64::MAX);
    assert_eq!(
        revisions,
        (1..=newest).collect::<Vec<_>>(),
        "the revisions of {key}"
    );
    let coalesced = |event: &&Value| event["body"]["attributes"]["coalesced"].as_i64();
    assert_eq!(
        events.iter().filter_map(coalesced).sum::<i64>(),
        settled,
        "the notifications of {key}"
    );
}

/// Checks that every event has one delivery, which arrived or was superseded by a newer one.
fn check_deliveries(events: &[Value], deliveries: &[Value]) {
    let of = |all: &[Value], field: &str| {
        all.iter()
            .map(|one| text(one, field))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        of(events, "id"),
        of(deliveries, "event_id"),
        "the events, and those that are delivered"
    );
    assert_eq!(
        events.len(),
        deliveries.len(),
        "one delivery for each event"
    );
    let is_final = |one: &&Value| one["status"] == "delivered" || one["status"] == "superseded";
    let other = deliveries.iter().find(|one| !is_final(one));
    assert!(
        other.is_none(),
        "neither delivered nor superseded: {other:?}"
    );
}
