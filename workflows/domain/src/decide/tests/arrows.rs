//! Walks the fixture `arrows.txt`: each line is one settling from a previously reached state.
//!
//! The subscription is monthly and began on 10 January, with a trial of seven days if the line's old state or what the
//! store shows names a trial.

use super::properties::record_of;
use super::{notification, settle_with};
use crate::decide::{Decision, SettlingContext, decide};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::verification::{EndReason, Product, Snapshot, Term, Unit, Verification};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    pub old: String,
    pub reports: Vec<NotificationKind>,
    pub shows: String,
    pub new: String,
    pub events: Vec<String>,
    pub lag: Option<Lag>,
}

/// The part of a line about a lagging store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lag {
    pub shows: String,
    pub at_first: Vec<String>,
    /// The events of the settling in which the store has caught up.
    pub later: Vec<String>,
}

impl Lag {
    fn read(cell: &str) -> Option<Self> {
        let (shows, events) = cell.split_once(':')?;
        let (at_first, later) = events
            .split_once('/')
            .unwrap_or_else(|| panic!("two lists of events: {cell}"));
        Some(Self {
            shows: shows.trim().to_owned(),
            at_first: names(at_first),
            later: names(later),
        })
    }
}

fn names(cell: &str) -> Vec<String> {
    cell.split_whitespace().map(str::to_owned).collect()
}

impl std::fmt::Display for Arrow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let events = self.events.join(" ");
        write!(
            f,
            "{} | {:?} | {} | {} | {events}",
            self.old, self.reports, self.shows, self.new
        )
    }
}

impl Arrow {
    /// Whether the store can be queried.
    pub fn can_query(&self) -> bool {
        !self.shows.ends_with("nobody")
    }
}

pub fn arrows() -> Vec<Arrow> {
    parse(include_str!("arrows.txt"))
}

/// Returns all arrows, including those that no random life walks.
fn all() -> Vec<Arrow> {
    [arrows(), parse(include_str!("rare.txt"))].concat()
}

fn parse(fixture: &str) -> Vec<Arrow> {
    let lines = fixture
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let arrow = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [old, reports, shows, new, events, lag] = cells
            .try_into()
            .unwrap_or_else(|_| panic!("six cells: {line}"));
        Arrow {
            old: old.to_owned(),
            reports: reports
                .split_whitespace()
                .map(|report| serde_json::from_value(report.into()).unwrap())
                .collect(),
            shows: shows.to_owned(),
            new: new.to_owned(),
            events: names(events),
            lag: Lag::read(lag),
        }
    };
    lines.map(arrow).collect()
}

/// Returns the types of the events of a settling, in the fixture's notation.
pub fn events(decision: &Decision) -> Vec<String> {
    let short = |name: &'static str| {
        name.trim_start_matches("user.")
            .trim_start_matches("subscription.")
            .to_owned()
    };
    decision
        .transitions
        .iter()
        .map(|transition| short(transition.kind.event_type()))
        .collect()
}

fn time(text: &str) -> Timestamp {
    format!("2026-{text}:00Z").parse().unwrap()
}

