//! For any response of Amplitude, each event has a verdict and no key is shown.

use super::response::{BODIES, events, now};
use super::*;
use crate::destinations::amplitude::GIVES_UP_AFTER;
use crate::destinations::amplitude::response::judge;
use crate::http::Reply;
use storage::{EndpointSignal as Signal, Verdict};

/// Generates bodies like Amplitude's, with arbitrary values in their fields.
fn bodies() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "code",
        "error",
        "events_ingested",
        "missing_field",
        "events_with_invalid_fields",
        "events_with_missing_fields",
        "events_with_invalid_id_lengths",
        "silenced_events",
        "silenced_devices",
        "throttled_users",
        "throttled_devices",
        "throttled_events",
        "exceeded_daily_quota_users",
        "eps_threshold",
    ];
    let field = proptest::sample::select(NAMES);
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!(200)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!([0, 1, 99])),
        Just(json!({})),
        Just(json!({"user_id": [0]})),
        Just(json!({API_KEY: [0]})),
        Just(json!({"time": {"0": [1]}})),
        Just(json!([[0]])),
        Just(json!(format!("Invalid API key: {API_KEY}"))),
        Just(json!(SANDBOX_KEY)),
    ];
    let like = proptest::collection::btree_map(field, value, 0..6);
    prop_oneof![
        like.prop_map(|fields| json!(fields).to_string()),
        "\\PC{0,200}",
        proptest::collection::vec(any::<u8>(), 0..200)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

proptest! {
    #[test]
    fn any_answer_gives_each_event_a_verdict_without_a_key(
        status in prop_oneof![Just(200_u16), Just(400), Just(413), Just(429), any::<u16>()],
        retry_after in proptest::option::of("[0-9]{1,25}|\\PC{0,20}"),
        (body, count, sandbox_from) in (bodies(), 0_usize..12, 0_usize..12),
        (number, refusals, passed_ms) in (any::<i64>(), any::<i64>(), proptest::option::of(-1_i64..2_000_000_000)),
        jitter in any::<f64>(),
    ) {
        let first_tried_at = passed_ms.map(|passed| now().plus_millis(-passed));
        let mut events = vec![Attempt { number, refusals, first_tried_at, ..events(1)[0].clone() }; count];
        events.iter_mut().skip(sandbox_from).for_each(|one| one.body = BODIES[1].clone());
        let reply = Reply::Answer { status, retry_after, headers: Vec::new(), body };
        let result = judge(&ready(json!({})), Exchange { events: &events, reply: &reply, at: now(), jitter });
        prop_assert_eq!(result.events.len(), count);
        let delivered = result.events.iter().any(|one| one.verdict == Verdict::Delivered);
        prop_assert!(!delivered || status == 200);
        prop_assert!(!delivered || result.endpoint_signal == Signal::Success);
        for one in &result.events {
            if let Verdict::Retry { delay } = one.verdict {
                prop_assert!(delay <= GIVES_UP_AFTER);
                // An immediate retry that uses no step could repeat forever. It occurs only after a request of several
                // events.
                prop_assert!(!delay.is_zero() || count > 1);
            }
        }
        let shown = format!("{result:?}");
        for key in [API_KEY, SECRET_KEY, SANDBOX_KEY] {
            prop_assert!(!shown.contains(key));
        }
    }
}
