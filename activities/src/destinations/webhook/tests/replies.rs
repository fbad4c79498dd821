//! What an endpoint's reply means for the event and for the endpoint as a whole.

use super::{URL, config, destination, made};
use crate::destinations::Allowed;
use crate::destinations::webhook::config::{Config, ready};
use crate::destinations::webhook::response::{outcome, tested};
use crate::http::Reply;
use crate::outcome::{EndpointSignal, Judged, Outcome, Tried, Verdict};
use domain::Timestamp;
use proptest::prelude::*;
use serde_json::json;

const HOUR_MS: i64 = 3_600_000;
const UPDATED: &str = "purchase.updated";
const RENEWED: &str = "user.subscription.renewed";

fn answer(status: u16, retry_after: Option<&str>) -> Reply {
    let retry_after = retry_after.map(str::to_owned);
    Reply::Answer { status, retry_after, headers: Vec::new(), body: String::new() }
}

fn tried(event_type: &str, number: i64, refusals: i64) -> Tried<'_> {
    Tried { event_type, number, refusals, first_tried_at: None, body: "" }
}

fn judged_with(config: &Config, reply: &Reply, tried: Tried<'_>) -> (Judged, EndpointSignal) {
    let Outcome { mut events, endpoint_signal, user_pause_ms, at_most, alarm, .. } =
        outcome(config, reply, &[tried], (0.5, Timestamp::default()));
    assert_eq!((events.len(), user_pause_ms, at_most, alarm), (1, None, None, None));
    (events.remove(0), endpoint_signal)
}

fn judged(reply: &Reply, tried: Tried<'_>) -> (Judged, EndpointSignal) {
    judged_with(&config(&json!({})), reply, tried)
}

fn with_schedule(seconds: &[i64]) -> Config {
    let made = made(&json!({ "url": URL }));
    ready(&destination(made.settings, Some(seconds.to_vec())), &made.secret, &Allowed::default()).unwrap()
}

#[test]
fn only_2xx_is_success() {
    for status in [200, 201, 204, 299] {
        let delivered = Judged { verdict: Verdict::Delivered, class: "success", message: None, counts: true };
        assert_eq!(judged(&answer(status, None), tried(UPDATED, 10, 9)), (delivered, EndpointSignal::Success));
    }
    for (status, class, more) in [
        (199, "unexpected_status", ""),
        (301, "redirect", ": redirects are not followed"),
        (307, "redirect", ": redirects are not followed"),
        (400, "client_error", ""),
        (404, "client_error", ""),
        (429, "client_error", ""),
        (500, "server_error", ""),
        (503, "server_error", ""),
        (600, "unexpected_status", ""),
    ] {
        let (judged, endpoint_signal) = judged(&answer(status, None), tried(UPDATED, 1, 0));
        let message = Some(format!("the endpoint answered {status}{more}"));
        let verdict = Verdict::Retry { delay_ms: 5_000 };
        assert_eq!(judged, Judged { verdict, class, message, counts: true });
        let pause_ms = [429, 502, 503, 504].contains(&status).then_some(5_000);
        assert_eq!(endpoint_signal, EndpointSignal::Failure { pause_ms });
    }
}

#[test]
fn what_never_reached_the_endpoint_is_tried_again_until_the_schedule_ends() {
    let failure = Reply::Failure { class: "tls", message: "no TLS".to_owned() };
    for (number, verdict) in [(2, Verdict::Retry { delay_ms: 300_000 }), (10, Verdict::Dead)] {
        let expected = Judged { verdict, class: "tls", message: Some("no TLS".to_owned()), counts: true };
        let result = judged(&failure, tried(RENEWED, number, 0));
        assert_eq!(result, (expected, EndpointSignal::Failure { pause_ms: None }));
    }
}

#[test]
fn the_schedule_is_the_destinations_own() {
    let own = with_schedule(&[60, 7200]);
    let verdict = |number| judged_with(&own, &answer(500, None), tried(UPDATED, number, 0)).0.verdict;
    assert_eq!(verdict(1), Verdict::Retry { delay_ms: 60_000 });
    assert_eq!(verdict(2), Verdict::Retry { delay_ms: 7_200_000 });
    assert_eq!(verdict(3), Verdict::Dead);
    let (_, endpoint_signal) = judged_with(&own, &answer(503, Some("99999")), tried(UPDATED, 3, 0));
    assert_eq!(endpoint_signal, EndpointSignal::Failure { pause_ms: Some(HOUR_MS) });
}

