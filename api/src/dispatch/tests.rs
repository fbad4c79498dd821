//! Tests of the plan on a simulated clock.

use super::plan::{Plan, PlannedAction, UnsentSignal};
use domain::CollapseKey;
use domain::time::duration;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use workflows::signal::Notified;

const WINDOW_MS: i64 = 120_000;
const TWELFTH_MS: i64 = 10_000;

fn key(number: u128) -> CollapseKey {
    CollapseKey::new(Uuid::from_u128(number))
}

fn unsent(number: u128, seq: i64) -> UnsentSignal {
    UnsentSignal {
        key: key(number),
        seq,
        quiet_ms: WINDOW_MS,
        cap_ms: None,
        trace: None,
    }
}

fn plan(capacity: usize) -> Plan {
    Plan::new(capacity)
}

/// Sends all signals that are due, and returns them.
fn flush(plan: &mut Plan, now: i64) -> Vec<(CollapseKey, Notified)> {
    let mut sent = Vec::new();
    while let PlannedAction::Signal(key, notified) = plan.next(now) {
        plan.sent(now, key, notified.through);
        sent.push((key, notified));
    }
    sent
}

#[test]
fn the_first_notification_is_signalled_at_once() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 7));
    assert_eq!(
        flush(&mut plan, 0),
        [(
            key(1),
            Notified {
                through: 7,
                quiet: duration(WINDOW_MS),
                count: 1,
                cap: None
            }
        )]
    );
}

#[test]
fn a_burst_is_two_signals_and_the_second_has_the_newest_row() {
    let mut plan = plan(10);
    let mut sent = Vec::new();
    for seq in 1..=1000 {
        plan.notify(seq, unsent(1, seq));
        sent.extend(flush(&mut plan, seq));
    }
    assert_eq!(sent.len(), 1);
    assert_eq!(plan.next(1000), PlannedAction::Sleep(1 + TWELFTH_MS));
    let trailing = flush(&mut plan, 1 + TWELFTH_MS);
    let quiet = duration(WINDOW_MS - (1 + TWELFTH_MS - 1000));
    assert_eq!(
        trailing,
        [(
            key(1),
            Notified {
                through: 1000,
                quiet,
                count: 999,
                cap: None
            }
        )]
    );
    assert_eq!(plan.unsignalled_purchases(), 0);
}

#[test]
fn in_a_crowd_the_first_signal_of_a_window_waits_a_twelfth() {
    let mut plan = plan(10_000);
    let crowd = 1_500_i64;
    for number in 0..crowd {
        plan.notify(0, unsent(u128::from(number.unsigned_abs()), number));
    }
    assert_eq!(
        flush(&mut plan, 1000).len(),
        999,
        "those before it was a crowd"
    );
    // One more row of each key within that time: the signal covers both.
    plan.notify(2000, unsent(1_400, crowd));
    let later: Vec<_> = flush(&mut plan, 1000 + TWELFTH_MS)
        .into_iter()
        .map(|(key, notified)| (key, notified.count))
        .collect();
    assert_eq!(later.len(), 501);
    assert!(later.contains(&(key(1_400), 2)), "{later:?}");
    plan.notify(20_000, unsent(20_000, 3_000));
    assert_eq!(flush(&mut plan, 20_000).len(), 1, "a quiet time");
}

#[test]
fn what_waits_in_a_crowd_takes_half_of_the_memory_at_most() {
    let mut plan = plan(3_000);
    for number in 0..2_500_u32 {
        plan.notify(0, unsent(u128::from(number), i64::from(number)));
    }
    assert_eq!(plan.missed_from(), None);
    assert_eq!(
        flush(&mut plan, 0).len(),
        999 + 1_000,
        "those before the crowd, and those beyond half of the memory"
    );
    assert_eq!(flush(&mut plan, TWELFTH_MS).len(), 501);
}

#[test]
fn a_flush_in_a_crowd_waits_for_nothing() {
    let mut plan = plan(10_000);
    for number in 0..1_200_u32 {
        plan.notify(0, unsent(u128::from(number), i64::from(number)));
    }
    flush(&mut plan, 0);
    plan.flush(1, unsent(5_000, 5_000));
    assert_eq!(plan.next(1), PlannedAction::Flush(key(5_000), 5_000));
}

#[test]
fn a_steady_stream_is_signalled_once_per_twelfth_of_a_window() {
    let mut plan = plan(10);
    let mut signals = 0;
    for second in 0..600 {
        plan.notify(second * 1000, unsent(1, second + 1));
        signals += flush(&mut plan, second * 1000).len();
    }
    assert_eq!(signals, 60);
}

