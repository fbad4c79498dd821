//! Checks the sentences, one for each state.

mod deliveries;
mod destinations;
mod duties;
mod unsent;

use super::sentences;
use domain::event::Change;
use domain::health::Health;
use domain::{CollapseKey, DeliveryId, Environment, EventId, Outcome, PlatformId, Timestamp};
use serde_json::Value;
use storage::{
    Addressee, CauseKind, Concerned, DeliveryStatus, DeliveryView, Destination,
    DestinationSettings, EventFacts, HealthView, NotificationView, ReceivedNotification,
    RevisionCause, RevisionCauses, Sending, Stated, WaitingFor, fixtures,
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

/// The sentence about a delivery, without `to HOOK` at its beginning.
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
        "parked: Amazon does not know the purchase"
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
