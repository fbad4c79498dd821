//! Random lives of purchases: a simulated store, the arrival of its notifications, and the decisions about them.
//!
//! Every life has a seed, which failure messages contain. The same seed gives the same life.

pub mod chance;
mod replay;
mod sights;
mod store;
mod times;
mod verification;

use super::arrows::{Arrow, arrows};
use super::properties::record_of;
use crate::notification::{Notification, NotificationKind};
use crate::purchase::State;
use crate::time::Timestamp;
use crate::transition::{Transition, TransitionKind};
use replay::{
    Arrivals, Replay, Step, in_part, once, promptly, settle_lagging, settle_life,
    settle_with_faults, with_adoption, with_delays, with_losses, with_losses_and_repetitions,
};
use std::collections::BTreeMap;
use store::{Beginning, Life, life};

fn names(transitions: &[Transition]) -> Vec<TransitionKind> {
    transitions.iter().map(|announce| announce.kind).collect()
}

fn truth(life: &Life) -> Vec<TransitionKind> {
    life.transitions
        .iter()
        .map(|(_, transition)| *transition)
        .collect()
}

/// Returns the record. The time at which a cancellation was first seen depends on the checks; the time of a report does
/// not.
fn record(replay: &Replay, life: &Life) -> String {
    let dates = |report: &&Notification| {
        !matches!(
            report.kind,
            NotificationKind::Expired | NotificationKind::OutOfGrace
        )
    };
    let is_dated = |at: Timestamp| {
        life.reports
            .iter()
            .filter(dates)
            .any(|report| report.store_time == at)
    };
    let canceled_at = replay.known.canceled_at().filter(|at| !is_dated(*at));
    let record = record_of(&replay.known);
    canceled_at.map_or(record.clone(), |at| {
        record.replace(&at.to_string(), "first sight")
    })
}

fn story(life: &Life) -> String {
    let reports = life
        .reports
        .iter()
        .map(|report| format!("{} {:?}", report.store_time, report.kind));
    let transitions = life
        .transitions
        .iter()
        .map(|(time, transition)| format!("{time} -> {transition:?}"));
    let mut lines: Vec<_> = reports.chain(transitions).collect();
    lines.sort();
    lines.join("\n")
}

const BEGINNINGS: [Beginning; 8] = [
    Beginning::Bought,
    Beginning::Bought,
    Beginning::Bought,
    Beginning::Changed,
    Beginning::Bought,
    Beginning::Bought,
    Beginning::Bought,
    Beginning::OneTime,
];

fn lives() -> impl Iterator<Item = (u64, Life)> {
    let seeds = 0..chance::LIVES;
    println!("seeds {} to {}", seeds.start, seeds.end);
    seeds
        .zip(BEGINNINGS.into_iter().cycle())
        .map(|(seed, beginning)| (seed, life(seed, beginning)))
}

#[test]
fn what_arrives_promptly_is_announced_exactly() {
    for (seed, life) in lives() {
        let replay = settle_life(&life, &promptly(&life), true);
        assert_eq!(
            names(&replay.transitions),
            truth(&life),
            "seed {seed}\n{}",
            story(&life)
        );
    }
}

#[test]
fn a_third_of_the_notifications_lost_is_repaired_by_wakes() {
    for (seed, life) in lives() {
        let arrivals = with_losses(&life, seed);
        let replay = settle_life(&life, &arrivals, true);
        let lost = promptly(&life)
            .into_iter()
            .filter(|report| !arrivals.contains(report));
        let lost: Vec<_> = lost
            .map(|(time, report)| format!("{time} {:?}", report.kind))
            .collect();
        assert_eq!(
            names(&replay.transitions),
            truth(&life),
            "seed {seed}, lost {lost:?}\n{}",
            story(&life)
        );
    }
}