#[test]
fn a_key_is_forgotten_when_its_window_has_passed_without_news() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 1));
    flush(&mut plan, 0);
    assert_eq!(plan.next(1), PlannedAction::Sleep(WINDOW_MS));
    assert_eq!(plan.next(WINDOW_MS), PlannedAction::Idle);
}

#[test]
fn what_an_emptied_engine_took_is_sent_again() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 5));
    flush(&mut plan, 0);
    plan.notify(1, unsent(2, 6));
    plan.forget_sent();
    plan.add_to_backlog(2, unsent(1, 5));
    plan.add_to_backlog(2, unsent(2, 6));
    let sent: Vec<_> = flush(&mut plan, 2)
        .into_iter()
        .map(|(key, notified)| (key, notified.through))
        .collect();
    assert_eq!(
        sent,
        [(key(2), 6), (key(1), 5)],
        "each once, and first what it never took"
    );
}

#[test]
fn a_row_that_is_known_is_no_news() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 5));
    flush(&mut plan, 0);
    plan.notify(20_000, unsent(1, 5));
    plan.notify_again(20_000, unsent(1, 5));
    plan.notify_again(20_000, unsent(1, 4));
    assert_eq!(flush(&mut plan, 20_000), []);
}

#[test]
fn a_database_that_failed_over_numbers_new_rows_again() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 100));
    flush(&mut plan, 0);
    plan.notify(20_000, unsent(1, 4));
    let quiet = duration(WINDOW_MS);
    assert_eq!(
        flush(&mut plan, 20_000),
        [(
            key(1),
            Notified {
                through: 100,
                quiet,
                count: 1,
                cap: None
            }
        )]
    );
    plan.notify(30_000, unsent(1, 5));
    let PlannedAction::Signal(again, notified) = plan.next(30_000) else {
        panic!("a signal is due")
    };
    plan.notify(30_001, unsent(1, 6));
    plan.sent(30_002, again, notified.through);
    assert_eq!(
        flush(&mut plan, 30_002 + TWELFTH_MS).len(),
        1,
        "the row that came while the call ran"
    );
    assert_eq!(flush(&mut plan, 30_002 + 2 * TWELFTH_MS), []);
}

#[test]
fn news_that_come_while_a_call_runs_are_sent_after_it() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 1));
    let PlannedAction::Signal(first, notified) = plan.next(0) else {
        panic!("a signal is due")
    };
    plan.notify(5, unsent(1, 2));
    assert_eq!(
        plan.next(5),
        PlannedAction::Idle,
        "one call per key at a time"
    );
    plan.sent(10, first, notified.through);
    assert_eq!(plan.next(10), PlannedAction::Sleep(10 + TWELFTH_MS));
    assert_eq!(flush(&mut plan, 10 + TWELFTH_MS).len(), 1);
}

#[test]
fn the_cap_is_that_of_the_oldest_row_until_it_has_passed() {
    let mut plan = plan(10);
    let capped = |seq| UnsentSignal {
        cap_ms: Some(300_000),
        ..unsent(1, seq)
    };
    plan.notify(0, capped(1));
    assert_eq!(flush(&mut plan, 0)[0].1.cap, Some(duration(300_000)));
    plan.notify(100_000, capped(2));
    assert_eq!(flush(&mut plan, 100_000)[0].1.cap, Some(duration(200_000)));
    plan.notify(200_000, capped(3));
    flush(&mut plan, 200_000);
    plan.notify(310_000, capped(4));
    assert_eq!(flush(&mut plan, 310_000)[0].1.cap, Some(duration(300_000)));
}

#[test]
fn keys_that_rest_give_way_to_keys_with_news() {
    let mut plan = plan(2);
    for number in 1..=10 {
        plan.notify(0, unsent(number, 1));
        assert_eq!(flush(&mut plan, 0).len(), 1);
    }
    assert_eq!(plan.missed_from(), None);
}

#[test]
fn what_does_not_fit_is_missed_from_the_lowest_row_on() {
    let mut plan = plan(2);
    for (number, seq) in [(1, 10), (2, 11), (3, 14), (4, 12), (5, 13)] {
        plan.notify(0, unsent(number, seq));
    }
    assert_eq!(plan.missed_from(), Some(12));
    assert_eq!(plan.room(), 0);
    flush(&mut plan, 0);
    assert_eq!(plan.room(), 2);
}

#[test]
fn a_page_that_is_read_later_shows_what_was_missed_above_it() {
    let mut plan = plan(1);
    plan.notify(0, unsent(1, 1));
    plan.notify(0, unsent(2, 5));
    plan.about_to_read(5);
    assert_eq!(plan.missed_from(), Some(5), "the page begins above the row");
    plan.about_to_read(4);
    assert_eq!(plan.missed_from(), None);
}