#[test]
fn a_410_disables_and_the_event_stays_owed() {
    for (event_type, number) in [(UPDATED, 1), (RENEWED, 4), (RENEWED, 10)] {
        let (judged, endpoint_signal) = judged(&answer(410, Some("7200")), tried(event_type, number, 4));
        assert!(matches!(judged.verdict, Verdict::Retry { delay_ms: 5_000.. }), "{judged:?}");
        assert_eq!((judged.class, judged.counts), ("gone", false));
        let reason = "the endpoint answered 410: it wants no events any more".to_owned();
        assert_eq!(endpoint_signal, EndpointSignal::Gone { reason });
    }
}

#[test]
fn a_user_event_refused_five_times_gives_way_and_the_newest_state_does_not() {
    let verdict = |status, event_type, refusals| judged(&answer(status, None), tried(event_type, 6, refusals)).0;
    for status in [400, 401, 403, 404, 409, 413, 422, 451, 499] {
        let dead = verdict(status, RENEWED, 4);
        assert_eq!((dead.verdict, dead.class), (Verdict::Dead, "client_error"));
        let message = format!("the endpoint answered {status}, and refused it 5 times");
        assert_eq!(dead.message.as_deref(), Some(message.as_str()));
        assert!(matches!(verdict(status, RENEWED, 3).verdict, Verdict::Retry { .. }));
        assert!(matches!(verdict(status, UPDATED, 40).verdict, Verdict::Retry { .. }));
        // Operator events and others share the track of `user.*`, and may not stop it either.
        assert_eq!(verdict(status, "destination.failing", 4).verdict, Verdict::Dead);
    }
    for status in [408, 425, 429, 410, 301, 500, 503] {
        assert!(matches!(verdict(status, RENEWED, 40).verdict, Verdict::Retry { .. }), "{status}");
    }
}

#[test]
fn retry_after_moves_the_event_and_where_the_endpoint_is_busy_all_of_it() {
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
        let (judged, endpoint_signal) = judged(&answer(status, Some(retry_after)), tried(UPDATED, 1, 0));
        assert_eq!(judged.verdict, Verdict::Retry { delay_ms }, "{status} {retry_after}");
        assert_eq!(endpoint_signal, EndpointSignal::Failure { pause_ms }, "{status} {retry_after}");
    }
    // A late step of one event does not silence the whole destination for a day.
    let (judged, endpoint_signal) = judged(&answer(503, None), tried(UPDATED, 9, 0));
    assert_eq!(judged.verdict, Verdict::Retry { delay_ms: 24 * HOUR_MS });
    assert_eq!(endpoint_signal, EndpointSignal::Failure { pause_ms: Some(5_000) });
}

#[test]
fn what_is_asked_holds_for_the_purchase_no_longer_than_asked_and_than_the_event_waits() {
    let asked = |status, retry_after, number| {
        let tried = [tried(UPDATED, number, 0)];
        outcome(&config(&json!({})), &answer(status, retry_after), &tried, (0.5, Timestamp::default())).lane_pause_ms
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
        assert_eq!(asked(status, retry_after, number), lane_pause_ms, "{status} {retry_after:?} {number}");
    }
}

#[test]
fn a_test_says_in_words_what_came() {
    assert_eq!(tested(&answer(204, None)), Ok("the endpoint answered 204".to_owned()));
    assert_eq!(tested(&answer(302, None)), Err("the endpoint answered 302: redirects are not followed".to_owned()));
    let failure = Reply::Failure { class: "dns", message: "no name".to_owned() };
    assert_eq!(tested(&failure), Err("no name".to_owned()));
}

proptest! {
    #[test]
    fn any_reply_to_any_attempt_is_judged(
        status in any::<u16>(), retry_after in prop::option::of(".{0,30}"), jitter in any::<f64>(),
        (number, refusals) in (any::<i64>(), any::<i64>()), is_update in any::<bool>(), micros in any::<i64>(),
        first in prop::option::of(any::<i64>()),
    ) {
        let event_type = if is_update { UPDATED } else { RENEWED };
        let one = Tried { event_type, number, refusals, first_tried_at: first.map(Timestamp::from_micros), body: "" };
        let reply = answer(status, retry_after.as_deref());
        let outcome = outcome(&config(&json!({})), &reply, &[one], (jitter, Timestamp::from_micros(micros)));
        let judged = &outcome.events[0];
        prop_assert_eq!(judged.verdict == Verdict::Delivered, (200..300).contains(&status));
        prop_assert_eq!(judged.message.is_none(), judged.verdict == Verdict::Delivered);
        prop_assert_eq!(matches!(outcome.endpoint_signal, EndpointSignal::Gone { .. }), status == 410);
        if let Verdict::Retry { delay_ms } = judged.verdict {
            prop_assert!((4_000..=48 * HOUR_MS).contains(&delay_ms));
            prop_assert!(number < 10 || status == 410);
        }
    }
}
