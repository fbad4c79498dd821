//! What an answer means, row by row of Amplitude's table.

use super::*;
use crate::destinations::amplitude::response::{outcome, tested};
use crate::destinations::amplitude::{GIVES_UP_AFTER_MS, KIND};
use crate::http::Reply;
use crate::outcome::{EndpointSignal as Signal, Outcome, Tried, Verdict};
use std::sync::LazyLock;

const SECOND_MS: i64 = 1000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const ILL: Signal = Signal::Failure { pause_ms: None };

/// A frozen event for money, and one of a test.
static BODIES: LazyLock<[String; 2]> = LazyLock::new(|| {
    [Environment::Production, Environment::Sandbox].map(|environment| {
        let unsent = Unsent { environment, ..unsent(What::Renewed.event_type()) };
        body(&made(json!({})).0, &unsent)
    })
});

fn now() -> Timestamp {
    time("2026-03-10T00:00:00Z")
}

fn tried(count: usize) -> Vec<Tried<'static>> {
    let one = Tried {
        event_type: What::Renewed.event_type(),
        number: 1,
        refusals: 0,
        first_tried_at: None,
        body: &BODIES[0],
    };
    vec![one; count]
}

fn answer(status: u16, body: &str) -> Reply {
    Reply::Answer { status, retry_after: None, headers: Vec::new(), body: body.to_owned() }
}

