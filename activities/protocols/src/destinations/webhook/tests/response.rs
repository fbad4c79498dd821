//! Verdicts on replies, for the event and for the endpoint as a whole.

use super::{URL, attempt, config, created, destination};
use crate::destinations::webhook::config::{Config, ready};
use crate::destinations::webhook::response::{describe_test, judge};
use crate::destinations::{Allowed, Exchange};
use crate::http::Reply;
use domain::Timestamp;
use domain::time::{duration, millis};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;
use storage::{Attempt, AttemptClass, DeliveryResult, EndpointSignal, EventResult, Verdict};

const HOUR_MS: i64 = 3_600_000;
const UPDATED: &str = "purchase.updated";
const RENEWED: &str = "user.subscription.renewed";

fn answer(status: u16, retry_after: Option<&str>) -> Reply {
    let retry_after = retry_after.map(str::to_owned);
    Reply::Answer {
        status,
        retry_after,
        headers: Vec::new(),
        body: String::new(),
    }
}

fn event(event_type: &str, number: i64, refusals: i64) -> Attempt {
    Attempt {
        event_type: event_type.to_owned(),
        number,
        refusals,
        ..attempt("")
    }
}

/// Returns the result of a failed attempt that counts as a step of the schedule.
fn failed(verdict: Verdict, class: AttemptClass, error: String) -> EventResult {
    EventResult {
        delivery_id: attempt("").delivery_id,
        verdict,
        class,
        error: Some(error),
        counts: true,
    }
}

fn judge_one_with(config: &Config, reply: &Reply, event: Attempt) -> (EventResult, EndpointSignal) {
    let DeliveryResult {
        mut events,
        endpoint_signal,
        user_pause,
        at_most,
        alarm,
        ..
    } = judge(
        config,
        Exchange {
            events: &[event],
            reply,
            at: Timestamp::default(),
            jitter: 0.5,
        },
    );
    assert_eq!(
        (events.len(), user_pause, at_most, alarm),
        (1, None, None, None)
    );
    (events.remove(0), endpoint_signal)
}

fn judge_one(reply: &Reply, event: Attempt) -> (EventResult, EndpointSignal) {
    judge_one_with(&config(&json!({})), reply, event)
}

fn with_schedule(seconds: &[i64]) -> Config {
    let created = created(&json!({ "url": URL }));
    ready(
        &destination(created.settings, Some(seconds.to_vec())),
        &created.secret,
        &Allowed::default(),
    )
    .unwrap()
}

#[test]
fn only_2xx_is_success() {
    for status in [200, 201, 204, 299] {
        let delivered = EventResult {
            error: None,
            ..failed(Verdict::Delivered, AttemptClass::Success, String::new())
        };
        assert_eq!(
            judge_one(&answer(status, None), event(UPDATED, 10, 9)),
            (delivered, EndpointSignal::Success)
        );
    }
    for (status, class, more) in [
        (199, AttemptClass::UnexpectedStatus, ""),
        (301, AttemptClass::Redirect, ": redirects are not followed"),
        (307, AttemptClass::Redirect, ": redirects are not followed"),
        (400, AttemptClass::Refused, ""),
        (404, AttemptClass::Refused, ""),
        (429, AttemptClass::ClientError, ""),
        (500, AttemptClass::ServerError, ""),
        (503, AttemptClass::ServerError, ""),
        (600, AttemptClass::UnexpectedStatus, ""),
    ] {
        let (result, endpoint_signal) = judge_one(&answer(status, None), event(UPDATED, 1, 0));
        let message = format!("the endpoint answered {status}{more}");
        let verdict = Verdict::Retry {
            delay: duration(5_000),
        };
        assert_eq!(result, failed(verdict, class, message));
        let pause_ms = [429, 502, 503, 504].contains(&status).then_some(5_000);
        assert_eq!(
            endpoint_signal,
            EndpointSignal::Failure {
                pause: pause_ms.map(duration)
            }
        );
    }
}