#[test]
fn delays_and_disorder_give_the_same_record_and_nothing_twice() {
    for (seed, life) in lives() {
        let prompt = settle_life(&life, &promptly(&life), true);
        let arrivals = with_delays(&life, seed);
        let late = settle_life(&life, &arrivals, true);
        let order = || {
            arrivals
                .iter()
                .map(|(time, report)| format!("{time} {:?} of {}", report.kind, report.store_time))
        };
        let case = || {
            format!(
                "seed {seed}\n{}\nheard\n{}",
                story(&life),
                order().collect::<Vec<_>>().join("\n")
            )
        };
        if !late.is_gone {
            assert_eq!(record(&late, &life), record(&prompt, &life), "{}", case());
        }
        let mut left = truth(&life);
        for transition in names(&late.transitions) {
            let place = left.iter().position(|other| *other == transition);
            left.remove(place.unwrap_or_else(|| {
                panic!(
                    "{transition:?} twice, {:?}, {}",
                    names(&late.transitions),
                    case()
                )
            }));
        }
        for transition in left.iter().copied() {
            // If no check saw auto-renewal off, none saw it switched on again.
            let is_half =
                transition == TransitionKind::Resumed && left.contains(&TransitionKind::Cancelled);
            assert!(
                is_half || !is_seen(&life, &late, transition),
                "{transition:?} was seen and not announced, {}",
                case()
            );
        }
    }
}

#[test]
fn a_failing_store_leaves_one_outcome_each_and_nothing_twice() {
    for (seed, life) in lives() {
        let replay = settle_with_faults(&life, &promptly(&life), seed);
        assert!(
            replay.outcomes.values().all(|outcomes| *outcomes == 1),
            "seed {seed}, {:?}",
            replay.outcomes
        );
        assert_eq!(replay.outcomes.len(), life.reports.len(), "seed {seed}");
        let mut left = truth(&life);
        for transition in names(&replay.transitions) {
            let place = left.iter().position(|other| *other == transition);
            left.remove(place.unwrap_or_else(|| {
                panic!(
                    "{transition:?} twice, seed {seed}, {:?}\n{}",
                    replay.transitions,
                    story(&life)
                )
            }));
        }
    }
}

/// Returns what is wrong with the replay of a life by a lagging store, in brief and in detail; `None` if nothing is
/// wrong.
fn wrong(seed: u64) -> Option<(String, String)> {
    let life = life(
        seed,
        BEGINNINGS[usize::try_from(seed).unwrap() % BEGINNINGS.len()],
    );
    let prompt = promptly(&life);
    [prompt, with_losses_and_repetitions(&life, seed)]
        .into_iter()
        .find_map(|arrivals| wrong_in(&life, &arrivals, seed))
}

fn wrong_in(life: &Life, arrivals: &Arrivals, seed: u64) -> Option<(String, String)> {
    let replay = settle_lagging(life, arrivals, seed);
    let charged: Vec<_> = replay
        .charges
        .iter()
        .filter_map(|(sku, number)| Some((sku.clone()?, *number)))
        .collect();
    // An unreported change that is shown an hour later is announced after everything that was reported in the meantime.
    let lost: Vec<_> = promptly(life)
        .into_iter()
        .filter(|report| !arrivals.contains(report))
        .collect();
    let is_complete = life
        .reports
        .iter()
        .all(|report| report.kind != NotificationKind::Unknown)
        && lost.is_empty();
    let in_order = |mut names: Vec<TransitionKind>| {
        if !is_complete {
            names.sort_unstable();
        }
        names
    };
    let differs = if is_complete && !replay.is_gone {
        record_difference(life, arrivals, &replay)
    } else {
        String::new()
    };
    let is_announced =
        in_order(names(&replay.transitions)) == in_order(truth(life)) && charged == life.charges;
    let is_counted = is_terms_right(&replay, life);
    if is_announced
        && is_counted
        && differs.is_empty()
        && replay.outcomes.values().all(|outcomes| *outcomes == 1)
    {
        return None;
    }
    let lost: Vec<_> = lost
        .iter()
        .map(|(time, report)| format!("{time} {:?}", report.kind))
        .collect();
    let transitions = replay.transitions.iter();
    let transitions: Vec<_> = transitions
        .map(|one| {
            format!(
                "{:?} {:?} {:?}",
                one.kind,
                one.at.map(|at| at.to_string()),
                one.cycle
            )
        })
        .collect();
    let charges = (
        &replay.charges,
        &life.charges,
        replay.known.billing_cycles(),
    );
    let events = difference(names(&replay.transitions), truth(life));
    let short = format!(
        "seed {seed}, lost {}: {events}, charges {charged:?}, record {differs}",
        lost.len()
    );
    let story = story(life);
    let long = format!(
        "seed {seed}, lost {lost:?}\n{story}\n  found {transitions:#?}\n  charges {charges:?}\n{:?}",
        replay.outcomes
    );
    Some((short, long))
}