fn judge(reply: &Reply, tried: &[Tried<'_>]) -> Outcome {
    outcome(&ready(json!({})), reply, tried, (0.5, now()))
}

fn said(status: u16, body: Value, count: usize) -> Outcome {
    judge(&answer(status, &body.to_string()), &tried(count))
}

/// Each event's class, its wait in milliseconds or what became of it, and whether it used up a step.
fn told(outcome: &Outcome) -> Vec<(&'static str, String, bool)> {
    let became = |verdict: &Verdict| match verdict {
        Verdict::Delivered => "delivered".to_owned(),
        Verdict::Retry { delay_ms } => delay_ms.to_string(),
        Verdict::Dead => "dead".to_owned(),
    };
    outcome.events.iter().map(|one| (one.class, became(&one.verdict), one.counts)).collect()
}

fn rows(rows: &[(&'static str, &str, bool)]) -> Vec<(&'static str, String, bool)> {
    rows.iter().map(|(class, became, counts)| (*class, (*became).to_owned(), *counts)).collect()
}

#[test]
fn events_that_were_taken_are_delivered() {
    let taken = json!({"code": 200, "events_ingested": 2, "payload_size_bytes": 50, "server_upload_time": 1});
    let outcome = said(200, taken, 2);
    assert_eq!(told(&outcome), rows(&[("success", "delivered", true); 2]));
    assert_eq!(outcome.endpoint_signal, Signal::Success);
    assert_eq!((outcome.alarm, outcome.at_most, outcome.user_pause_ms), (None, None, None));
    assert_eq!(said(200, json!({"code": 200}), 2).alarm, None);
}

#[test]
fn more_events_counted_than_were_sent_are_delivered_and_raise_an_alarm() {
    let outcome = said(200, json!({"code": 200, "events_ingested": 3}), 2);
    assert_eq!(told(&outcome), rows(&[("success", "delivered", true); 2]));
    assert_eq!((outcome.endpoint_signal, outcome.alarm.is_some()), (Signal::Success, true));
}

/// A repetition within seven days is safe; but Amplitude may not count it, so that it would be too few for ever.
#[test]
fn fewer_events_counted_than_were_sent_are_sent_again_twice_and_raise_an_alarm() {
    for ingested in [-1, 0, 1] {
        let taken = json!({"code": 200, "events_ingested": ingested}).to_string();
        let at = |number| {
            let mut tried = vec![Tried { number, ..tried(1)[0].clone() }; 2];
            tried[1].number = 1;
            let outcome = judge(&answer(200, &taken), &tried);
            assert_eq!((&outcome.endpoint_signal, outcome.alarm.is_some()), (&Signal::Success, true), "{ingested}");
            told(&outcome)
        };
        assert_eq!(at(1), rows(&[("too_few", "5000", true), ("too_few", "5000", true)]));
        assert_eq!(at(2), rows(&[("too_few", "300000", true), ("too_few", "5000", true)]));
        assert_eq!(at(3), rows(&[("success", "delivered", true), ("too_few", "5000", true)]), "each by itself");
    }
    let last = judge(&answer(200, r#"{"events_ingested":0}"#), &[Tried { number: 3, ..tried(1)[0].clone() }]);
    let alarm = "Amplitude counted fewer events than a request held, and they are taken as delivered";
    assert_eq!((told(&last), last.alarm.as_deref()), (rows(&[("success", "delivered", true)]), Some(alarm)));
}

#[test]
fn a_200_in_other_words_than_amplitudes_is_not_a_success() {
    for body in
        ["", "OK", "<html></html>", "[]", "{}", r#"{"code":400}"#, r#"{"code":200,"error":"no"}"#, r#"{"code":20"#]
    {
        let outcome = judge(&answer(200, body), &tried(1));
        assert_eq!((told(&outcome), outcome.endpoint_signal), (rows(&[("unreadable", "5000", true)]), ILL), "{body}");
    }
    let outcome = judge(&answer(204, ""), &tried(1));
    assert_eq!(told(&outcome), rows(&[("unexpected_status", "5000", true)]));
}

#[test]
fn requests_that_only_we_can_mend_die_with_an_alarm() {
    for body in [
        json!({"code": 400, "error": "Invalid JSON request body"}),
        json!({"code": 400, "error": "Request missing required field", "missing_field": "api_key"}),
    ] {
        let outcome = said(400, body.clone(), 2);
        assert_eq!(told(&outcome), rows(&[("defect", "dead", true); 2]), "{body}");
        assert_eq!((outcome.endpoint_signal, outcome.alarm.is_some()), (ILL, true));
    }
}

#[test]
fn what_went_to_a_wrong_path_or_lost_its_body_waits_until_somebody_mends_the_way() {
    for error in ["Missing request body", "Invalid request path"] {
        let body = json!({"code": 400, "error": error}).to_string();
        for (number, wait) in [(1, "5000"), (9, "86400000"), (100, "86400000")] {
            let one = Tried { number, refusals: number - 1, ..tried(1)[0].clone() };
            let outcome = judge(&answer(400, &body), &[one.clone(), one]);
            assert_eq!(told(&outcome), rows(&[("misdirected", wait, true); 2]), "{error}");
            assert_eq!((outcome.endpoint_signal, outcome.alarm.is_some()), (ILL, true));
        }
    }
}

#[test]
fn an_unknown_api_key_disables_the_integration_and_loses_nothing() {
    for status in [400, 401, 403] {
        let outcome = said(status, json!({"code": status, "error": format!("Invalid API key: {API_KEY}")}), 2);
        assert_eq!(told(&outcome), rows(&[("invalid_api_key", "3600000", false); 2]));
        let reason = "Amplitude does not know the key `api_key`".to_owned();
        assert_eq!(outcome.endpoint_signal, Signal::Gone { reason });
    }
}

#[test]
fn an_unknown_sandbox_key_disables_nothing_and_is_tried_again_each_hour_with_an_alarm() {
    let body = json!({"code": 400, "error": format!("Invalid API key: {SANDBOX_KEY}")}).to_string();
    let outcome = judge(&answer(400, &body), &[Tried { body: &BODIES[1], ..tried(1)[0].clone() }]);
    assert_eq!(told(&outcome), rows(&[("invalid_api_key", "3600000", false)]));
    let alarm = Some("Amplitude does not know the key `sandbox_api_key`".to_owned());
    assert_eq!((outcome.endpoint_signal, outcome.alarm), (Signal::Neutral, alarm));
}

#[test]
fn an_unknown_sandbox_key_that_is_the_only_one_disables_the_integration() {
    let body = json!({"code": 400, "error": format!("Invalid API key: {SANDBOX_KEY}")}).to_string();
    let alone = ready(json!({"api_key": null, "secret_key": null}));
    let tried = [Tried { body: &BODIES[1], ..tried(1)[0].clone() }];
    let outcome = outcome(&alone, &answer(400, &body), &tried, (0.5, now()));
    assert_eq!(told(&outcome), rows(&[("invalid_api_key", "3600000", false)]));
    let reason = "Amplitude does not know the key `sandbox_api_key`".to_owned();
    assert_eq!((outcome.endpoint_signal, outcome.alarm), (Signal::Gone { reason }, None));
}

#[test]
fn events_that_are_named_die_and_the_others_come_again_at_once() {
    for kind in ["events_with_invalid_fields", "events_with_missing_fields", "events_with_invalid_id_lengths"] {
        let body =
            json!({"code": 400, "error": "Invalid field values on some events", kind: {"time": [1], "who": [2]}});
        let outcome = said(400, body, 4);
        let expected = [
            ("not_taken", "0", false),
            ("refused", "dead", true),
            ("refused", "dead", true),
            ("not_taken", "0", false),
        ];
        assert_eq!((told(&outcome), &outcome.endpoint_signal), (rows(&expected), &Signal::Success), "{kind}");
        let message = |place: usize| outcome.events[place].message.as_deref().unwrap();
        assert_eq!(message(1), "Amplitude refused the event for its `time`");
        assert_eq!(message(2), "Amplitude refused the event for one of its fields");
    }
}

/// The documentation names only the first offending event of a request.
#[test]
fn naming_only_the_first_ends_in_as_many_rounds_as_there_are_wrong_events() {
    let mut wrong = vec![true, false, true, true, false, true];
    let mut rounds = 0;
    while let Some(first) = wrong.iter().position(|is_wrong| *is_wrong) {
        let body = json!({"code": 400, "error": "Invalid field values on some events",
            "events_with_invalid_fields": {"user_id": [first]}});
        let outcome = said(400, body, wrong.len());
        let judged = outcome.events.iter().zip(&wrong);
        wrong = judged.filter(|(one, _)| one.verdict != Verdict::Dead).map(|(_, is_wrong)| *is_wrong).collect();
        rounds += 1;
    }
    assert_eq!((rounds, wrong), (4, vec![false, false]));
}

#[test]
fn a_silenced_customer_is_told_no_more_and_a_person_hears_of_it() {
    let silenced = [("silenced", "dead", true), ("not_taken", "0", false)];
    let outcome = said(400, json!({"code": 400, "error": "x", "silenced_events": [0], "eps_threshold": 30}), 2);
    assert_eq!((told(&outcome), outcome.alarm.is_some()), (rows(&silenced), true));
    for devices in [json!({USER.to_string(): 40}), json!([USER])] {
        let outcome = said(400, json!({"code": 400, "error": "x", "silenced_devices": devices}), 2);
        assert_eq!(told(&outcome), rows(&[("silenced", "dead", true); 2]));
    }
    let other = said(400, json!({"code": 400, "error": "x", "silenced_devices": ["another"]}), 1);
    assert_eq!(told(&other), rows(&[("refused", "5000", true)]));
}

#[test]
fn a_throttled_customer_waits_half_a_minute_and_stops_nobody_else() {
    let user = USER.to_string();
    for body in [
        json!({"throttled_users": {user.as_str(): 31}}),
        json!({"throttled_devices": {user.as_str(): 31}, "throttled_users": {}}),
        json!({"throttled_events": [0]}),
    ] {
        for status in [400, 429] {
            let mut body = body.clone();
            body["code"] = json!(status);
            let outcome = said(status, body.clone(), 2);
            assert_eq!(told(&outcome), rows(&[("throttled", "30000", false); 2]), "{body}");
            assert_eq!((outcome.endpoint_signal, outcome.user_pause_ms), (Signal::Neutral, Some(30_000)));
        }
    }
}

#[test]
fn a_customer_whose_day_is_used_up_is_tried_again_each_hour() {
    for list in ["exceeded_daily_quota_users", "exceeded_daily_quota_devices"] {
        let body = json!({"code": 429, "error": "x", list: {"someone": 500_001}, "throttled_users": {"someone": 40}});
        let outcome = said(429, body, 1);
        assert_eq!(told(&outcome), rows(&[("quota", "3600000", false)]));
        assert_eq!((outcome.endpoint_signal, outcome.user_pause_ms), (Signal::Neutral, Some(HOUR_MS)));
    }
}

#[test]
fn a_throttled_project_is_left_alone_as_a_whole() {
    for body in
        ["", "slow down", r#"{"code":429,"error":"Too many requests for some devices and users","eps_threshold":1000}"#]
    {
        let outcome = judge(&answer(429, body), &tried(2));
        assert_eq!(told(&outcome), rows(&[("throttled", "30000", false); 2]), "{body}");
        let expected = (Signal::Failure { pause_ms: Some(30_000) }, None);
        assert_eq!((outcome.endpoint_signal, outcome.user_pause_ms), expected);
    }
    for (asked, pause_ms) in [("1", 30_000), ("90", 90_000), ("99999999999999999999", HOUR_MS), ("soon", 30_000)] {
        let reply =
            Reply::Answer { status: 429, retry_after: Some(asked.into()), headers: vec![], body: String::new() };
        assert_eq!(judge(&reply, &tried(1)).endpoint_signal, Signal::Failure { pause_ms: Some(pause_ms) }, "{asked}");
    }
}

#[test]
fn a_request_that_is_too_large_goes_out_in_halves_and_a_single_event_dies() {
    for (count, half) in [(10, 5), (5, 2), (3, 1), (2, 1)] {
        let outcome = judge(&answer(413, "<html>"), &tried(count));
        assert_eq!((outcome.at_most, outcome.endpoint_signal.clone()), (Some(half), Signal::Neutral));
        assert_eq!(told(&outcome), vec![("too_large", "0".to_owned(), false); count]);
    }
    let outcome = said(413, json!({"code": 413, "error": "Payload too large"}), 1);
    assert_eq!((told(&outcome), outcome.alarm.is_some()), (rows(&[("too_large", "dead", true)]), true));
}

#[test]
fn a_firewall_is_asked_again_rarely() {
    for (number, wait) in [(1, "900000"), (2, "900000"), (4, "7200000")] {
        let outcome = judge(&answer(403, "Forbidden"), &[Tried { number, ..tried(1)[0].clone() }]);
        assert_eq!(told(&outcome), rows(&[("forbidden", wait, true)]));
        assert_eq!((outcome.endpoint_signal, outcome.alarm.is_some()), (ILL, true));
    }
}

#[test]
fn a_refusal_that_no_table_lists_is_looked_for_by_halves_and_lets_the_next_pass_the_fifth_time() {
    let body = json!({"code": 400, "error": "Something else"});
    let outcome = said(400, body.clone(), 10);
    assert_eq!((outcome.at_most, &outcome.endpoint_signal), (Some(5), &Signal::Neutral));
    assert_eq!(told(&outcome), vec![("refused", "0".to_owned(), false); 10]);
    let alone = |number, refusals| {
        let one = Tried { number, refusals, ..tried(1)[0].clone() };
        let outcome = judge(&answer(400, &body.to_string()), &[one]);
        assert_eq!(outcome.endpoint_signal, ILL);
        told(&outcome)
    };
    assert_eq!(alone(1, 0), rows(&[("refused", "5000", true)]));
    assert_eq!(alone(1, 9), rows(&[("refused", "5000", true)]));
    assert_eq!(alone(9, 3), rows(&[("refused", "86400000", true)]));
    assert_eq!(alone(5, 4), rows(&[("refused", "dead", true)]));
}

#[test]
fn trouble_of_the_other_side_is_waited_out() {
    for (status, word, pause_ms) in [
        (301, "redirect", None),
        (307, "redirect", None),
        (404, "client_error", None),
        (408, "client_error", None),
        (410, "client_error", None),
        (500, "server_error", None),
        (501, "server_error", None),
        (502, "server_error", Some(5_000)),
        (503, "server_error", Some(5_000)),
        (504, "server_error", Some(5_000)),
        (199, "unexpected_status", None),
        (600, "unexpected_status", None),
    ] {
        for body in ["", r#"{"code":200,"events_ingested":1}"#, r#"{"throttled_events":[0]}"#] {
            let outcome = judge(&answer(status, body), &tried(1));
            assert_eq!(told(&outcome), rows(&[(word, "5000", true)]), "{status}");
            assert_eq!(outcome.endpoint_signal, Signal::Failure { pause_ms }, "{status}");
        }
    }
    // A 400 of a proxy is no word of Amplitude: it costs nothing but time.
    let outcome = judge(&answer(400, "<html>"), &[Tried { number: 6, refusals: 5, ..tried(1)[0].clone() }]);
    assert_eq!(told(&outcome), rows(&[("client_error", "36000000", true)]));
    let failure = Reply::Failure { class: "timeout", message: "no answer came in time".to_owned() };
    let outcome = judge(&failure, &tried(2));
    assert_eq!((told(&outcome), outcome.endpoint_signal), (rows(&[("timeout", "5000", true); 2]), ILL));
    assert_eq!(outcome.events[0].message.as_deref(), Some("no answer came in time"));
}

#[test]
fn what_it_asks_for_by_retry_after_is_kept_within_bounds() {
    for (asked, wait, pause_ms) in [("1", "5000", 5_000), ("60", "60000", 60_000), ("7200", "3600000", HOUR_MS)] {
        let reply =
            Reply::Answer { status: 503, retry_after: Some(asked.into()), headers: vec![], body: String::new() };
        let outcome = judge(&reply, &tried(1));
        assert_eq!(told(&outcome), rows(&[("server_error", wait, true)]), "{asked}");
        assert_eq!(outcome.endpoint_signal, Signal::Failure { pause_ms: Some(pause_ms) });
    }
}

#[test]
fn the_last_attempt_is_shortly_before_the_seven_days_are_over() {
    let first = time("2026-03-01T00:00:00Z");
    let config = ready(json!({}));
    for jitter in [0.0, 0.5, 1.0] {
        let (mut at, mut attempts) = (first, 0);
        let ended = loop {
            attempts += 1;
            let one = Tried { number: attempts, first_tried_at: Some(first), ..tried(1)[0].clone() };
            let outcome = outcome(&config, &answer(500, ""), &[one], (jitter, at));
            match outcome.events[0].verdict {
                Verdict::Retry { delay_ms } => at = at.plus_millis(delay_ms),
                _ => break outcome.events[0].clone(),
            }
        };
        assert_eq!((ended.verdict, ended.class), (Verdict::Dead, "server_error"), "it was sent, and may be counted");
        assert_eq!(at.millis_since(first), GIVES_UP_AFTER_MS - 10 * MINUTE_MS);
        assert!((12..=17).contains(&attempts), "{attempts}");
    }
}

#[test]
fn attempts_that_recoveries_brought_forward_do_not_end_before_the_time_does() {
    for number in [13, 100, i64::MAX] {
        let one = Tried { number, first_tried_at: Some(now().plus_millis(-HOUR_MS)), ..tried(1)[0].clone() };
        assert_eq!(told(&judge(&answer(503, ""), &[one])), rows(&[("server_error", "86400000", true)]));
    }
}

#[test]
fn a_schedule_of_its_own_is_kept_and_cut_at_seven_days() {
    let (mut destination, secret) = made(json!({}));
    destination.schedule = Some(vec![60, 8 * 24 * 3600]);
    let config = config::ready(&destination, &secret, &allowed()).unwrap();
    let first = now().plus_millis(-MINUTE_MS);
    let at = |number| {
        let one = Tried { number, first_tried_at: Some(first), ..tried(1)[0].clone() };
        told(&outcome(&config, &answer(500, ""), &[one], (0.5, now())))
    };
    assert_eq!(at(1), rows(&[("server_error", "60000", true)]));
    let left = (GIVES_UP_AFTER_MS - 11 * MINUTE_MS).to_string();
    assert_eq!(at(2), rows(&[("server_error", left.as_str(), true)]));
    assert_eq!(at(3), rows(&[("server_error", "dead", true)]));
}

#[test]
fn events_of_the_other_world_were_not_in_the_request_and_come_at_once() {
    let mut tried = tried(3);
    tried[1].body = &BODIES[1];
    let taken = json!({"code": 200, "events_ingested": 1}).to_string();
    let outcome = judge(&answer(200, &taken), &tried);
    let expected = [("success", "delivered", true), ("postponed", "0", false), ("postponed", "0", false)];
    assert_eq!((told(&outcome), outcome.alarm), (rows(&expected), None));
}

#[test]
fn a_test_of_the_connection_says_in_words_what_does_not_work() {
    let config = ready(json!({}));
    for body in [r#"{"matches":[],"type":"nomatch"}"#, r#"{"matches":[{"user_id":"a"}]}"#] {
        let says = "Amplitude knows the `api_key` and the `secret_key`; the `sandbox_api_key` was not tried";
        assert_eq!(tested(&config, &answer(200, body)).as_deref(), Ok(says));
        let production = tested(&ready(json!({"sandbox_api_key": null})), &answer(200, body));
        assert_eq!(production.as_deref(), Ok("Amplitude knows the `api_key` and the `secret_key`"));
        let sandbox = tested(&ready(json!({"api_key": null})), &answer(200, body));
        assert_eq!(sandbox.as_deref(), Ok("Amplitude knows the `sandbox_api_key` and the `secret_key`"));
    }
    for body in ["", "<html>Log in</html>", "{}", "[]", r#"{"matches":null}"#, r#"{"code":200}"#, r#"{"matches":[]"#] {
        let wrong = tested(&config, &answer(200, body)).unwrap_err();
        assert!(wrong.contains("not in Amplitude's words") && wrong.contains("`api_key`"), "{body}: {wrong}");
    }
    for status in [204, 301, 400, 401, 403, 429, 500] {
        assert!(tested(&config, &answer(status, API_KEY)).is_err_and(|why| !why.contains(API_KEY)), "{status}");
    }
    let failure = Reply::Failure { class: "dns", message: "the host's name could not be resolved".to_owned() };
    let says = "the host's name could not be resolved (the `api_key` was tried)".to_owned();
    assert_eq!(tested(&config, &failure), Err(says));
}

#[test]
fn it_is_reached_by_its_name() {
    let (destination, secret) = made(json!({}));
    let config = crate::destinations::Config::ready(&destination, &secret, &allowed()).unwrap();
    assert_eq!((destination.kind.as_str(), config.gives_up_after_ms()), (KIND, Some(GIVES_UP_AFTER_MS)));
    assert_eq!(config.redact(API_KEY), "[REDACTED]");
}

/// Bodies like Amplitude's, with anything in their fields.
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
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

proptest! {
    #[test]
    fn any_answer_is_judged_without_loss_and_without_a_key(
        status in prop_oneof![Just(200_u16), Just(400), Just(413), Just(429), any::<u16>()],
        retry_after in proptest::option::of("[0-9]{1,25}|\\PC{0,20}"),
        (body, count, sandbox_from) in (bodies(), 0_usize..12, 0_usize..12),
        (number, refusals, passed_ms) in (any::<i64>(), any::<i64>(), proptest::option::of(-1_i64..2_000_000_000)),
        jitter in any::<f64>(),
    ) {
        let first_tried_at = passed_ms.map(|passed| now().plus_millis(-passed));
        let mut tried = vec![Tried { number, refusals, first_tried_at, ..tried(1)[0].clone() }; count];
        tried.iter_mut().skip(sandbox_from).for_each(|one| one.body = &BODIES[1]);
        let reply = Reply::Answer { status, retry_after, headers: Vec::new(), body };
        let outcome = outcome(&ready(json!({})), &reply, &tried, (jitter, now()));
        prop_assert_eq!(outcome.events.len(), count);
        let delivered = outcome.events.iter().any(|one| one.verdict == Verdict::Delivered);
        prop_assert!(!delivered || status == 200);
        prop_assert!(!delivered || outcome.endpoint_signal == Signal::Success);
        for one in &outcome.events {
            if let Verdict::Retry { delay_ms } = one.verdict {
                prop_assert!((0..=GIVES_UP_AFTER_MS).contains(&delay_ms));
                // What comes at once and costs no step must end: in company, or with somebody's death.
                prop_assert!(delay_ms > 0 || count > 1);
            }
        }
        let shown = format!("{outcome:?}");
        for key in [API_KEY, SECRET_KEY, SANDBOX_KEY] {
            prop_assert!(!shown.contains(key));
        }
    }
}
