//! The sentences, one for each state.

use super::sentences::{self, unsent};
use domain::event::{Change, Wildcards};
use domain::health::Health;
use domain::{CollapseKey, DeliveryId, Environment, EventId, Outcome, PlatformId, Timestamp};
use serde_json::Value;
use storage::{
    Addressee, AttemptView, Backlog, CauseKind, Concerned, DeliveryStatus, DeliveryView,
    Destination, DestinationExplanation, DestinationSettings, EventFacts, HealthView,
    NotificationView, ReceivedNotification, RevisionCause, RevisionCauses, Sending, ShownState,
    Skipped, Stated, Successor, UnchosenType, WaitingFor, fixtures,
};

const ID: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
/// The label of the destination of these tests.
const HOOK: &str = "`hook` (webhook 6b275a67-0bbb-4f3a-99b9-6600bf711993)";

fn id<T: std::str::FromStr>() -> T {
    ID.parse().unwrap_or_else(|_| panic!("{ID} is an id"))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

fn hook() -> Addressee {
    let common = DestinationSettings::new("hook");
    let created = fixtures::destination("webhook", Value::default());
    let destination = Destination {
        id: id(),
        app_id: id(),
        common,
        since: at(0),
        created_at: at(0),
        ..created
    };
    let health = HealthView {
        health: Health::default(),
        pending: 0,
    };
    Addressee {
        destination,
        chosen_at: None,
        deleted_at: None,
        health,
    }
}

fn event() -> EventFacts {
    EventFacts {
        id: id(),
        event_type: "user.subscription.renewed".to_owned(),
        collapse_key: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        revision: 3,
        user_id: None,
        user_revision: Some(5),
        occurred_at: None,
        created_at: at(10),
        pruned_at: None,
        origin: Some((id(), id(), Environment::Production)),
        own_app_id: None,
        concerned: Concerned::default(),
        payment: None,
        causes: None,
    }
}

fn sending(status: DeliveryStatus) -> Sending {
    let delivery = DeliveryView {
        id: id::<DeliveryId>(),
        event_id: id::<EventId>(),
        event_type: "purchase.updated".to_owned(),
        collapse_key: id(),
        destination_id: id(),
        revision: 3,
        n: 0,
        status,
        attempts: 2,
        next_due_at: (status == DeliveryStatus::Pending).then(|| at(60)),
        last_error: Some("the endpoint answered 500".to_owned()),
        first_tried_at: Some(at(1)),
        finished_at: (status != DeliveryStatus::Pending).then(|| at(20)),
        pruned_at: None,
        created_at: at(1),
    };
    Sending {
        delivery,
        attempts: Vec::new(),
        successor: None,
        not_again: None,
    }
}

fn notification(outcome: Option<Outcome>, waiting_for: Option<WaitingFor>) -> ReceivedNotification {
    ReceivedNotification {
        view: NotificationView {
            seq: 1,
            message_id: "m".to_owned(),
            platform_id: id::<PlatformId>(),
            collapse_key: Some(id::<CollapseKey>()),
            receipt_id: "r".to_owned(),
            store_type: "RENEWED".to_owned(),
            accepted_at: at(0),
            outcome,
            waiting_for,
            revision: outcome.map(|_| 3),
            reason: None,
        },
        store_time: None,
        stated_time: None,
        finished_at: None,
        pruned_at: None,
        window_ends_at: None,
        held: None,
        unverified_since: None,
        unverified_because: None,
        next_wake_at: None,
        store: "amazon".to_owned(),
        topic_arn: None,
    }
}

/// The sentence of a delivery behind `to HOOK`.
fn sentence(one: &Sending, addressee: &Addressee) -> String {
    let text = sentences::delivery(one, addressee, at(30));
    text.strip_prefix(&format!("to {HOOK}"))
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

#[test]
fn a_change_shows_the_value_before_and_after() {
    let change = |field: &str, before, after| Change {
        field: field.to_owned(),
        before,
        after,
    };
    let long = "a".repeat(100);
    let all = [
        change("is_active", Value::from(true), Value::from(false)),
        change("product_ref_id", Value::Null, Value::from("gold")),
        change(
            "entitlements",
            Value::Array(Vec::new()),
            Value::from(vec![long.clone()]),
        ),
    ];
    assert_eq!(
        sentences::changes(&all),
        format!(
            "changed: is_active true → false; product_ref_id null → gold; entitlements [] → [\"{}…",
            "a".repeat(78)
        )
    );
    assert_eq!(sentences::changes(&[]), "no field changed");
}

#[test]
fn a_missing_delivery_has_a_reason() {
    let reason = |addressee: &Addressee| unsent(&event(), addressee).map(|why| why.code);
    assert_eq!(reason(&hook()), Some("unexplained"));
    let created_later = Addressee {
        destination: Destination {
            created_at: at(11),
            ..hook().destination
        },
        ..hook()
    };
    assert_eq!(reason(&created_later), Some("created_later"));
    let mut other = hook();
    other.destination.common.events = vec!["purchase.updated".to_owned()];
    assert_eq!(reason(&other), Some("type_not_chosen"));
    let mut other = hook();
    other.destination.common.filter.platforms =
        vec!["00000000-0000-4000-8000-000000000002".parse().unwrap()];
    assert_eq!(reason(&other), Some("filtered_by_platform"));
    let mut other = hook();
    other.destination.common.filter.environments = vec![Environment::Sandbox];
    assert_eq!(reason(&other), Some("filtered_by_environment"));
    assert_eq!(
        reason(&Addressee {
            chosen_at: Some(at(11)),
            ..hook()
        }),
        Some("chosen_later")
    );
    assert_eq!(
        reason(&Addressee {
            deleted_at: Some(at(9)),
            ..hook()
        }),
        None,
        "it was deleted before"
    );
    assert_eq!(
        reason(&Addressee {
            deleted_at: Some(at(11)),
            ..hook()
        }),
        Some("deleted")
    );
    let about = EventFacts {
        origin: None,
        collapse_key: id(),
        ..event()
    };
    assert_eq!(unsent(&about, &hook()).map(|why| why.code), Some("itself"));
    let alarm = EventFacts {
        event_type: "alarm.opened".to_owned(),
        origin: None,
        ..event()
    };
    assert_eq!(
        unsent(&alarm, &hook()).map(|why| why.code),
        Some("type_not_chosen")
    );
    let about = EventFacts {
        concerned: Concerned(Some(id())),
        ..alarm
    };
    assert_eq!(unsent(&about, &hook()).map(|why| why.code), Some("itself"));
}

#[test]
fn why_not_is_a_sentence() {
    let sentence = |addressee: &Addressee| unsent(&event(), addressee).expect("a reason").sentence;
    let mut addressee = hook();
    addressee.destination.common.events =
        vec!["purchase.updated".to_owned(), "device.*".to_owned()];
    assert_eq!(
        sentence(&addressee),
        format!(
            "not to {HOOK}: not subscribed to user.subscription.renewed (subscribed to purchase.updated, device.*)"
        )
    );
    // At a destination of such a kind, wildcards include only the documented types.
    addressee.destination.wildcards = Wildcards::Listed;
    (
        addressee.destination.common.events,
        addressee.destination.kind,
    ) = (vec!["*".to_owned()], "k".to_owned());
    let state = EventFacts {
        event_type: "purchase.updated".to_owned(),
        ..event()
    };
    let text = unsent(&state, &addressee).expect("a reason").sentence;
    assert!(
        text.ends_with(
            "not subscribed to purchase.updated (subscribed to all listed events; it is not listed for k, and must be \
             chosen by name)"
        ),
        "{text}"
    );
    let about = EventFacts {
        event_type: "destination.failing".to_owned(),
        ..event()
    };
    let text = unsent(&about, &addressee).expect("a reason").sentence;
    assert!(
        text.ends_with("(subscribed to all listed events; `*` does not include events about destinations and alarms)"),
        "{text}"
    );
    assert!(sentence(&hook()).contains("settle check"));
    let correction = EventFacts {
        event_type: "revenue.adjusted".to_owned(),
        ..event()
    };
    let mut addressee = hook();
    let texts = [false, true].map(|counts| {
        addressee.destination.per_user = counts;
        unsent(&correction, &addressee).expect("a reason").sentence
    });
    assert!(
        texts[0].ends_with("`*` does not include changes of payments)"),
        "{}",
        texts[0]
    );
    assert!(
        texts[1].ends_with("the payment that it corrects was never sent there"),
        "{}",
        texts[1]
    );
}

#[test]
fn a_later_destination_gets_the_command_that_sends_it() {
    let after = |event: &EventFacts, change: &dyn Fn(&mut Addressee)| {
        let mut addressee = hook();
        addressee.destination.created_at = at(11);
        change(&mut addressee);
        let text = unsent(event, &addressee).expect("a reason").sentence;
        let start = format!(
            "not to {HOOK}: the destination was created later, at 2027-01-15T08:00:11.000000Z"
        );
        text.strip_prefix(&start)
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    let state = EventFacts {
        event_type: "purchase.updated".to_owned(),
        ..event()
    };
    let missing = after(&state, &|_| {});
    assert!(
        missing.starts_with(&format!(
            " (`settle resend missing --destination {ID}` sends"
        )),
        "{missing}"
    );
    let one = after(&event(), &|_| {});
    assert_eq!(
        one,
        format!(" (`settle resend event {ID} --destination {ID}` sends it)")
    );
    let deleted = after(&state, &|addressee| addressee.deleted_at = Some(at(12)));
    assert_eq!(deleted, ", and deleted at 2027-01-15T08:00:12.000000Z");
    let other = after(&state, &|addressee| {
        addressee.destination.common.events = vec!["user.*".to_owned()]
    });
    assert_eq!(
        other,
        ", and is not subscribed to purchase.updated (subscribed to user.*)"
    );
    let filtered = after(&event(), &|addressee| {
        addressee.destination.common.filter.environments = vec![Environment::Sandbox]
    });
    assert_eq!(
        filtered,
        ", and is limited to other platforms or environments"
    );
    let pruned = EventFacts {
        pruned_at: Some(at(20)),
        ..event()
    };
    assert_eq!(after(&pruned, &|_| {}), "");
}

#[test]
fn a_delivery_shows_its_final_status() {
    assert_eq!(
        sentence(&sending(DeliveryStatus::Delivered), &hook()),
        ": delivered at 2027-01-15T08:00:20.000000Z, attempt 2"
    );
    assert_eq!(
        sentence(&sending(DeliveryStatus::Skipped), &hook()),
        ": not sent: the endpoint answered 500"
    );
    let failed = sentence(&sending(DeliveryStatus::Failed), &hook());
    let start = ": failed at 2027-01-15T08:00:20.000000Z: the endpoint answered 500. Not retried;";
    assert!(failed.starts_with(start), "{failed}");
    assert!(
        failed.contains(&format!("settle resend event {ID} --destination {ID}")),
        "{failed}"
    );
    for (why, text) in [
        (
            Skipped::MayBeCounted,
            "cannot be resent: the destination may have it and would no longer recognize it",
        ),
        (
            Skipped::Pruned,
            "cannot be resent: retention removed its body",
        ),
        (
            Skipped::Operators,
            "cannot be resent: an event for operators is sent only once",
        ),
        (Skipped::AlreadyPending, "but queued again since"),
    ] {
        let lost = sentence(
            &Sending {
                not_again: Some(why),
                ..sending(DeliveryStatus::Failed)
            },
            &hook(),
        );
        assert!(
            lost.contains(text) && !lost.contains("settle resend"),
            "{lost}"
        );
    }
    assert!(
        sentence(&sending(DeliveryStatus::Waiting), &hook())
            .contains("waiting for the customer's id")
    );
    let mut again = sending(DeliveryStatus::Delivered);
    (again.delivery.n, again.delivery.pruned_at) = (1, Some(at(99)));
    let text = sentence(&again, &hook());
    assert!(
        text.starts_with(", sent again (the 2nd time): delivered")
            && text.contains("removed its attempts at"),
        "{text}"
    );
    for (n, time) in [
        (3, "the 4th time"),
        (10, "the 11th time"),
        (20, "the 21st time"),
        (111, "the 112th time"),
    ] {
        again.delivery.n = n;
        assert!(sentence(&again, &hook()).contains(time), "{time}");
    }
}

#[test]
fn a_superseded_delivery_shows_its_successor_and_its_status() {
    let mut one = sending(DeliveryStatus::Superseded);
    assert_eq!(sentence(&one, &hook()), ": superseded by a newer revision");
    for (status, became) in [
        (
            DeliveryStatus::Delivered,
            "which was delivered at 2027-01-15T08:00:40.000000Z",
        ),
        (
            DeliveryStatus::Failed,
            "which failed at 2027-01-15T08:00:40.000000Z",
        ),
        (DeliveryStatus::Pending, "which is pending"),
    ] {
        one.successor = Some(Successor {
            revision: 7,
            status,
            finished_at: Some(at(40)),
        });
        assert_eq!(
            sentence(&one, &hook()),
            format!(": superseded by revision 7, {became}")
        );
    }
}

#[test]
fn a_pending_delivery_shows_the_reason_for_its_delay() {
    let one = sending(DeliveryStatus::Pending);
    let pending = sentence(&one, &hook());
    assert_eq!(
        pending,
        ": pending. 2 attempts failed (the endpoint answered 500). Next attempt at 2027-01-15T08:01:00.000000Z"
    );
    let mut late = sending(DeliveryStatus::Pending);
    late.delivery.next_due_at = Some(at(29));
    late.attempts = vec![attempt()];
    assert_eq!(
        sentence(&late, &hook()),
        ": pending. 2 attempts failed (HTTP 503: the endpoint answered 500). Next attempt as soon as its lane is free, \
         due since 2027-01-15T08:00:29.000000Z"
    );
    late.attempts[0].finished_at = None;
    assert_eq!(
        sentence(&late, &hook()),
        ": pending: being sent now, unless its worker died"
    );
    let mut new = sending(DeliveryStatus::Pending);
    (new.delivery.attempts, new.delivery.last_error) = (0, None);
    assert_eq!(
        sentence(&new, &hook()),
        ": pending. First attempt at 2027-01-15T08:01:00.000000Z"
    );
    new.delivery.next_due_at = Some(at(29));
    assert!(sentence(&new, &hook()).contains("as soon as its lane is free"));

    let mut addressee = hook();
    addressee.health.health.paused_until = Some(at(31));
    assert_eq!(
        sentence(&one, &addressee),
        ": pending: the destination requested a pause until 2027-01-15T08:00:31.000000Z"
    );
    addressee.health.health.opened_at = Some(at(5));
    assert!(
        sentence(&one, &addressee).contains("has been failing since 2027-01-15T08:00:05.000000Z")
    );
    (
        addressee.destination.common.enabled,
        addressee.destination.reason,
    ) = (false, Some("it answered 410".to_owned()));
    assert_eq!(
        sentence(&one, &addressee),
        ": pending: the destination has been disabled since 2027-01-15T08:00:00.000000Z (it answered 410)"
    );
}

fn attempt() -> AttemptView {
    AttemptView {
        number: 2,
        mode: "probe".to_owned(),
        counts: false,
        started_at: at(1),
        finished_at: Some(at(2)),
        latency_ms: 12,
        status: Some(503),
        class: "server_error".to_owned(),
        error: Some("the endpoint answered 503".to_owned()),
        headers: vec![
            ("retry-after".to_owned(), "120".to_owned()),
            ("server".to_owned(), "x".to_owned()),
        ],
        response: Some("busy\n\n now ".to_owned()),
        next_due_at: Some(at(60)),
    }
}

#[test]
fn an_attempt_shows_the_response() {
    let attempt = attempt();
    assert_eq!(
        sentences::attempt(&attempt),
        "attempt 2 (check) at 2027-01-15T08:00:01.000000Z: HTTP 503 after 12 ms; retry-after: 120; response: busy now"
    );
    let lost = AttemptView {
        finished_at: None,
        response: None,
        headers: Vec::new(),
        ..attempt
    };
    assert!(sentences::attempt(&lost).ends_with("in flight, unless its worker died"));
    let long = AttemptView {
        finished_at: Some(at(2)),
        response: Some("x".repeat(900)),
        ..lost
    };
    assert!(sentences::attempt(&long).ends_with('…') && sentences::attempt(&long).len() < 400);
}

#[test]
fn a_notification_shows_its_outcome_or_the_reason_to_wait() {
    let sentence = |one: &ReceivedNotification| {
        sentences::notification(one, at(60))
            .split_once("RENEWED: ")
            .map(|(_, text)| text.to_owned())
            .unwrap()
    };
    assert_eq!(
        sentence(&notification(Some(Outcome::Settled), None)),
        "settled in revision 3"
    );
    assert_eq!(
        sentence(&notification(Some(Outcome::NoChange), None)),
        "settled without a change (revision 3)"
    );
    let mut window = notification(None, Some(WaitingFor::Window));
    window.window_ends_at = Some(at(120));
    assert!(
        sentence(&window)
            .contains("ends at 2027-01-15T08:02:00.000000Z unless another notification arrives")
    );
    window.window_ends_at = Some(at(60));
    assert_eq!(
        sentence(&window),
        "window ended at 2027-01-15T08:01:00.000000Z; settled next"
    );
    let mut hold = notification(None, Some(WaitingFor::Hold));
    hold.held = Some((at(60), Some("ann".to_owned()), Some("checking".to_owned())));
    assert_eq!(
        sentence(&hold),
        "on hold by ann until 2027-01-15T08:01:00.000000Z (checking)"
    );
    let mut verification = notification(None, Some(WaitingFor::Verification));
    (verification.unverified_since, verification.next_wake_at) = (Some(at(1)), Some(at(60)));
    verification.unverified_because = Some("HTTP 503".to_owned());
    assert_eq!(
        sentence(&verification),
        "no response from Amazon since 2027-01-15T08:00:01.000000Z: HTTP 503. Next check at \
         2027-01-15T08:01:00.000000Z"
    );
    let mut parked = notification(None, Some(WaitingFor::Parked));
    assert_eq!(
        sentence(&parked),
        "parked: Amazon does not know the receipt"
    );
    parked.view.receipt_id = "sample.mine.0a1b".to_owned();
    let sample = "parked: it is a sample, which Amazon does not confirm; only `settle run` with its demo does";
    assert_eq!(sentence(&parked), sample);
    for outcome in [
        Outcome::Duplicate,
        Outcome::Refused,
        Outcome::Discarded,
        Outcome::Unknown,
        Outcome::Abandoned,
    ] {
        assert_ne!(sentence(&notification(Some(outcome), None)), "");
    }
    let pruned = ReceivedNotification {
        pruned_at: Some(at(9)),
        ..notification(Some(Outcome::Settled), None)
    };
    assert!(
        sentence(&pruned).ends_with("retention removed its body at 2027-01-15T08:00:09.000000Z")
    );
    let stated_time = Some(Stated("2099-01-01T00:00:00.000000Z".to_owned()));
    let future = ReceivedNotification {
        stated_time,
        ..notification(Some(Outcome::Settled), None)
    };
    let note = "; its message states the time 2099-01-01T00:00:00.000000Z, which cannot be true: the time of publishing \
                counts";
    assert!(sentence(&future).ends_with(note), "{}", sentence(&future));
}

#[test]
fn a_revision_shows_all_that_caused_it() {
    let settled = [
        notification(Some(Outcome::Settled), None),
        notification(Some(Outcome::Settled), None),
    ];
    let by = |kind, by: &str| RevisionCause {
        kind,
        by: Some(by.to_owned()).filter(|by| !by.is_empty()),
    };
    let revision = |settled: &[ReceivedNotification], causes: &[RevisionCause]| {
        sentences::revision(3, settled.iter(), &RevisionCauses(causes.to_vec()))
    };
    assert_eq!(revision(&settled, &[]), "revision 3: 2 notifications");
    let causes = [by(CauseKind::SalesReport, "ann"), by(CauseKind::Login, "")];
    assert_eq!(
        revision(&settled[..1], &causes),
        "revision 3: 1 notification; sales report imported by ann; login"
    );
    assert_eq!(
        revision(&[], &[by(CauseKind::Scheduled, "")]),
        "revision 3: scheduled check"
    );
    assert_eq!(revision(&[], &[]), "revision 3", "less is known of it");
}

#[test]
fn a_destination_shows_its_state_and_its_backlog() {
    let explanation = |addressee: Addressee, failed| DestinationExplanation {
        addressee,
        shown_state: ShownState::Healthy,
        backlog: Backlog {
            waiting: 0,
            failed,
            skipped: 0,
        },
        pending: Vec::new(),
        failed: Vec::new(),
        skipped: Vec::new(),
        unchosen: Vec::new(),
        receipts: [(id(), "r1".to_owned())].into(),
        now: at(30),
    };
    let stands = |addressee: Addressee| sentences::destination(&explanation(addressee, 0));
    assert_eq!(
        stands(hook()),
        format!("destination {HOOK}: healthy since 2027-01-15T08:00:00.000000Z")
    );
    for (shown_state, text) in [
        (ShownState::NotTried, "no event sent yet"),
        (
            ShownState::SkipsEverything,
            "skips everything; no event of the last 24 hours was sent",
        ),
    ] {
        let of = DestinationExplanation {
            shown_state,
            ..explanation(hook(), 0)
        };
        assert_eq!(
            sentences::destination(&of),
            format!("destination {HOOK}: {text}")
        );
    }
    let mut open = hook();
    (open.health.health.opened_at, open.health.health.probed_at) = (Some(at(5)), Some(at(25)));
    assert!(stands(open).contains("checked every 30 s, last at 2027-01-15T08:00:25.000000Z"));
    let mut off = hook();
    off.destination.common.enabled = false;
    assert!(stands(off).contains("settle destination enable"));
    assert!(
        stands(Addressee {
            deleted_at: Some(at(7)),
            ..hook()
        })
        .contains("deleted at")
    );
    assert_eq!(
        sentences::pending(&explanation(hook(), 0)),
        "no pending deliveries"
    );
    assert_eq!(
        sentences::failed(&explanation(hook(), 0)),
        "no deliveries failed for good"
    );
    assert!(
        sentences::failed(&explanation(hook(), 1))
            .starts_with("1 delivery failed for good (`settle resend failed")
    );
    let pending =
        sentences::delivery_of(&explanation(hook(), 0), &sending(DeliveryStatus::Pending));
    let named = format!(
        "purchase.updated {ID} of purchase {ID} (receipt r1): pending. 2 attempts failed ("
    );
    assert!(pending.starts_with(&named), "{pending}");
    let many = explanation(hook(), DestinationExplanation::MAX_COUNTED);
    assert!(sentences::failed(&many).starts_with("10000 or more deliveries failed for good"));
    assert_eq!(sentences::skipped(&explanation(hook(), 0)), None);
    let mut health = hook().health;
    health.health.recovered_at = Some(at(5));
    assert!(sentences::health(&health).is_some_and(|text| text.contains("recovered at")));
    health.health.failures = 1;
    assert!(
        sentences::health(&health).is_some_and(|text| !text.contains("recovered")),
        "it fails again"
    );
    let counted = "1 failure in a row, repeats for one purchase or device counted once";
    assert!(sentences::health(&health).is_some_and(|text| text.contains(counted)));
    let skipping = DestinationExplanation {
        backlog: Backlog {
            skipped: 2,
            ..Backlog::default()
        },
        ..explanation(hook(), 0)
    };
    assert_eq!(
        sentences::skipped(&skipping).as_deref(),
        Some("2 deliveries not sent; newest first:")
    );
    let lost = || Sending {
        not_again: Some(Skipped::MayBeCounted),
        ..sending(DeliveryStatus::Failed)
    };
    let of = |count, failed| {
        sentences::failed(&DestinationExplanation {
            failed,
            ..explanation(hook(), count)
        })
    };
    assert_eq!(
        of(1, vec![lost()]),
        "1 delivery failed for good, none of which can be resent; newest first:"
    );
    for (count, failed) in [
        (2, vec![lost()]),
        (2, vec![lost(), sending(DeliveryStatus::Failed)]),
    ] {
        assert!(
            of(count, failed).contains("`settle resend failed"),
            "not all is lost"
        );
    }
}

#[test]
fn payments_that_are_not_chosen_are_counted_with_their_sum() {
    let destination = hook().destination;
    let destination = Destination {
        wildcards: Wildcards::Listed,
        ..destination
    };
    let event_type = "user.subscription.sku_change".to_owned();
    let usd = "89.99".parse().ok();
    let one = UnchosenType {
        event_type,
        payments: 1,
        usd,
        is_least: false,
        is_part: false,
        latest: Vec::new(),
    };
    let why = "not sent since 2027-01-15T08:00:00.000000Z: not subscribed to user.subscription.sku_change (subscribed to";
    let of = |one: &UnchosenType| sentences::unchosen(&destination, one);
    assert!(
        of(&one).starts_with(&format!("1 payment (89.99 USD) {why}")),
        "{}",
        of(&one)
    );
    let part = UnchosenType {
        payments: 2,
        is_part: true,
        ..one.clone()
    };
    assert!(
        of(&part).starts_with(&format!("2 payments (at least 89.99 USD) {why}")),
        "{}",
        of(&part)
    );
    let least = UnchosenType {
        payments: 1000,
        is_least: true,
        usd: None,
        ..one
    };
    assert!(
        of(&least).starts_with(&format!("at least 1000 payments {why}")),
        "{}",
        of(&least)
    );
}