#[test]
fn rows_of_before_the_start_come_last_the_newest_first() {
    let mut plan = plan(10);
    for seq in [3, 2, 1] {
        plan.add_to_backlog(0, unsent(u128::try_from(seq).expect("small"), seq));
    }
    plan.notify(0, unsent(7, 70));
    plan.notify(5, unsent(8, 80));
    let keys: Vec<CollapseKey> = flush(&mut plan, 5)
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, [7, 8, 3, 2, 1].map(key));
}

#[test]
fn news_of_a_purchase_take_it_out_of_the_backlog() {
    let mut plan = plan(10);
    for seq in [1, 2, 3] {
        plan.add_to_backlog(0, unsent(u128::try_from(seq).expect("small"), seq));
    }
    plan.notify(1, unsent(1, 9));
    plan.notify(2, unsent(2, 2));
    let sent: Vec<_> = flush(&mut plan, 2)
        .into_iter()
        .map(|(key, notified)| (key, notified.through))
        .collect();
    assert_eq!(sent, [(key(1), 9), (key(2), 2), (key(3), 3)]);
    plan.add_to_backlog(3, unsent(1, 8));
    assert_eq!(flush(&mut plan, 3), [], "a newer row of it was signalled");
}

#[test]
fn the_backlog_leaves_room_for_what_is_new() {
    let mut plan = plan(4);
    for number in 1..=10 {
        plan.add_to_backlog(0, unsent(number, 1));
    }
    assert_eq!((plan.unsignalled_purchases(), plan.backlog_room()), (2, 0));
    plan.notify(0, unsent(11, 11));
    plan.notify(0, unsent(12, 12));
    assert_eq!((plan.missed_from(), plan.room()), (None, 0));
    flush(&mut plan, 0);
    assert_eq!(plan.backlog_room(), 2);
}

#[test]
fn the_backlog_waits_while_the_engine_is_down() {
    let mut plan = plan(10);
    plan.add_to_backlog(0, unsent(9, 9));
    for number in 1..=4 {
        plan.notify(0, unsent(number, 1));
    }
    for _ in 0..4 {
        let PlannedAction::Signal(key, _) = plan.next(0) else {
            panic!("a signal is due")
        };
        plan.failed(0, key);
    }
    assert!(
        matches!(plan.next(0), PlannedAction::Sleep(until) if until > 0),
        "all keys pause"
    );
}

#[test]
fn a_failed_signal_is_sent_again_later_and_later() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 1));
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..3 {
        let PlannedAction::Signal(key, _) = plan.next(now) else {
            panic!("a signal is due at {now}")
        };
        plan.failed(now, key);
        let PlannedAction::Sleep(until) = plan.next(now) else {
            panic!("the key waits")
        };
        waits.push(until - now);
        now = until;
    }
    assert_eq!(waits, [100, 200, 400]);
    assert_eq!(flush(&mut plan, now).len(), 1);
}

#[test]
fn an_engine_that_is_down_is_left_in_peace_and_no_key_is_lost() {
    let mut plan = plan(100);
    for number in 0..100 {
        plan.notify(0, unsent(number, 1));
    }
    let (mut now, mut calls) = (0, 0);
    while now < 600_000 {
        match plan.next(now) {
            PlannedAction::Signal(key, _) => {
                calls += 1;
                plan.failed(now, key);
            }
            PlannedAction::Sleep(until) => now = until,
            PlannedAction::Idle | PlannedAction::Flush(..) => panic!("keys are waiting"),
        }
    }
    assert!(calls < 300, "{calls} calls in ten minutes");
    assert_eq!(plan.unsignalled_purchases(), 100);
    let mut reached = BTreeSet::new();
    for _ in 0..200 {
        reached.extend(flush(&mut plan, now).into_iter().map(|(key, _)| key));
        if let PlannedAction::Sleep(until) = plan.next(now) {
            now = now.max(until.min(now + 10_000));
        }
    }
    assert_eq!(reached.len(), 100);
}

#[test]
fn calls_that_fail_together_begin_one_short_pause() {
    let mut plan = plan(100);
    (0..64).for_each(|number| plan.notify(0, unsent(number, 1)));
    let calls: Vec<PlannedAction> = (0..64).map(|_| plan.next(0)).collect();
    for call in calls {
        let PlannedAction::Signal(key, _) = call else {
            panic!("a signal is due")
        };
        plan.failed(1, key);
    }
    assert_eq!(plan.next(1), PlannedAction::Sleep(101));
}

#[test]
fn a_signal_that_is_due_is_seen_before_it_is_taken() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 1));
    assert!(plan.has_due(0));
    let PlannedAction::Signal(first, notified) = plan.next(0) else {
        panic!("a signal is due")
    };
    assert!(!plan.has_due(0), "it is in flight");
    plan.notify(1, unsent(1, 2));
    plan.sent(2, first, notified.through);
    assert!(!plan.has_due(2), "its next one is due later");
    plan.add_to_backlog(2, unsent(2, 1));
    assert!(plan.has_due(2));
}

