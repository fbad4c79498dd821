use super::{Schedule, Step, check_schedule, retry_after_ms};
use domain::Timestamp;
use proptest::prelude::*;

const HOUR_MS: i64 = 3_600_000;
/// 1994-11-06T08:49:37Z, the example of RFC 9110.
const THEN_SECONDS: i64 = 784_111_777;

fn first(at: Timestamp) -> Step {
    Step {
        number: 1,
        first_tried_at: None,
        at,
    }
}

fn nth(number: i64) -> Step {
    Step {
        number,
        ..first(Timestamp::default())
    }
}

/// Generates arbitrary texts, many of which are almost a number or a date.
fn retry_after() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u64>().prop_map(|seconds| seconds.to_string()),
        (0_u64..200_000).prop_map(|seconds| format!(" {seconds}\t")),
        "[-+0-9 .,e]{0,12}",
        "(Sun|Mon|Sunday), [0-3][0-9][ -](Nov|Feb)[ -](19|20|99|0)?[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|UTC|CET)",
        ".{0,40}",
    ]
}

#[test]
fn the_default_ten_attempts_span_75_hours_35_minutes_5_seconds() {
    let waits: Vec<i64> = (1..)
        .map_while(|number| Schedule::new(None).wait_ms(nth(number), None, 0.5))
        .collect();
    assert_eq!(waits.len(), 9);
    assert_eq!(waits.iter().sum::<i64>(), ((75 * 60 + 35) * 60 + 5) * 1000);
}

#[test]
fn a_wait_is_moved_by_a_fifth_at_most() {
    let moved =
        [0.0, 1.0, f64::NAN, -1.0].map(|jitter| Schedule::new(None).wait_ms(nth(1), None, jitter));
    assert_eq!(moved, [4_000, 6_000, 5_000, 5_000].map(Some));
}

#[test]
fn a_schedule_lasts_eight_days_and_has_a_hundred_waits_at_most() {
    let day = 86_400;
    for right in [
        vec![1],
        vec![8 * day],
        vec![day; 8],
        vec![1; 100],
        vec![6912; 100],
    ] {
        assert_eq!(check_schedule(&right), Ok(()), "{right:?}");
    }
    let wrong = [
        vec![],
        vec![0],
        vec![5, -1],
        vec![8 * day + 1],
        vec![day; 9],
        vec![1; 101],
        vec![i64::MAX; 2],
    ];
    for wrong in wrong {
        assert_eq!(
            check_schedule(&wrong).map_err(|invalid| invalid.field),
            Err("schedule".to_owned()),
            "{wrong:?}"
        );
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_in_the_three_forms_of_http() {
    let at = Timestamp::from_millis((THEN_SECONDS - 90) * 1000);
    for (text, expected_ms) in [
        ("0", 0),
        ("120", 120_000),
        ("\t 120 ", 120_000),
        ("00007", 7_000),
        ("99999999999999999999999999", i64::MAX),
        ("9223372036854775807", i64::MAX),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 90_000),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 90_000),
        ("Sun Nov  6 08:49:37 1994", 90_000),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
    ] {
        assert_eq!(retry_after_ms(text, at), Some(expected_ms), "{text}");
    }
    let garbage = [
        "",
        " ",
        "-1",
        "+5",
        "1.5",
        "1e3",
        "0x10",
        "5s",
        "soon",
        "１２０",
        "120, 120",
        "1994-11-06T08:49:37Z",
    ];
    for text in garbage.into_iter().chain([
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "120\n",
    ]) {
        assert_eq!(retry_after_ms(text, at), None, "{text:?}");
    }
}

#[test]
fn retry_after_is_bounded_by_twice_the_wait_or_an_hour() {
    let wait = |number, retry_after_ms| {
        Schedule::new(None).wait_ms(nth(number), Some(retry_after_ms), 0.0)
    };
    assert_eq!(wait(1, 0), Some(5_000));
    assert_eq!(wait(1, 60_000), Some(60_000));
    assert_eq!(wait(1, i64::MAX), Some(HOUR_MS));
    assert_eq!(wait(4, 0), Some(2 * HOUR_MS));
    assert_eq!(wait(4, i64::MAX), Some(4 * HOUR_MS));
    assert_eq!(wait(10, 0), None);
    let pause = |retry_after_ms| Schedule::new(None).pause_ms(retry_after_ms);
    assert_eq!(
        [None, Some(0), Some(90_000), Some(i64::MAX)].map(pause),
        [5_000, 5_000, 90_000, HOUR_MS]
    );
}

#[test]
fn retry_after_adds_nothing_past_the_schedules_end() {
    let schedule = Schedule::new(Some(&[10, 20, 30]));
    let wait = |number, passed_ms| {
        let (first_tried_at, at) = (
            Some(Timestamp::default()),
            Timestamp::from_millis(passed_ms),
        );
        schedule.wait_ms(
            Step {
                number,
                first_tried_at,
                at,
            },
            Some(i64::MAX),
            0.0,
        )
    };
    assert_eq!(wait(1, 0), Some(60_000));
    assert_eq!(wait(2, 15_000), Some(45_000));
    assert_eq!(wait(2, 50_000), Some(20_000));
    assert_eq!(wait(3, 900_000), Some(30_000));
    assert_eq!(wait(4, 60_000), None);
}

proptest! {
    #[test]
    fn any_retry_after_leaves_the_wait_within_its_bounds(
        seconds in prop::collection::vec(1_i64..90_000, 1..12),
        number in 1_i64..14,
        text in retry_after(),
        jitter in any::<f64>(),
        (passed_ms, at_ms) in (-1_000_i64..900_000_000, 0_i64..4_000_000_000_000),
    ) {
        let (schedule, at) = (Schedule::new(Some(&seconds)), Timestamp::from_millis(at_ms));
        let step = Step { number, first_tried_at: Some(at.plus_millis(-passed_ms)), at };
        let retry_after_ms = retry_after_ms(&text, at);
        let Some(wait_ms) = schedule.wait_ms(step, retry_after_ms, jitter) else {
            prop_assert!(usize::try_from(number).unwrap() > seconds.len());
            return Ok(());
        };
        let base_ms = seconds[usize::try_from(number).unwrap() - 1] * 1000;
        match retry_after_ms {
            None => prop_assert!((base_ms * 8 / 10..=base_ms * 12 / 10).contains(&wait_ms)),
            Some(retry_after_ms) => {
                prop_assert!(retry_after_ms >= 0);
                prop_assert!((base_ms..=HOUR_MS.max(2 * base_ms)).contains(&wait_ms));
                let total_ms = seconds.iter().sum::<i64>() * 1000;
                prop_assert!(wait_ms == base_ms || passed_ms.max(0) + wait_ms <= total_ms);
                prop_assert!(wait_ms == base_ms || wait_ms <= retry_after_ms);
            }
        }
        let pause_ms = schedule.pause_ms(retry_after_ms);
        let least_ms = schedule.first_ms().min(30_000);
        prop_assert!((least_ms..=HOUR_MS).contains(&pause_ms));
        prop_assert!(retry_after_ms.is_some() || pause_ms == least_ms);
    }
}
