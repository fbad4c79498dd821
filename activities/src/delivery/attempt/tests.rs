use super::*;
use domain::time::DAY;
use protocols::destinations::{Allowed, Kind as _, webhook};
use protocols::http::Reply;
use protocols::outgoing::Incoming;
use serde_json::json;
use storage::fixtures;
use uuid::Uuid;

fn connector() -> Box<dyn Connector> {
    let fields = json!({ "url": "https://example.com/hook" });
    let completed = webhook::kind::Webhook
        .create(fields.as_object().unwrap(), &Allowed::default(), [7; 32])
        .unwrap();
    let destination = fixtures::destination(webhook::KIND, completed.settings);
    destinations::ready(&destination, &completed.secret, &Allowed::default()).unwrap()
}

fn attempt(number: u8) -> Attempt {
    let delivery_id = DeliveryId::new(Uuid::from_bytes([number; 16]));
    Attempt {
        delivery_id,
        ..fixtures::attempt("user.subscription.renewed", "")
    }
}

#[test]
fn the_time_limit_counts_from_the_first_attempt() {
    let at = |ms| Timestamp::default().plus_millis(ms);
    assert!(
        !is_event_expired(None, Some(LEASE_RETRY), at(5000)),
        "never attempted"
    );
    assert!(
        !is_event_expired(Some(at(0)), None, at(i64::MAX / 2000)),
        "never given up"
    );
    assert!(!is_event_expired(Some(at(0)), Some(LEASE_RETRY), at(999)));
    assert!(is_event_expired(Some(at(0)), Some(LEASE_RETRY), at(1000)));
}

#[test]
fn an_attempts_clock_continues_from_the_leases_database_time() {
    let leased_at = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
    let passed_ms = clock(leased_at).now().millis_since(Timestamp::default());
    assert!((3_000..63_000).contains(&passed_ms), "{passed_ms}");
}

/// Returns the clock of a lease that began at time zero of the database and of the machine.
fn clock(leased_at: Instant) -> Clock {
    Clock {
        leased_at_db: Timestamp::default(),
        leased_at,
        requested_at: Timestamp::default(),
    }
}

#[test]
fn a_lease_is_certain_if_both_clocks_have_moved_little() {
    let (now, at) = (Instant::now(), |ms| Timestamp::default().plus_millis(ms));
    let later = now.checked_add(Duration::from_secs(3600)).unwrap();
    assert!(clock(later).is_certain(at(0)) && clock(later).is_certain(at(999)));
    assert!(
        !clock(later).is_certain(at(1000)),
        "the machine slept, or its clock was put forward"
    );
    assert!(!clock(later).is_certain(at(-1)), "its clock was put back");
    let earlier = now.checked_sub(CERTAIN).unwrap();
    assert!(
        !clock(earlier).is_certain(at(0)),
        "the time has passed, and the clock was put back as far"
    );
}

/// Returns the results of these events after a response with status 500.
fn refused(events: &[Attempt]) -> DeliveryResult {
    let reply = Incoming::Http(Reply::Answer {
        status: 500,
        retry_after: None,
        headers: Vec::new(),
        body: String::new(),
    });
    connector().judge(Exchange {
        events,
        reply: &reply,
        at: Timestamp::default(),
        jitter: 0.5,
    })
}

#[test]
fn a_webhook_is_disabled_after_five_days_of_failures() {
    assert_eq!(
        refused(&[attempt(1)]).endpoint_signal,
        EndpointSignal::Failure { pause: None }
    );
    assert_eq!(connector().disable_after(), DAY * 5);
}

#[test]
fn unusable_settings_count_no_attempt_and_signal_nothing() {
    let sent = unusable(
        &[attempt(1), attempt(2)],
        &Invalid::new("secret", "one that signs"),
    );
    assert_eq!(sent.result.endpoint_signal, EndpointSignal::Neutral);
    assert!(
        sent.result
            .events
            .iter()
            .all(|one| one.class == AttemptClass::InvalidSettings && !one.counts)
    );
    assert_eq!(
        retry_reason(&sent.result.events).as_deref(),
        Some("`secret`: expected one that signs")
    );
}

#[test]
fn a_late_attempt_counts_nothing_and_is_retried_soon() {
    let sent = unsent(vec![lease_expired(&attempt(1))]);
    assert_eq!(
        (sent.result.endpoint_signal, sent.disable_after),
        (EndpointSignal::Neutral, Duration::MAX)
    );
    let summary: Vec<_> = sent
        .result
        .events
        .iter()
        .map(|one| (one.class, one.counts, one.verdict))
        .collect();
    assert_eq!(
        summary,
        [(
            AttemptClass::Late,
            false,
            Verdict::Retry { delay: LEASE_RETRY }
        )]
    );
}

#[test]
fn each_event_of_a_request_has_its_own_verdict() {
    let events = refused(&[
        attempt(1),
        Attempt {
            number: 10,
            ..attempt(2)
        },
    ])
    .events;
    let verdicts: Vec<_> = events
        .iter()
        .map(|one| (one.delivery_id, one.verdict))
        .collect();
    let retry = Verdict::Retry {
        delay: Duration::from_secs(5),
    };
    assert_eq!(
        verdicts,
        [
            (attempt(1).delivery_id, retry),
            (attempt(2).delivery_id, Verdict::Failed)
        ]
    );
    assert_eq!(
        retry_reason(&events).as_deref(),
        Some("the endpoint answered 500")
    );
}