/// Returns the snapshot that `shows` stands for, with the time of the query.
fn shown(shows: &str, has_trial: bool) -> Snapshot {
    let (first, second) = if has_trial {
        ("01-17T00:00", "02-17T00:00")
    } else {
        ("02-10T00:00", "03-10T00:00")
    };
    let (first, second) = (time(first), time(second));
    let hour = 3_600_000;
    let running = Snapshot {
        at: time("01-12T00:00"),
        product: Product::Subscription,
        product_id: Some("gold".to_owned()),
        term_sku: Some("gold_monthly".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(time("01-10T00:00")),
        renews_at: Some(first),
        auto_renewing: Some(true),
        trial_ends_at: has_trial.then_some(first),
        ..Snapshot::default()
    };
    let after = |date: Timestamp| Snapshot {
        at: date.plus_millis(hour),
        trial_ends_at: None,
        ..running.clone()
    };
    let over = |date: Timestamp, reason| Snapshot {
        renews_at: None,
        auto_renewing: Some(false),
        ends_at: Some(date),
        end_reason: Some(reason),
        ..after(date)
    };
    let off = Snapshot {
        renews_at: None,
        auto_renewing: Some(false),
        ends_at: Some(first),
        ..running.clone()
    };
    let grace_end = first.plus_millis(6 * 24 * hour);
    match shows {
        "running" | "trial" | "linked" => running,
        "off" | "trial off" => off,
        "off by the customer" | "trial off by the customer" => Snapshot {
            end_reason: Some(EndReason::Customer),
            ..off
        },
        "renewed" | "converted" => Snapshot {
            renews_at: Some(second),
            ..after(first)
        },
        "unmoved" => Snapshot {
            at: first.plus_millis(600_000),
            trial_ends_at: has_trial.then_some(first),
            ..running
        },
        "grace" => Snapshot {
            grace_ends_at: Some(grace_end),
            ..after(first)
        },
        "switched on" => after(first),
        "ended" => over(first, EndReason::Customer),
        "unpaid" => over(grace_end, EndReason::Store),
        "refunded" => over(time("01-12T00:00"), EndReason::Customer),
        "no reason yet" => over(time("01-12T00:00"), EndReason::Pending),
        "replaced" => over(time("01-12T00:00"), EndReason::Replaced),
        "deferred" => Snapshot {
            deferred_at: Some(first),
            deferred_sku: Some("gold_yearly".to_owned()),
            ..running
        },
        "changed" => Snapshot {
            term_sku: Some("gold_yearly".to_owned()),
            term: Some(Term {
                count: 1,
                unit: Unit::Year,
            }),
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

fn report(kind: NotificationKind, store_time: Timestamp) -> Notification {
    Notification {
        store_time,
        ..notification(kind, 0)
    }
}

/// Returns the settlings that lead to an old state, each with a notification and what the store showed.
fn history(old: &str) -> &'static [(&'static str, NotificationKind, &'static str)] {
    const BOUGHT: (&str, NotificationKind, &str) = (
        "01-10T00:00",
        NotificationKind::SubscriptionPurchased,
        "running",
    );
    const TRIED: (&str, NotificationKind, &str) = (
        "01-10T00:00",
        NotificationKind::SubscriptionPurchased,
        "trial",
    );
    const OFF: (&str, NotificationKind, &str) =
        ("01-11T00:00", NotificationKind::AutoRenewalOff, "off");
    match old {
        "unknown" => &[],
        "active" => &[BOUGHT],
        "off" => &[BOUGHT, OFF],
        "grace" => &[
            BOUGHT,
            ("02-10T00:00", NotificationKind::GraceBegan, "grace"),
        ],
        "expired" => &[
            BOUGHT,
            OFF,
            ("02-10T00:00", NotificationKind::Expired, "ended"),
        ],
        "replaced" => &[
            BOUGHT,
            ("01-11T00:00", NotificationKind::Replaced, "replaced"),
        ],
        "scheduled" => &[
            BOUGHT,
            (
                "01-11T00:00",
                NotificationKind::PlanChangeScheduled,
                "deferred",
            ),
        ],
        "trial" => &[TRIED],
        "trial_off" => &[
            TRIED,
            ("01-11T00:00", NotificationKind::AutoRenewalOff, "trial off"),
        ],
        "trial_grace" => &[
            TRIED,
            ("01-17T00:00", NotificationKind::GraceBegan, "grace"),
        ],
        "bought" => &[(
            "01-10T00:00",
            NotificationKind::ConsumablePurchased,
            "bought",
        )],
        other => panic!("`{other}` is not a state"),
    }
}

fn verification(shows: &str, has_trial: bool) -> Verification {
    match shows {
        "nobody" | "linked nobody" => Verification::Unverifiable,
        "gone" => Verification::Gone,
        _ => Verification::Verified(Box::new(shown(shows, has_trial))),
    }
}

/// The state before a line, the reports that the line settles, and the time of the settling.
struct Case {
    known: Purchase,
    reports: Vec<(i64, Notification)>,
    verification: Verification,
    has_trial: bool,
    now: Timestamp,
}

impl Case {
    fn of(arrow: &Arrow) -> Self {
        let names_trial = |cell: &&String| cell.starts_with("trial") || *cell == "converted";
        let has_trial = [&arrow.old, &arrow.shows].iter().any(names_trial);
        let mut known = Purchase::default();
        for (happened_at, kind, shows) in history(&arrow.old) {
            let shows = if arrow.can_query() { shows } else { "nobody" };
            let report = report(*kind, time(happened_at));
            let verification = at(&verification(shows, has_trial), time(happened_at));
            known = settle_with(&known, &[report], &verification, time(happened_at)).purchase;
        }
        let verification = verification(&arrow.shows, has_trial);
        let now = match &verification {
            Verification::Verified(snapshot) => snapshot.at,
            _ => time("02-20T00:00"),
        };
        let reports = (1_i64..)
            .zip(&arrow.reports)
            .map(|(n, kind)| (n, report(*kind, now.plus_millis(n * 1_000 - 1_800_000))));
        Self {
            reports: reports.collect(),
            known,
            verification,
            has_trial,
            now,
        }
    }
}

fn settle_at(
    known: &Purchase,
    reports: &[(i64, Notification)],
    verification: &Verification,
    now: Timestamp,
) -> Decision {
    decide(
        known,
        reports,
        SettlingContext {
            policy: crate::StorePolicy::default(),
            verification,
            is_replaced: false,
            now,
        },
    )
}

fn settled(arrow: &Arrow) -> Decision {
    let case = Case::of(arrow);
    let is_replaced = arrow.shows.starts_with("linked");
    decide(
        &case.known,
        &case.reports,
        SettlingContext {
            policy: crate::StorePolicy::default(),
            verification: &case.verification,
            is_replaced,
            now: case.now,
        },
    )
}

fn at(verification: &Verification, at: Timestamp) -> Verification {
    match verification {
        Verification::Verified(snapshot) => Verification::Verified(Box::new(Snapshot {
            at,
            ..snapshot.as_ref().clone()
        })),
        other => other.clone(),
    }
}

/// Returns the two settlings of a line whose store lags at first: the line's own, and the one in which the store has
/// caught up.
fn settled_late(arrow: &Arrow, lag: &Lag) -> [Decision; 2] {
    let case = Case::of(arrow);
    let stale = at(&verification(&lag.shows, case.has_trial), case.now);
    let first = settle_at(&case.known, &case.reports, &stale, case.now);
    let is_open =
        |(seq, _): &&(i64, Notification)| first.outcomes.iter().all(|(decided, _)| decided != seq);
    let open: Vec<_> = case.reports.iter().filter(is_open).cloned().collect();
    let later = case.now.plus_millis(1_860_000);
    let second = settle_at(
        &first.purchase,
        &open,
        &at(&case.verification, later),
        later,
    );
    [first, second]
}

#[test]
fn every_arrow_leads_to_the_state_and_events_of_the_fixture() {
    let mut wrong = Vec::new();
    for arrow in all() {
        let decision = settled(&arrow);
        let found = (decision.purchase.state().as_str(), events(&decision));
        if found != (arrow.new.as_str(), arrow.events.clone()) {
            wrong.push(format!(
                "{} | {:?} | {}: {found:?}",
                arrow.old, arrow.reports, arrow.shows
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} arrows lead elsewhere:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_arrow_ends_alike_when_the_store_lags_first() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for arrow in all() {
        let Some(lag) = &arrow.lag else { continue };
        count += 1;
        let case = Case::of(&arrow);
        let [first, second] = settled_late(&arrow, lag);
        let found = [events(&first), events(&second)];
        if found != [lag.at_first.clone(), lag.later.clone()] {
            wrong.push(format!(
                "{} | {:?} | {}: {found:?}",
                arrow.old, arrow.reports, lag.shows
            ));
        }
        if found.concat() != arrow.events {
            wrong.push(format!(
                "{} | {:?} | {}: {found:?} is not {:?}",
                arrow.old, arrow.reports, lag.shows, arrow.events
            ));
        }
        let later = case.now.plus_millis(1_860_000);
        let at_once = settle_at(&case.known, &case.reports, &case.verification, case.now).purchase;
        let at_once = settle_at(&at_once, &[], &at(&case.verification, later), later).purchase;
        let (late, prompt) = (record_of(&second.purchase), record_of(&at_once));
        if late != prompt {
            let differs = late
                .lines()
                .zip(prompt.lines())
                .filter(|(late, prompt)| late != prompt)
                .collect::<Vec<_>>();
            wrong.push(format!(
                "{} | {:?} | {}: {differs:?}",
                arrow.old, arrow.reports, lag.shows
            ));
        }
        if !first.purchase.is_unverified() || first.wake.is_none_or(|wake| wake > later) {
            wrong.push(format!(
                "{} | {:?} | {}: it is not read again soon",
                arrow.old, arrow.reports, lag.shows
            ));
        }
        if second.purchase.is_unverified() || second.waits.is_some() {
            wrong.push(format!(
                "{} | {:?} | {}: it did not catch up",
                arrow.old, arrow.reports, lag.shows
            ));
        }
    }
    assert!(wrong.is_empty(), "of {count} arrows:\n{}", wrong.join("\n"));
}
