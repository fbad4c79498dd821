//! Walks the fixture `arrows.txt`: each line is one settling from a state that was reached before.
//!
//! The subscription is monthly. It began on 10 January, with seven days of trial if its old state or what the
//! store shows speaks of one.

use super::tests::{settle_with, told};
use super::{Decision, Given, decide};
use crate::notification::{Kind, Notification};
use crate::purchase::Purchase;
use crate::reading::{EndReason, Product, Reading, Snapshot, Term, Unit};
use crate::time::Timestamp;

/// One line of the fixture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    pub old: String,
    pub words: Vec<Kind>,
    pub shows: String,
    pub new: String,
    pub events: Vec<String>,
}

impl std::fmt::Display for Arrow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events = self.events.join(" ");
        write!(f, "{} | {:?} | {} | {} | {events}", self.old, self.words, self.shows, self.new)
    }
}

impl Arrow {
    /// Whether there is a store that can be asked.
    pub fn can_ask(&self) -> bool {
        !self.shows.ends_with("nobody")
    }
}

pub fn arrows() -> Vec<Arrow> {
    let lines = include_str!("arrows.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let arrow = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [old, words, shows, new, events] = cells.try_into().unwrap_or_else(|_| panic!("five cells: {line}"));
        Arrow {
            old: old.to_owned(),
            words: words.split_whitespace().map(|word| serde_json::from_value(word.into()).unwrap()).collect(),
            shows: shows.to_owned(),
            new: new.to_owned(),
            events: events.split_whitespace().map(str::to_owned).collect(),
        }
    };
    lines.map(arrow).collect()
}

/// The types of the events of a settling, as the fixture writes them.
pub fn events(decision: &Decision) -> Vec<String> {
    let short = |name: &'static str| name.trim_start_matches("user.").trim_start_matches("subscription.").to_owned();
    decision.transitions.iter().map(|transition| short(transition.what.event_type())).collect()
}

fn time(text: &str) -> Timestamp {
    format!("2026-{text}:00Z").parse().unwrap()
}

/// What the store shows, and when it is asked.
fn shown(shows: &str, has_trial: bool) -> Snapshot {
    let (first, second) = if has_trial { ("01-17T00:00", "02-17T00:00") } else { ("02-10T00:00", "03-10T00:00") };
    let (first, second) = (time(first), time(second));
    let hour = 3_600_000;
    let running = Snapshot {
        at: time("01-12T00:00"),
        product: Product::Subscription,
        product_id: Some("gold".to_owned()),
        term_sku: Some("gold_monthly".to_owned()),
        term: Some(Term { count: 1, unit: Unit::Month }),
        purchased_at: Some(time("01-10T00:00")),
        renews_at: Some(first),
        auto_renewing: Some(true),
        trial_ends_at: has_trial.then_some(first),
        ..Snapshot::default()
    };
    let after = |date: Timestamp| Snapshot { at: date.plus_millis(hour), trial_ends_at: None, ..running.clone() };
    let over = |date: Timestamp, reason| Snapshot {
        renews_at: None,
        auto_renewing: Some(false),
        ends_at: Some(date),
        end_reason: Some(reason),
        ..after(date)
    };
    let off = Snapshot { renews_at: None, auto_renewing: Some(false), ends_at: Some(first), ..running.clone() };
    let grace_end = first.plus_millis(6 * 24 * hour);
    match shows {
        "running" | "trial" | "linked" => running,
        "off" | "trial off" => off,
        "renewed" | "converted" => Snapshot { renews_at: Some(second), ..after(first) },
        "unmoved" => Snapshot { at: first.plus_millis(600_000), trial_ends_at: has_trial.then_some(first), ..running },
        "grace" => Snapshot { grace_ends_at: Some(grace_end), ..after(first) },
        "ended" => over(first, EndReason::Customer),
        "unpaid" => over(grace_end, EndReason::Store),
        "refunded" => over(time("01-12T00:00"), EndReason::Customer),
        "no reason yet" => over(time("01-12T00:00"), EndReason::Pending),
        "replaced" => over(time("01-12T00:00"), EndReason::Replaced),
        "deferred" => Snapshot { deferred_at: Some(first), deferred_sku: Some("gold_yearly".to_owned()), ..running },
        "changed" => Snapshot {
            term_sku: Some("gold_yearly".to_owned()),
            term: Some(Term { count: 1, unit: Unit::Year }),
            renews_at: Some("2027-02-10T00:00:00Z".parse().unwrap()),
            ..after(first)
        },
        "bought" | "taken back" => Snapshot {
            at: time("01-12T00:00"),
            product: Product::Consumable,
            product_id: Some("coins".to_owned()),
            purchased_at: Some(time("01-10T00:00")),
            ends_at: (shows == "taken back").then(|| time("01-11T00:00")),
            ..Snapshot::default()
        },
        other => panic!("`{other}` is nothing that a store shows"),
    }
}

