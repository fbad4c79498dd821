use super::{
    ALL, Answers, CustomerSource, Evidence, Gone, Policy, Proof, RECEIPT_ID, Schedules,
    StorePolicy, wake_by_dates,
};
use crate::decide::tests::notification;
use crate::decide::{Decision, SettlingContext, Waits, decide};
use crate::event::tests::{day, monthly};
use crate::ids::{CollapseKey, PlatformId};
use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Purchase, State};
use crate::settling::Record;
use crate::time::{HOUR, MINUTE, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::{Parked, Snapshot, Verification};

/// A store whose answers are exact.
const EXACT: Policy = Policy {
    store: "exact",
    purchase_id_key: RECEIPT_ID,
    customer: CustomerSource::Answer,
    proof: Proof::Possession,
    evidence: Evidence::Read,
    answers: Answers::BY_DATES,
    gone: Gone::LastKnown,
    can_leave_end: true,
    schedules: Schedules {
        unknown: &[MINUTE],
        wrong_customer: &[MINUTE],
        believed_after: HOUR,
        settled_unverified: &[],
    },
    wake: wake_by_dates,
    acknowledged_within: |_| None,
};

fn exact() -> StorePolicy {
    super::add(&[&EXACT]);
    StorePolicy::of("exact").unwrap()
}

/// A store whose answers show the state.
pub fn by_state() -> StorePolicy {
    exact();
    StorePolicy::of(super::google::POLICY.store).unwrap()
}

/// A store that signs what it shows.
pub fn signed() -> StorePolicy {
    exact();
    StorePolicy::of(super::apple::POLICY.store).unwrap()
}

fn first() -> StorePolicy {
    StorePolicy::default()
}

/// Returns the decision about one notification.
fn settle(
    policy: StorePolicy,
    known: &Purchase,
    reported: &[Notification],
    verification: &Verification,
    now: Timestamp,
) -> Decision {
    let numbered: Vec<_> = (1..).zip(reported.iter().cloned()).collect();
    let context = SettlingContext {
        policy,
        verification,
        is_replaced: false,
        now,
    };
    decide(known, &numbered, context)
}

fn report(kind: NotificationKind, time: Timestamp) -> Notification {
    Notification {
        store_time: time,
        ..notification(kind, 0)
    }
}

fn shown(snapshot: Snapshot) -> Verification {
    Verification::Verified(Box::new(snapshot))
}

/// Returns a subscription that was bought on day 0.
fn bought(policy: StorePolicy) -> Purchase {
    let begun = report(NotificationKind::SubscriptionPurchased, day(0));
    let decision = settle(
        policy,
        &Purchase::default(),
        &[begun],
        &shown(monthly()),
        day(0),
    );
    assert_eq!(decision.purchase.state(), State::Active);
    decision.purchase
}

/// Like [`bought`], but the subscription ended on day 10.
fn expired(policy: StorePolicy) -> Purchase {
    let over = Snapshot {
        at: day(11),
        renews_at: None,
        ends_at: Some(day(10)),
        auto_renewing: Some(false),
        ..monthly()
    };
    let seen = settle(policy, &bought(policy), &[], &shown(over.clone()), day(11));
    // An end that no notification named waits for a second answer if the store may lag and shows the end only in part.
    let over = Snapshot {
        at: day(12),
        ..over
    };
    let decision = settle(policy, &seen.purchase, &[], &shown(over), day(12));
    assert_eq!(decision.purchase.state(), State::Expired);
    decision.purchase
}

fn kinds(decision: &Decision) -> Vec<TransitionKind> {
    let all = decision.transitions.iter();
    all.map(|transition| transition.kind).collect()
}

#[test]
fn a_recent_report_is_believed_where_it_is_evidence_alone() {
    let grace = report(NotificationKind::GraceBegan, day(20));
    let running = Snapshot {
        at: day(20).plus(MINUTE),
        ..monthly()
    };
    for (policy, state, behind) in [
        (first(), State::Grace, true),
        (exact(), State::Active, false),
    ] {
        let known = bought(policy);
        let reported = std::slice::from_ref(&grace);
        let decision = settle(
            policy,
            &known,
            reported,
            &shown(running.clone()),
            running.at,
        );
        assert_eq!(decision.purchase.state(), state, "{}", policy.store);
        assert_eq!(
            decision.purchase.behind.is_some(),
            behind,
            "{}",
            policy.store
        );
    }
}

#[test]
fn an_end_waits_for_an_answer_that_lags_alone() {
    let end = report(NotificationKind::Expired, day(20));
    let running = Snapshot {
        at: day(20).plus(MINUTE),
        ..monthly()
    };
    for (policy, waits) in [(first(), Some(Waits::Confirmation)), (exact(), None)] {
        let known = bought(policy);
        let reported = std::slice::from_ref(&end);
        let decision = settle(
            policy,
            &known,
            reported,
            &shown(running.clone()),
            running.at,
        );
        assert_eq!(decision.waits, waits, "{}", policy.store);
        assert_eq!(decision.purchase.state(), State::Active, "{}", policy.store);
    }
}

#[test]
fn what_is_gone_is_over_or_stays_as_it_was() {
    for (policy, state) in [(first(), State::Expired), (exact(), State::Active)] {
        let known = bought(policy);
        let decision = settle(policy, &known, &[], &Verification::Gone, day(20));
        assert_eq!(decision.purchase.state(), state, "{}", policy.store);
        let announced = if state == State::Active { 0 } else { 1 };
        assert_eq!(kinds(&decision).len(), announced, "{}", policy.store);
    }
    // Reports count as if the store had not answered, and nothing becomes verified.
    let over = report(NotificationKind::Expired, day(20));
    let decision = settle(
        exact(),
        &bought(exact()),
        &[over],
        &Verification::Gone,
        day(20),
    );
    assert_eq!(decision.purchase.state(), State::Expired);
    let begun = report(NotificationKind::SubscriptionPurchased, day(0));
    let unverified = settle(
        exact(),
        &Purchase::default(),
        std::slice::from_ref(&begun),
        &Verification::Unverifiable,
        day(0),
    );
    let later = settle(
        exact(),
        &unverified.purchase,
        &[],
        &Verification::Gone,
        day(1),
    );
    assert!(unverified.purchase.is_unverified() && later.purchase.is_unverified());
    assert!(first().is_answer(&Verification::Gone) && !exact().is_answer(&Verification::Gone));
    let unknown = settle(
        exact(),
        &Purchase::default(),
        &[begun],
        &Verification::Gone,
        day(0),
    );
    let waits = Some(Waits::Parked(Parked::UnknownReceipt));
    assert_eq!(
        (unknown.waits, unknown.wake),
        (waits, Some(day(0).plus(MINUTE)))
    );
}

#[test]
fn an_end_is_left_where_the_store_s_ends_can_be() {
    // A subscription that ended on day 10 and was paid until day 31.
    for (policy, renews_at, expected) in [
        (first(), day(10), None),
        (exact(), day(10), Some(TransitionKind::Resumed)),
        (exact(), day(31), Some(TransitionKind::Resumed)),
        (exact(), day(62), Some(TransitionKind::Renewed)),
    ] {
        let running = Snapshot {
            at: day(13),
            renews_at: Some(renews_at),
            ..monthly()
        };
        let over = expired(policy);
        let shown = shown(running);
        let decision = settle(policy, &over, &[], &shown, day(13));
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(kinds(&decision), expected, "{} {renews_at}", policy.store);
        assert_eq!(decision.purchase.state(), State::Active, "{}", policy.store);
        let again = settle(policy, &decision.purchase, &[], &shown, day(13));
        assert_eq!(kinds(&again), [], "{} {renews_at}", policy.store);
    }
}

#[test]
fn an_end_that_was_left_is_announced_again() {
    let running = Snapshot {
        at: day(13),
        ..monthly()
    };
    let left = settle(exact(), &expired(exact()), &[], &shown(running), day(13));
    let over = Snapshot {
        at: day(32),
        renews_at: None,
        ends_at: Some(day(31)),
        ..monthly()
    };
    let over = settle(exact(), &left.purchase, &[], &shown(over), day(32));
    assert_eq!(kinds(&over), [TransitionKind::Expired]);
}

#[test]
fn a_report_of_a_payment_counts_once_its_date_is_shown() {
    let known = bought(exact());
    let renewed = report(NotificationKind::Renewed, day(31));
    let reported = std::slice::from_ref(&renewed);
    let unpaid = Snapshot {
        at: day(31),
        ..monthly()
    };
    let early = settle(exact(), &known, reported, &shown(unpaid), day(31));
    assert_eq!(kinds(&early), [], "the answer shows no payment");
    let paid = Snapshot {
        at: day(31).plus(MINUTE),
        renews_at: Some(day(62)),
        ..monthly()
    };
    let late = settle(exact(), &early.purchase, &[], &shown(paid.clone()), paid.at);
    assert_eq!(kinds(&late), [TransitionKind::Renewed]);
    let at_once = settle(exact(), &known, reported, &shown(paid.clone()), paid.at);
    assert_eq!(kinds(&at_once), [TransitionKind::Renewed]);
    assert_eq!(at_once.transitions[0].at, Some(day(31)));
    // Without an answer the report is believed; the later answer shows the same payment.
    let nothing = Verification::Unreachable { since: day(31) };
    let believed = settle(exact(), &known, reported, &nothing, day(32));
    assert_eq!(kinds(&believed), [TransitionKind::Renewed]);
    let confirmed = settle(exact(), &believed.purchase, &[], &shown(paid), day(32));
    assert_eq!(kinds(&confirmed), []);
}

#[test]
fn payments_minutes_apart_are_distinguished_by_dates() {
    let after = |minutes: u32| day(0).plus(MINUTE * minutes);
    let period = |at, renews_at| Snapshot {
        at: after(at),
        renews_at: Some(after(renews_at)),
        ..monthly()
    };
    let begun = report(NotificationKind::SubscriptionPurchased, day(0));
    let first = shown(period(0, 5));
    let mut known = settle(exact(), &Purchase::default(), &[begun], &first, day(0)).purchase;
    for term in 1..=6 {
        let at = after(5 * term);
        let renewed = report(NotificationKind::Renewed, at);
        let answer = shown(period(5 * term, 5 * term + 5));
        let decision = settle(exact(), &known, &[renewed], &answer, at);
        assert_eq!(kinds(&decision), [TransitionKind::Renewed], "term {term}");
        known = decision.purchase;
    }
    assert_eq!(known.stage.terms, Some(7));
}

#[test]
fn a_grace_period_pays_nothing_until_it_is_repaired() {
    let grace = Snapshot {
        at: day(31),
        renews_at: Some(day(38)),
        grace_ends_at: Some(day(38)),
        ..monthly()
    };
    let failed = settle(exact(), &bought(exact()), &[], &shown(grace), day(31));
    assert_eq!(kinds(&failed), [TransitionKind::GraceBegan]);
    let paid = Snapshot {
        at: day(33),
        renews_at: Some(day(62)),
        ..monthly()
    };
    for kind in [NotificationKind::OutOfGrace, NotificationKind::Renewed] {
        let repaired = report(kind, day(33));
        let known = &failed.purchase;
        let decision = settle(exact(), known, &[repaired], &shown(paid.clone()), day(33));
        assert_eq!(kinds(&decision), [TransitionKind::Recovered], "{kind:?}");
    }
    let unpaid = Snapshot {
        at: day(39),
        renews_at: None,
        ends_at: Some(day(38)),
        ..monthly()
    };
    let over = settle(exact(), &failed.purchase, &[], &shown(unpaid), day(39));
    assert_eq!(kinds(&over), [TransitionKind::Expired]);
}

#[test]
fn a_trial_converts_when_time_beyond_it_is_paid() {
    let trial = Snapshot {
        renews_at: Some(day(7)),
        trial_ends_at: Some(day(7)),
        ..monthly()
    };
    let begun = report(NotificationKind::SubscriptionPurchased, day(0));
    let nothing = Purchase::default();
    let tried = settle(exact(), &nothing, &[begun], &shown(trial), day(0));
    let began = [TransitionKind::TrialStarted, TransitionKind::Purchased];
    assert_eq!(kinds(&tried), began);
    let later = |snapshot: Snapshot| {
        let now = snapshot.at;
        kinds(&settle(
            exact(),
            &tried.purchase,
            &[],
            &shown(snapshot),
            now,
        ))
    };
    let paid = Snapshot {
        at: day(8),
        renews_at: Some(day(38)),
        ..monthly()
    };
    let converted = [TransitionKind::TrialConverted, TransitionKind::Renewed];
    assert_eq!(later(paid), converted);
    // A failed payment postponed the end beyond the trial.
    for end in [day(7), day(8)] {
        let over = Snapshot {
            at: day(8),
            renews_at: None,
            ends_at: Some(end),
            ..monthly()
        };
        let lost = [TransitionKind::TrialDidNotConvert, TransitionKind::Expired];
        assert_eq!(later(over), lost, "{end}");
    }
}

#[test]
fn only_the_calendar_counts_cycles_and_infers_refunds() {
    for (policy, cycles, revoked_at) in [(first(), Some(1), Some(day(10))), (exact(), None, None)] {
        assert_eq!(bought(policy).billing_cycles(), cycles, "{}", policy.store);
        assert_eq!(bought(policy).term_length().as_deref(), Some("P1M"));
        assert_eq!(expired(policy).revoked_at(), revoked_at, "{}", policy.store);
        assert_eq!(expired(policy).expires_at(), Some(day(10)));
    }
}

#[test]
fn notifications_wait_as_long_as_the_policy_allows() {
    let begun = report(NotificationKind::SubscriptionPurchased, day(0));
    let unanswered = Verification::Unreachable { since: day(0) };
    for (policy, settled) in [(first(), 0), (exact(), 1)] {
        let reported = std::slice::from_ref(&begun);
        let now = day(0).plus(HOUR);
        let decision = settle(policy, &Purchase::default(), reported, &unanswered, now);
        assert_eq!(decision.outcomes.len(), settled, "{}", policy.store);
    }
    let parked = Verification::Parked(Parked::UnknownReceipt);
    let mut known = Purchase::default();
    for (now, outcomes) in [(day(0), 0), (day(0).plus(MINUTE), 1)] {
        let decision = settle(exact(), &known, std::slice::from_ref(&begun), &parked, now);
        assert_eq!(decision.outcomes.len(), outcomes);
        assert!(
            decision
                .outcomes
                .iter()
                .all(|(_, one)| *one == Outcome::Abandoned)
        );
        known = decision.purchase;
    }
}

#[test]
fn records_name_every_store_but_the_first() {
    let json = |policy| serde_json::to_value(policy).unwrap();
    let stored = |policy| serde_json::to_value(bought(policy)).unwrap();
    assert_eq!(stored(first()).get("store"), None);
    assert_eq!(stored(exact())["store"], "exact");
    for policy in [first(), exact()] {
        let read: Purchase = serde_json::from_value(stored(policy)).unwrap();
        assert_eq!(read, bought(policy));
    }
    let later = serde_json::json!({"store": "later"});
    let unknown: Purchase = serde_json::from_value(later).unwrap();
    assert_eq!(unknown, Purchase::default());
    assert_eq!(json(exact()), "exact");
    assert!(first().is_unnamed() && !exact().is_unnamed());
    assert_eq!(
        ALL.iter()
            .filter(|policy| policy.store == first().store)
            .count(),
        1
    );
    let known: StorePolicy = serde_json::from_value("exact".into()).unwrap();
    assert_eq!(known, exact());
    let unknown = serde_json::from_value::<StorePolicy>("other".into()).unwrap_err();
    let expected = "the store `other` is not known to this version of settle";
    assert_eq!(unknown.to_string(), expected);
}

#[test]
fn a_record_names_a_decision_by_whether_its_store_is_named() {
    for (policy, name, other) in [
        (first(), "decision", "decision_of_named_store"),
        (exact(), "decision_of_named_store", "decision"),
    ] {
        let decision = settle(policy, &bought(policy), &[], &Verification::Gone, day(1));
        let record = Record {
            collapse_key: CollapseKey::of(PlatformId::new(uuid::Uuid::nil()), "receipt"),
            settling: 1,
            revision: 1,
            seqs: vec![7],
            from_devices: Vec::new(),
            decision,
            is_replaced: false,
            settings_version: Some(3),
            is_queried: true,
            is_answer: true,
            is_real: true,
            traceparent: None,
        };
        let json = serde_json::to_value(&record).unwrap();
        assert!(json.get(name).is_some() && json.get(other).is_none());
        let read: Record = serde_json::from_value(json).unwrap();
        assert_eq!(read.decision, record.decision);
        assert_eq!((read.seqs, read.settings_version), (vec![7], Some(3)));
    }
}
