//! The lifetime of a purchase as a bar: its states in order, with widths in proportion to their durations. This module
//! is pure.

use crate::parts::{Badge, Moment};
use crate::text::purchase_state;
use domain::transition::TransitionKind;
use domain::{State, Timestamp};
use storage::PurchaseExplanation;

/// Width of the bar, in units of its picture.
const WIDTH: i64 = 600;
/// Minimum width of a state, so that each is visible.
const LEAST: i64 = 8;

pub struct BarSegment {
    pub left: i64,
    pub width: i64,
    pub tone: &'static str,
    pub state: Badge,
    pub since: Moment,
}

/// Returns the states of a purchase from its events, oldest first; empty for a purchase that never changed.
pub fn line(facts: &PurchaseExplanation) -> Vec<BarSegment> {
    let mut states: Vec<(Timestamp, State)> = Vec::new();
    for event in facts.events.iter().map(|one| &one.event) {
        let Some(kind) = TransitionKind::ALL
            .iter()
            .find(|kind| kind.event_type() == event.event_type)
        else {
            continue;
        };
        let at = event.occurred_at.unwrap_or(event.created_at);
        let before = states.last().map_or(State::Unknown, |(_, state)| *state);
        states.push((at, after(*kind, before)));
    }
    // The record has the present state; some events that led to it may be pruned or still to come.
    let now = facts
        .purchase
        .as_ref()
        .and_then(|view| State::ALL.iter().find(|state| state.as_str() == view.state));
    if let (Some(last), Some(now)) = (states.last_mut(), now) {
        last.1 = *now;
    }
    states.dedup_by_key(|(_, state)| *state);
    if states.len() > 1 {
        stretches(&states, facts.now)
    } else {
        Vec::new()
    }
}

fn after(kind: TransitionKind, before: State) -> State {
    match kind {
        TransitionKind::TrialStarted => State::Trial,
        TransitionKind::Purchased
        | TransitionKind::Renewed
        | TransitionKind::Recovered
        | TransitionKind::TrialConverted => State::Active,
        // A trial of another plan is still a trial, and the new plan renews automatically.
        TransitionKind::PlanChanged if matches!(before, State::Trial | State::TrialOff) => {
            State::Trial
        }
        TransitionKind::PlanChanged => State::Active,
        TransitionKind::GraceBegan => State::Grace,
        TransitionKind::Paused => State::Paused,
        TransitionKind::Cancelled if before == State::Trial => State::TrialOff,
        TransitionKind::Cancelled => State::Off,
        TransitionKind::Resumed if before == State::TrialOff => State::Trial,
        TransitionKind::Resumed => State::Active,
        TransitionKind::PlanChangeScheduled => before,
        TransitionKind::Expired | TransitionKind::TrialDidNotConvert => State::Expired,
    }
}

const fn tone(state: State) -> &'static str {
    match state {
        State::Trial | State::Active => "good",
        State::TrialOff | State::Off => "busy",
        State::Grace | State::AccountHold => "warn",
        State::Pending
        | State::Paused
        | State::Expired
        | State::Revoked
        | State::Replaced
        | State::Unknown => "idle",
    }
}

fn stretches(states: &[(Timestamp, State)], now: Timestamp) -> Vec<BarSegment> {
    let begin = states.first().map_or(now, |(at, _)| *at);
    let whole = now.micros().saturating_sub(begin.micros()).max(1);
    let spare = WIDTH - LEAST * i64::try_from(states.len()).unwrap_or(0);
    let mut left = 0;
    let ends = states.iter().skip(1).map(|(at, _)| *at).chain([now]);
    let stretch = |((at, state), end): (&(Timestamp, State), Timestamp)| {
        let lasted = end.micros().saturating_sub(at.micros()).clamp(0, whole);
        let share = i128::from(lasted) * i128::from(spare.max(0)) / i128::from(whole);
        let width = LEAST + i64::try_from(share).unwrap_or(0);
        left += width;
        BarSegment {
            left: left - width,
            width,
            tone: tone(*state),
            state: purchase_state(state.as_str()),
            since: Moment::at(*at),
        }
    };
    states.iter().zip(ends).map(stretch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_micros(day * 86_400_000_000)
    }

    #[test]
    fn states_are_as_wide_as_they_lasted_and_none_is_lost() {
        let all = stretches(
            &[
                (at(0), State::Trial),
                (at(7), State::Active),
                (at(7), State::Off),
            ],
            at(14),
        );
        let places: Vec<_> = all
            .iter()
            .map(|one| (one.left, one.width, one.tone))
            .collect();
        assert_eq!(
            places,
            [(0, 296, "good"), (296, 8, "good"), (304, 296, "busy")]
        );
    }

    #[test]
    fn a_store_whose_clock_goes_back_breaks_no_picture() {
        let all = stretches(&[(at(9), State::Active), (at(3), State::Expired)], at(1));
        assert!(
            all.iter()
                .all(|one| one.left >= 0 && one.left + one.width <= WIDTH),
            "it stays in the picture"
        );
    }

    #[test]
    fn what_is_switched_off_in_a_trial_is_a_trial() {
        assert_eq!(
            after(TransitionKind::Cancelled, State::Trial),
            State::TrialOff
        );
        assert_eq!(
            after(TransitionKind::Resumed, State::TrialOff),
            State::Trial
        );
        assert_eq!(
            after(TransitionKind::PlanChanged, State::Trial),
            State::Trial
        );
        assert_eq!(
            after(TransitionKind::PlanChanged, State::TrialOff),
            State::Trial
        );
        assert_eq!(
            after(TransitionKind::PlanChanged, State::Off),
            State::Active
        );
        assert_eq!(after(TransitionKind::Cancelled, State::Active), State::Off);
        assert_eq!(
            after(TransitionKind::PlanChangeScheduled, State::Grace),
            State::Grace
        );
    }
}
