//! Sentences about a destination's state and backlog.

use super::{HOOK, ID, at, hook, id, sending};
use crate::resources::explain::sentences;
use storage::{
    Addressee, Backlog, DeliveryStatus, DestinationExplanation, Sending, ShownState, Skipped,
};

/// A healthy destination with permanently failed deliveries.
fn explanation(addressee: Addressee, failed: i64) -> DestinationExplanation {
    DestinationExplanation {
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
        store_ids: [(id(), "r1".to_owned())].into(),
        now: at(30),
    }
}

#[test]
fn a_destination_shows_its_state() {
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
    assert!(stands(open).contains("settle checks it every 30 s and sends what waits by itself; last check at 2027-01-15T08:00:25.000000Z"));
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
}

#[test]
fn a_failing_destination_shows_the_next_step() {
    let next = |addressee: Addressee| sentences::next_step(&explanation(addressee, 0));
    let mut failing = hook();
    failing.health.health.failures = 1;
    assert_eq!(next(failing.clone()), None, "nothing is pending");
    failing.health.pending = 2;
    let text = format!(
        "Next: `settle destination retry {ID}` sends everything pending now and prints the result"
    );
    assert_eq!(next(failing.clone()), Some(text));
    failing.destination.common.enabled = false;
    assert_eq!(next(failing), None);
}

#[test]
fn a_destination_shows_its_backlog() {
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
        "purchase.updated {ID} of purchase {ID} (store's id r1): pending. 2 attempts failed ("
    );
    assert!(pending.starts_with(&named), "{pending}");
    let many = explanation(hook(), DestinationExplanation::MAX_COUNTED);
    assert!(sentences::failed(&many).starts_with("10000 or more deliveries failed for good"));
    assert_eq!(sentences::skipped(&explanation(hook(), 0)), None);
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