#[test]
fn one_busy_purchase_does_not_stop_the_others() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 1));
    let PlannedAction::Signal(busy, _) = plan.next(0) else {
        panic!("a signal is due")
    };
    plan.failed(0, busy);
    plan.notify(1, unsent(2, 2));
    assert_eq!(flush(&mut plan, 1).len(), 1);
}

#[test]
fn a_refused_key_is_let_go() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 1));
    let PlannedAction::Signal(refused, _) = plan.next(0) else {
        panic!("a signal is due")
    };
    plan.refused(refused);
    assert_eq!(
        (plan.unsignalled_purchases(), plan.next(0)),
        (0, PlannedAction::Idle)
    );
}

/// In any order of notifications, failures and successes, each key's newest row is signalled in the end, or it is
/// marked as missed and read back.
#[test]
fn nothing_is_lost_in_any_order() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dice = move |sides: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % sides
    };
    for _ in 0..200 {
        let mut plan = plan(4);
        let (mut now, mut newest, mut signalled) = (0_i64, BTreeMap::new(), BTreeMap::new());
        let mut calls: Vec<(CollapseKey, i64)> = Vec::new();
        for seq in 1..200 {
            now += i64::try_from(dice(5000)).expect("small");
            let row = unsent(u128::from(dice(8)), seq);
            newest.insert(row.key, seq);
            plan.notify(now, row);
            if let PlannedAction::Signal(key, notified) = plan.next(now) {
                assert!(
                    calls.iter().all(|(other, _)| *other != key),
                    "two calls for one key"
                );
                calls.push((key, notified.through));
            }
            if dice(2) == 0 && !calls.is_empty() {
                let (key, through) =
                    calls.swap_remove(usize::try_from(dice(calls.len() as u64)).expect("small"));
                if dice(3) == 0 {
                    plan.failed(now, key);
                } else {
                    plan.sent(now, key, through);
                    signalled.insert(key, through.max(signalled.get(&key).copied().unwrap_or(0)));
                }
            }
        }
        for (key, through) in calls {
            plan.sent(now, key, through);
            signalled.insert(key, through.max(signalled.get(&key).copied().unwrap_or(0)));
        }
        for _ in 0..100 {
            signalled.extend(
                flush(&mut plan, now)
                    .into_iter()
                    .map(|(key, notified)| (key, notified.through)),
            );
            now += 10_000;
        }
        let missed = plan.missed_from().unwrap_or(i64::MAX);
        for (key, seq) in newest {
            assert!(
                signalled.get(&key) == Some(&seq) || missed <= seq,
                "{key} at {seq}, missed from {missed}"
            );
        }
    }
}

#[test]
fn a_row_to_settle_at_once_is_a_flush_without_spacing() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 1));
    flush(&mut plan, 0);
    plan.notify(5, unsent(1, 2));
    assert_eq!(plan.next(5), PlannedAction::Sleep(TWELFTH_MS));
    plan.flush(
        6,
        UnsentSignal {
            quiet_ms: 0,
            ..unsent(1, 3)
        },
    );
    assert_eq!(plan.next(6), PlannedAction::Flush(key(1), 3));
    plan.sent(7, key(1), 3);
    assert_eq!(
        flush(&mut plan, 7 + TWELFTH_MS),
        [],
        "the flush covers the second row too"
    );
    plan.notify(20_000, unsent(1, 4));
    assert_eq!(
        flush(&mut plan, 20_000).len(),
        1,
        "what comes later has its window"
    );
}

#[test]
fn a_flush_is_not_lost_to_a_call_that_runs_or_fails() {
    let mut plan = plan(10);
    plan.notify(0, unsent(1, 5));
    let PlannedAction::Signal(first, notified) = plan.next(0) else {
        panic!("a signal is due")
    };
    plan.flush(
        1,
        UnsentSignal {
            quiet_ms: 0,
            ..unsent(1, 4)
        },
    );
    assert_eq!(
        plan.next(1),
        PlannedAction::Idle,
        "one call per key at a time"
    );
    plan.sent(2, first, notified.through);
    assert_eq!(plan.next(2), PlannedAction::Flush(key(1), 5));
    plan.failed(3, key(1));
    let PlannedAction::Sleep(again) = plan.next(3) else {
        panic!("it backs off")
    };
    assert_eq!(plan.next(again), PlannedAction::Flush(key(1), 5));
    plan.sent(again, key(1), 5);
    assert_eq!(plan.unsignalled_purchases(), 0);
}
