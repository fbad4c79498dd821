//! Responses with which Amplitude throttles a customer or the project.

use super::*;

#[test]
fn a_throttled_customer_pauses_30_seconds_alone() {
    let user = USER.to_string();
    for body in [
        json!({"throttled_users": {user.as_str(): 31}}),
        json!({"throttled_devices": {user.as_str(): 31}, "throttled_users": {}}),
        json!({"throttled_events": [0]}),
    ] {
        for status in [400, 429] {
            let mut body = body.clone();
            body["code"] = json!(status);
            let result = judge_answer(status, body.clone(), 2);
            assert_eq!(
                summary(&result),
                rows(&[("throttled", "30000", false); 2]),
                "{body}"
            );
            assert_eq!(
                (result.endpoint_signal, result.user_pause),
                (Signal::Neutral, Some(duration(30_000)))
            );
        }
    }
}

#[test]
fn a_customer_over_quota_is_retried_hourly() {
    for list in ["exceeded_daily_quota_users", "exceeded_daily_quota_devices"] {
        let body = json!({"code": 429, "error": "x", list: {"someone": 500_001}, "throttled_users": {"someone": 40}});
        let result = judge_answer(429, body, 1);
        assert_eq!(summary(&result), rows(&[("quota", "3600000", false)]));
        assert_eq!(
            (result.endpoint_signal, result.user_pause),
            (Signal::Neutral, Some(HOUR))
        );
    }
}

#[test]
fn a_throttled_project_is_paused_as_a_whole() {
    for body in [
        "",
        "slow down",
        r#"{"code":429,"error":"Too many requests for some devices and users","eps_threshold":1000}"#,
    ] {
        let result = judge_reply(&answer(429, body), &events(2));
        assert_eq!(
            summary(&result),
            rows(&[("throttled", "30000", false); 2]),
            "{body}"
        );
        assert_eq!(
            (result.endpoint_signal, result.user_pause),
            (
                Signal::Failure {
                    pause: Some(duration(30_000))
                },
                None
            )
        );
    }
    for (retry_after, pause_ms) in [
        ("1", 30_000),
        ("90", 90_000),
        ("99999999999999999999", HOUR_MS),
        ("soon", 30_000),
    ] {
        let reply = Reply::Answer {
            status: 429,
            retry_after: Some(retry_after.into()),
            headers: vec![],
            body: String::new(),
        };
        assert_eq!(
            judge_reply(&reply, &events(1)).endpoint_signal,
            Signal::Failure {
                pause: Some(duration(pause_ms))
            },
            "{retry_after}"
        );
    }
}