#[test]
fn a_failed_request_is_retried_until_the_schedule_ends() {
    let failure = Reply::Failure {
        class: AttemptClass::Tls,
        message: "no TLS".to_owned(),
    };
    for (number, verdict) in [
        (
            2,
            Verdict::Retry {
                delay: duration(300_000),
            },
        ),
        (10, Verdict::Failed),
    ] {
        let expected = failed(verdict, AttemptClass::Tls, "no TLS".to_owned());
        let result = judge_one(&failure, event(RENEWED, number, 0));
        assert_eq!(result, (expected, EndpointSignal::Failure { pause: None }));
    }
}

#[test]
fn a_destinations_own_schedule_is_used() {
    let custom = with_schedule(&[60, 7200]);
    let verdict = |number| {
        judge_one_with(&custom, &answer(500, None), event(UPDATED, number, 0))
            .0
            .verdict
    };
    assert_eq!(
        verdict(1),
        Verdict::Retry {
            delay: duration(60_000)
        }
    );
    assert_eq!(
        verdict(2),
        Verdict::Retry {
            delay: duration(7_200_000)
        }
    );
    assert_eq!(verdict(3), Verdict::Failed);
    let (_, endpoint_signal) =
        judge_one_with(&custom, &answer(503, Some("99999")), event(UPDATED, 3, 0));
    assert_eq!(
        endpoint_signal,
        EndpointSignal::Failure {
            pause: Some(duration(HOUR_MS))
        }
    );
}

#[test]
fn a_410_disables_the_endpoint_and_the_event_stays_pending() {
    for (event_type, number) in [(UPDATED, 1), (RENEWED, 4), (RENEWED, 10)] {
        let (result, endpoint_signal) =
            judge_one(&answer(410, Some("7200")), event(event_type, number, 4));
        assert!(
            matches!(result.verdict, Verdict::Retry { delay } if delay >= Duration::from_secs(5)),
            "{result:?}"
        );
        assert_eq!((result.class, result.counts), (AttemptClass::Gone, false));
        let reason = "the endpoint answered 410: it wants no more events".to_owned();
        assert_eq!(endpoint_signal, EndpointSignal::Gone { reason });
    }
}

#[test]
fn a_user_event_fails_at_its_fifth_refusal_a_state_does_not() {
    let verdict = |status, event_type, refusals| {
        judge_one(&answer(status, None), event(event_type, 6, refusals)).0
    };
    for status in [400, 401, 403, 404, 409, 413, 422, 451, 499] {
        let failed = verdict(status, RENEWED, 4);
        assert_eq!(
            (failed.verdict, failed.class),
            (Verdict::Failed, AttemptClass::Refused)
        );
        let message = format!("the endpoint answered {status}, and refused it 5 times");
        assert_eq!(failed.error.as_deref(), Some(message.as_str()));
        assert!(matches!(
            verdict(status, RENEWED, 3).verdict,
            Verdict::Retry { .. }
        ));
        assert!(matches!(
            verdict(status, UPDATED, 40).verdict,
            Verdict::Retry { .. }
        ));
        // Events about destinations and other subjects share the track of `user.*`, and must not block it either.
        assert_eq!(
            verdict(status, "destination.failing", 4).verdict,
            Verdict::Failed
        );
    }
    for status in [408, 425, 429, 410, 301, 500, 503] {
        assert!(
            matches!(verdict(status, RENEWED, 40).verdict, Verdict::Retry { .. }),
            "{status}"
        );
    }
}

