//! Sentences about deliveries and their attempts.

use super::{ID, at, hook, sending, sentence};
use crate::resources::explain::sentences;
use storage::{AttemptView, DeliveryStatus, Sending, Skipped, Successor};

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
            "cannot be resent: events for operators are sent only once",
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
        ": pending. 2 attempts failed (HTTP 503: the endpoint answered 500). Next attempt after the event before it, \
         due since 2027-01-15T08:00:29.000000Z"
    );
    late.attempts[0].finished_at = None;
    assert_eq!(sentence(&late, &hook()), ": pending: being sent now");
    let mut new = sending(DeliveryStatus::Pending);
    (new.delivery.attempts, new.delivery.last_error) = (0, None);
    assert_eq!(
        sentence(&new, &hook()),
        ": pending. First attempt at 2027-01-15T08:01:00.000000Z"
    );
    new.delivery.next_due_at = Some(at(29));
    assert!(sentence(&new, &hook()).contains("First attempt after the event before it"));

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
    assert!(sentences::attempt(&lost).ends_with(": being sent now"));
    let unconnected = AttemptView {
        finished_at: Some(at(2)),
        status: None,
        error: Some("no connection could be made".to_owned()),
        ..lost.clone()
    };
    assert!(sentences::attempt(&unconnected).ends_with(": not connected after 12 ms"));
    let long = AttemptView {
        finished_at: Some(at(2)),
        response: Some("x".repeat(900)),
        ..lost
    };
    assert!(sentences::attempt(&long).ends_with('…') && sentences::attempt(&long).len() < 400);
}