/// Returns the differences between the record and that of a store that agreed at once.
fn record_difference(life: &Life, arrivals: &Arrivals, replay: &Replay) -> String {
    let (late, prompt) = (
        record(replay, life),
        record(&settle_life(life, arrivals, true), life),
    );
    let lines = late
        .lines()
        .zip(prompt.lines())
        .filter(|(late, prompt)| late != prompt);
    lines
        .map(|(late, prompt)| format!("{} instead of {}; ", late.trim(), prompt.trim()))
        .collect()
}

/// Whether the number of counted cycles equals the number of charged terms; a trial that was never paid is the first.
fn is_terms_right(replay: &Replay, life: &Life) -> bool {
    let charged = u64::try_from(life.charges.len()).unwrap().max(1);
    replay
        .known
        .billing_cycles()
        .is_none_or(|cycles| cycles == charged)
}

#[test]
fn a_store_that_lags_in_each_field_changes_no_event_or_payment() {
    let seeds = chance::seeds();
    println!(
        "seeds {seeds:?}; again: SETTLE_TEST_SEED=<seed> SETTLE_LIVES=1 cargo test -p domain a_store_that_lags"
    );
    let middle = seeds.start + (seeds.end - seeds.start) / 2;
    let halves = std::thread::scope(|scope| {
        [seeds.start..middle, middle..seeds.end]
            .map(|seeds| scope.spawn(|| seeds.filter_map(wrong).collect::<Vec<_>>()))
            .map(|half| half.join().unwrap())
    });
    let wrong: Vec<_> = halves.into_iter().flatten().collect();
    let short: Vec<_> = wrong
        .iter()
        .take(20)
        .map(|(short, _)| short.as_str())
        .collect();
    let count = wrong.len();
    assert!(
        count == 0,
        "{count} lives are wrong:\n{}\nthe first:\n{}",
        short.join("\n"),
        wrong[0].1
    );
}

#[test]
fn a_planted_fault_of_stale_grace_is_found_in_some_lives() {
    let seeds = || (0..400).filter(|seed| wrong(*seed).is_some()).count();
    assert_eq!(seeds(), 0);
    let found = crate::stores::amazon::believing_stale_grace(seeds);
    println!("{found} of 400 lives are wrong");
    assert!(found >= 10, "{found}");
}

/// Returns the unexpected and the missing transitions.
fn difference(found: Vec<TransitionKind>, mut expected: Vec<TransitionKind>) -> String {
    let mut more = Vec::new();
    for transition in found {
        match expected.iter().position(|other| *other == transition) {
            Some(place) => drop(expected.remove(place)),
            None => more.push(transition),
        }
    }
    format!("too much {more:?}, missing {expected:?}")
}

/// Whether some check must have shown `transition`. The first check only shows the initial stage.
fn is_seen(life: &Life, replay: &Replay, transition: TransitionKind) -> bool {
    let gone = |transition| match transition {
        TransitionKind::Cancelled => TransitionKind::Resumed,
        TransitionKind::Resumed => TransitionKind::Cancelled,
        TransitionKind::GraceBegan => TransitionKind::Recovered,
        TransitionKind::PlanChangeScheduled => TransitionKind::PlanChanged,
        other => other,
    };
    let times = life
        .transitions
        .iter()
        .enumerate()
        .filter(|(_, (_, other))| *other == transition);
    !times.clone().any(|(at, (begin, _))| {
        let rest = life.transitions.iter().skip(at + 1);
        let is_end =
            |other: TransitionKind| other == gone(transition) || other == TransitionKind::Expired;
        let end = rest
            .clone()
            .find(|(_, other)| is_end(*other))
            .or_else(|| life.transitions.last());
        !replay
            .reads
            .iter()
            .skip(1)
            .any(|read| read >= begin && end.is_none_or(|(end, _)| read < end))
    })
}