#[test]
fn retry_after_delays_the_event_and_pauses_a_busy_endpoint() {
    let date = "Thu, 01 Jan 1970 00:02:00 GMT";
    for (status, retry_after, delay_ms, pause_ms) in [
        (429, "120", 120_000, Some(120_000)),
        (503, date, 120_000, Some(120_000)),
        (502, "0", 5_000, Some(5_000)),
        (504, "99999999999999999999", HOUR_MS, Some(HOUR_MS)),
        (503, "soon", 5_000, Some(5_000)),
        (500, "120", 120_000, None),
        (404, "120", 120_000, None),
    ] {
        let (result, endpoint_signal) =
            judge_one(&answer(status, Some(retry_after)), event(UPDATED, 1, 0));
        assert_eq!(
            result.verdict,
            Verdict::Retry {
                delay: duration(delay_ms)
            },
            "{status} {retry_after}"
        );
        assert_eq!(
            endpoint_signal,
            EndpointSignal::Failure {
                pause: pause_ms.map(duration)
            },
            "{status} {retry_after}"
        );
    }
    // The long wait of a late step applies to its event, not to the whole destination.
    let (result, endpoint_signal) = judge_one(&answer(503, None), event(UPDATED, 9, 0));
    assert_eq!(
        result.verdict,
        Verdict::Retry {
            delay: duration(24 * HOUR_MS)
        }
    );
    assert_eq!(
        endpoint_signal,
        EndpointSignal::Failure {
            pause: Some(duration(5_000))
        }
    );
}

#[test]
fn retry_after_pauses_the_lane_no_longer_than_its_event_waits() {
    let lane_pause = |status, retry_after, number| {
        let event = [event(UPDATED, number, 0)];
        let exchange = Exchange {
            events: &event,
            reply: &answer(status, retry_after),
            at: Timestamp::default(),
            jitter: 0.5,
        };
        judge(&config(&json!({})), exchange).lane_pause
    };
    for (status, retry_after, number, lane_pause_ms) in [
        (500, Some("3600"), 1, Some(HOUR_MS)),
        (429, Some("120"), 1, Some(120_000)),
        (429, Some("99999"), 1, Some(HOUR_MS)),
        (429, Some("14400"), 4, Some(4 * HOUR_MS)),
        (500, Some("120"), 4, Some(120_000)),
        (503, Some("0"), 1, None),
        (503, Some("soon"), 1, None),
        (503, None, 1, None),
        (200, Some("120"), 1, None),
        (500, Some("120"), 10, None),
    ] {
        assert_eq!(
            lane_pause(status, retry_after, number),
            lane_pause_ms.map(duration),
            "{status} {retry_after:?} {number}"
        );
    }
}

#[test]
fn a_tests_result_describes_the_reply() {
    assert_eq!(
        describe_test(&answer(204, None)),
        Ok("the endpoint answered 204".to_owned())
    );
    assert_eq!(
        describe_test(&answer(302, None)),
        Err("the endpoint answered 302: redirects are not followed".to_owned())
    );
    let failure = Reply::Failure {
        class: AttemptClass::Dns,
        message: "no name".to_owned(),
    };
    assert_eq!(describe_test(&failure), Err("no name".to_owned()));
}

proptest! {
    #[test]
    fn any_reply_to_any_attempt_has_a_verdict(
        status in any::<u16>(), retry_after in prop::option::of(".{0,30}"), jitter in any::<f64>(),
        (number, refusals) in (any::<i64>(), any::<i64>()), is_update in any::<bool>(), micros in any::<i64>(),
        first in prop::option::of(any::<i64>()),
    ) {
        let event_type = if is_update { UPDATED } else { RENEWED };
        let one = Attempt { first_tried_at: first.map(Timestamp::from_micros), ..event(event_type, number, refusals) };
        let reply = answer(status, retry_after.as_deref());
        let at = Timestamp::from_micros(micros);
        let result = judge(&config(&json!({})), Exchange { events: &[one], reply: &reply, at, jitter });
        let of_event = &result.events[0];
        prop_assert_eq!(of_event.verdict == Verdict::Delivered, (200..300).contains(&status));
        prop_assert_eq!(of_event.error.is_none(), of_event.verdict == Verdict::Delivered);
        prop_assert_eq!(matches!(result.endpoint_signal, EndpointSignal::Gone { .. }), status == 410);
        if let Verdict::Retry { delay } = of_event.verdict {
            prop_assert!((4_000..=48 * HOUR_MS).contains(&millis(delay)));
            prop_assert!(number < 10 || status == 410);
        }
    }
}
