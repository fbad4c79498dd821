//! The times of transitions in random lives: never after the answer that caused them, never before the transitions that
//! they follow, and equal to those of the life itself.

use super::replay::{
    Arrivals, Replay, in_part, once, promptly, settle_lagging, settle_life, with_adoption,
    with_delays, with_losses, with_losses_and_repetitions,
};
use super::store::Life;
use super::{lives, story};
use crate::time::Timestamp;
use crate::transition::{Transition, TransitionKind};
use std::time::Duration;

/// Transitions whose date the store shows or the calendar determines. The others are only known to have happened by
/// then.
const DATED: [TransitionKind; 5] = [
    TransitionKind::Renewed,
    TransitionKind::TrialConverted,
    TransitionKind::PlanChanged,
    TransitionKind::TrialDidNotConvert,
    TransitionKind::Expired,
];
const ENDS: [TransitionKind; 2] = [TransitionKind::TrialDidNotConvert, TransitionKind::Expired];

/// Maximum delay of a report of a payment after an end. The terms that follow are counted from that report.
const SECONDS: Duration = Duration::from_secs(60);

/// A life and the times at which its transitions are recorded.
struct Times<'a> {
    life: &'a Life,
    replay: &'a Replay,
    /// Whether the beginning was reported, so that terms are counted exactly.
    is_begun: bool,
}

impl Times<'_> {
    fn is_reported(&self, at: Timestamp) -> bool {
        self.life
            .reports
            .iter()
            .any(|report| report.store_time == at)
    }

    /// Whether the time of a transition that no notification dates agrees with the life: it is the transition's own or,
    /// if the store shows no date, a later one. A purchase that is no longer valid ended by the time of that answer.
    fn is_true(&self, transition: Transition, at: Timestamp, answered_at: Timestamp) -> bool {
        // A trial that was paid before the purchase was first seen has no other date.
        let alike = |kind: TransitionKind| {
            kind == transition.kind || (ENDS.contains(&kind) && ENDS.contains(&transition.kind))
        };
        let same = self
            .life
            .transitions
            .iter()
            .filter(|(_, kind)| alike(*kind));
        let mut times = same.map(|(time, _)| *time);
        if !DATED.contains(&transition.kind) {
            return times.any(|time| time <= at);
        }
        let is_gone = self
            .life
            .shows
            .iter()
            .any(|(since, snapshot)| snapshot.is_none() && *since <= answered_at);
        if ENDS.contains(&transition.kind) {
            return times.any(|time| time == at || (is_gone && time <= at));
        }
        !self.is_begun || times.any(|time| time.distance(at) <= SECONDS)
    }

    /// Describes the first wrong time, if there is one.
    fn wrong(&self) -> Option<String> {
        let mut newest_date = None;
        for (answered_at, transitions) in &self.replay.settlings {
            let mut newest = None;
            for transition in transitions {
                let at = transition.at.unwrap_or(*answered_at);
                let case = || format!("{:?} at {at}, answered at {answered_at}", transition.kind);
                if at > *answered_at {
                    return Some(format!("in the future: {}", case()));
                }
                let is_inferred = !self.is_reported(at);
                let is_end = ENDS.contains(&transition.kind);
                let is_early = newest > Some(at) || (is_end && newest_date > Some(at));
                if is_inferred && is_early && (is_end || self.is_begun) {
                    return Some(format!("before what it follows: {}", case()));
                }
                if transition.at.is_some()
                    && is_inferred
                    && !self.is_true(*transition, at, *answered_at)
                {
                    return Some(format!("not as in the life: {}", case()));
                }
                newest = newest.max(Some(at));
                newest_date = newest_date.max(transition.at);
            }
        }
        None
    }
}

/// Describes an end that no notification reported and whose date differs from that in the life.
fn wrong_end(life: &Life, arrivals: &Arrivals, replay: &Replay) -> Option<String> {
    let is_reported = arrivals.iter().any(|(_, report)| report.kind.is_end());
    let is_dated = life.shows.iter().all(|(_, snapshot)| snapshot.is_some());
    let end = |(time, kind): &(Timestamp, TransitionKind)| {
        (*kind == TransitionKind::Expired).then_some(*time)
    };
    let expected: Vec<_> = life.transitions.iter().filter_map(end).map(Some).collect();
    let ends = replay
        .transitions
        .iter()
        .filter(|one| one.kind == TransitionKind::Expired);
    let found: Vec<_> = ends.map(|one| one.at).collect();
    (!is_reported && is_dated && found != expected)
        .then(|| format!("ends {found:?} in place of {expected:?}"))
}

#[test]
fn every_time_is_past_in_order_and_as_in_the_life() {
    let mut wrong = Vec::new();
    for (seed, life) in lives() {
        let prompt = promptly(&life);
        let (losses, repeated) = (
            with_losses(&life, seed),
            with_losses_and_repetitions(&life, seed),
        );
        let replays = [
            ("prompt", settle_life(&life, &prompt, true)),
            ("losses", settle_life(&life, &losses, true)),
            ("lagging", settle_lagging(&life, &prompt, seed)),
            (
                "lagging with losses",
                settle_lagging(&life, &repeated, seed),
            ),
            (
                "delays",
                settle_life(&life, &with_delays(&life, seed), true),
            ),
            ("in part", settle_life(&life, &in_part(&life, seed), true)),
            ("once", settle_life(&life, &once(&life, seed), true)),
            (
                "adopted",
                settle_life(&life, &with_adoption(&life, seed), true),
            ),
        ];
        for (mode, replay) in &replays {
            let is_begun = !["in part", "once", "adopted"].contains(mode);
            let found = Times {
                life: &life,
                replay,
                is_begun,
            }
            .wrong();
            wrong.extend(
                found.map(|found| format!("{mode}, seed {seed}: {found}\n{}", story(&life))),
            );
        }
        let end = wrong_end(&life, &losses, &replays[1].1);
        wrong.extend(end.map(|end| format!("losses, seed {seed}: {end}\n{}", story(&life))));
    }
    let short: Vec<_> = wrong
        .iter()
        .take(30)
        .filter_map(|case| case.lines().next())
        .collect();
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}\nthe first:\n{}",
        wrong.len(),
        short.join("\n"),
        wrong[0]
    );
}

/// Settles the end of every life without any of its notifications.
#[test]
fn an_unreported_end_has_the_date_that_the_store_shows() {
    let mut checked = 0;
    for (seed, life) in lives() {
        let mut arrivals = promptly(&life);
        arrivals.retain(|(_, report)| !report.kind.is_end());
        let replay = settle_life(&life, &arrivals, true);
        let end = |at: &Option<Timestamp>| {
            at.is_some_and(|at| life.transitions.iter().any(|(time, _)| *time == at))
        };
        let is_dated = life.shows.iter().all(|(_, snapshot)| snapshot.is_some());
        let ends = replay
            .transitions
            .iter()
            .filter(|one| is_dated && ENDS.contains(&one.kind));
        for one in ends {
            assert!(end(&one.at), "seed {seed}: {one:?}\n{}", story(&life));
            checked += 1;
        }
    }
    assert!(checked > 300, "{checked}");
}