#[test]
fn replaying_a_whole_life_announces_nothing_new() {
    for (seed, life) in lives() {
        let mut arrivals = promptly(&life);
        let again: Vec<_> = arrivals
            .iter()
            .map(|(_, report)| (life.ends.plus_millis(store::DAY), report.clone()))
            .collect();
        let once = settle_life(&life, &arrivals, true);
        arrivals.extend(again);
        let twice = settle_life(&life, &arrivals, true);
        assert_eq!(
            names(&twice.transitions),
            names(&once.transitions),
            "seed {seed}\n{}",
            story(&life)
        );
        assert_eq!(
            record(&twice, &life),
            record(&once, &life),
            "seed {seed}\n{}",
            story(&life)
        );
    }
}

/// Replays one life with its notifications arriving in every way.
fn steps(seed: u64, beginning: Beginning) -> Vec<Replay> {
    let life = life(seed, beginning);
    let arrivals = promptly(&life);
    vec![
        settle_life(&life, &arrivals, true),
        settle_life(&life, &with_losses(&life, seed), true),
        settle_life(&life, &with_delays(&life, seed), true),
        settle_life(&life, &with_adoption(&life, seed), true),
        settle_life(&life, &in_part(&life, seed), true),
        settle_life(&life, &in_part(&life, seed + 1), true),
        settle_life(&life, &once(&life, seed), true),
        settle_life(&life, &once(&life, seed), false),
        settle_life(&life, &arrivals, false),
    ]
}

fn walked(seeds: std::ops::Range<u64>) -> BTreeMap<Step, u64> {
    let mut hits = BTreeMap::new();
    for seed in seeds {
        let beginning = BEGINNINGS[usize::try_from(seed).unwrap() % BEGINNINGS.len()];
        for (step, times) in steps(seed, beginning)
            .into_iter()
            .flat_map(|replay| replay.steps)
        {
            *hits.entry(step).or_default() += times;
        }
    }
    hits
}

#[test]
fn every_arrow_of_the_fixture_is_walked_a_hundred_times() {
    let mut hits: BTreeMap<Step, u64> = BTreeMap::new();
    let wanted: Vec<(String, Step)> = arrows()
        .iter()
        .map(|arrow| (arrow.to_string(), step(arrow)))
        .collect();
    let is_short = |hits: &BTreeMap<Step, u64>| {
        wanted
            .iter()
            .filter(|(_, step)| hits.get(step).is_none_or(|hits| *hits < 100))
            .count()
    };
    let mut seed = 0;
    while seed < 8_000 && is_short(&hits) > 0 {
        let halves = std::thread::scope(|scope| {
            [seed..seed + 250, seed + 250..seed + 500]
                .map(|seeds| scope.spawn(|| walked(seeds)))
                .map(|half| half.join().unwrap())
        });
        for (step, times) in halves.into_iter().flatten() {
            *hits.entry(step).or_default() += times;
        }
        seed += 500;
    }
    println!("seeds 0 to {seed}");
    for (arrow, step) in &wanted {
        println!("{:>8}  {arrow}", hits.get(step).copied().unwrap_or(0));
    }
    let short = wanted
        .iter()
        .filter(|(_, step)| hits.get(step).is_none_or(|hits| *hits < 100));
    let short: Vec<_> = short
        .map(|(arrow, step)| format!("{} {arrow}", hits.get(step).unwrap_or(&0)))
        .collect();
    assert!(
        short.is_empty(),
        "{} arrows have less than 100 hits:\n{}",
        short.len(),
        short.join("\n")
    );
}

fn step(arrow: &Arrow) -> Step {
    let state = |name: &str| match name {
        "bought" | "scheduled" => State::Active,
        "trial_grace" => State::Grace,
        name => name.parse().unwrap(),
    };
    (
        arrow.can_query(),
        state(&arrow.old),
        arrow.reports.clone(),
        state(&arrow.new),
        arrow.events.clone(),
    )
}