fn word(kind: Kind, store_time: Timestamp) -> Notification {
    Notification { store_time, ..told(kind, 0) }
}

/// The settlings that lead to an old state: a word each, and what the store showed.
fn history(old: &str) -> &'static [(&'static str, Kind, &'static str)] {
    const BOUGHT: (&str, Kind, &str) = ("01-10T00:00", Kind::SubscriptionPurchased, "running");
    const TRIED: (&str, Kind, &str) = ("01-10T00:00", Kind::SubscriptionPurchased, "trial");
    const OFF: (&str, Kind, &str) = ("01-11T00:00", Kind::AutoRenewalOff, "off");
    match old {
        "unknown" => &[],
        "active" => &[BOUGHT],
        "off" => &[BOUGHT, OFF],
        "grace" => &[BOUGHT, ("02-10T00:00", Kind::GraceBegan, "grace")],
        "expired" => &[BOUGHT, OFF, ("02-10T00:00", Kind::Expired, "ended")],
        "replaced" => &[BOUGHT, ("01-11T00:00", Kind::Replaced, "replaced")],
        "scheduled" => &[BOUGHT, ("01-11T00:00", Kind::PlanChangeScheduled, "deferred")],
        "trial" => &[TRIED],
        "trial_off" => &[TRIED, ("01-11T00:00", Kind::AutoRenewalOff, "trial off")],
        "trial_grace" => &[TRIED, ("01-17T00:00", Kind::GraceBegan, "grace")],
        "bought" => &[("01-10T00:00", Kind::ConsumablePurchased, "bought")],
        other => panic!("`{other}` is not a state"),
    }
}

fn reading(shows: &str, has_trial: bool) -> Reading {
    match shows {
        "nobody" | "linked nobody" => Reading::Unverifiable,
        "gone" => Reading::Gone,
        _ => Reading::Verified(Box::new(shown(shows, has_trial))),
    }
}

/// The settling of one line.
fn settled(arrow: &Arrow) -> Decision {
    let has_trial = [&arrow.old, &arrow.shows].iter().any(|cell| cell.starts_with("trial") || *cell == "converted");
    let mut known = Purchase::default();
    for (told_at, kind, shows) in history(&arrow.old) {
        let shows = if arrow.can_ask() { shows } else { "nobody" };
        let told = word(*kind, time(told_at));
        known = settle_with(&known, &[told], &reading(shows, has_trial), time(told_at)).purchase;
    }
    let reading = reading(&arrow.shows, has_trial);
    let now = match &reading {
        Reading::Verified(snapshot) => snapshot.at,
        _ => time("02-20T00:00"),
    };
    let told = (1_i64..).zip(&arrow.words).map(|(n, kind)| (n, word(*kind, now.plus_millis(n * 1_000 - 1_800_000))));
    let given = Given { reading: &reading, is_replaced: arrow.shows.starts_with("linked"), now };
    decide(&known, &told.collect::<Vec<_>>(), given)
}

#[test]
fn every_arrow_leads_where_the_fixture_says_and_tells_what_it_says() {
    let mut wrong = Vec::new();
    for arrow in arrows() {
        let decision = settled(&arrow);
        let found = (decision.purchase.state().as_str(), events(&decision));
        if found != (arrow.new.as_str(), arrow.events.clone()) {
            wrong.push(format!("{} | {:?} | {}: {found:?}", arrow.old, arrow.words, arrow.shows));
        }
    }
    assert!(wrong.is_empty(), "{} arrows lead elsewhere:\n{}", wrong.len(), wrong.join("\n"));
}
