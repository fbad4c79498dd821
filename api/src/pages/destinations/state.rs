//! The state of a destination, as every screen shows it. This module is pure.

use crate::cell::{Cell, CellPart};
use crate::parts::Moment;
use crate::text::destination_state;
use domain::Timestamp;
use storage::{DestinationOverview, ShownState};

/// Path of the page of skipped events, relative to the destination's.
pub const SKIPPED: &str = "/deliveries?status=skipped";
pub const WHY_SKIPPED: &str = "Why nothing is sent";

/// Returns the state with its age, or with the reason why nothing is sent. `page` returns the address for a path
/// relative to the destination's.
pub fn state(shown: ShownState, since: Option<Moment>, page: impl Fn(&str) -> String) -> Cell {
    let below = match (shown, since) {
        (ShownState::SkipsEverything, _) => vec![CellPart::link(page(SKIPPED), WHY_SKIPPED)],
        (ShownState::Open, Some(since)) => vec![
            "since".into(),
            since.into(),
            "settle sends what waits by itself".into(),
        ],
        (_, Some(since)) => vec!["since".into(), since.into()],
        (_, None) => Vec::new(),
    };
    Cell::from(destination_state(shown)).under(below)
}

/// The times of a destination from which the age of its state follows.
#[derive(Debug, Clone, Copy)]
pub struct StateTimes {
    /// When the stored state began. An open breaker's state began some failures after the first one.
    pub since: Timestamp,
    pub created_at: Timestamp,
    /// Time of the first failed request since the last success.
    pub first_failure_at: Option<Timestamp>,
}

/// Returns the times of a destination in an overview.
pub fn times(of: &DestinationOverview) -> StateTimes {
    StateTimes {
        since: of.destination.since,
        created_at: of.destination.created_at,
        first_failure_at: of.first_failure_at,
    }
}

/// Returns the time since which a state lasts. All failing states begin at the first failure. `None` if the state has
/// no beginning, or if it is unknown: a destination that never failed counts as healthy from its creation on, before
/// anything was sent to it.
pub fn lasts_since(shown: ShownState, of: StateTimes) -> Option<Moment> {
    let since = match shown {
        ShownState::NotTried | ShownState::SkipsEverything => None,
        ShownState::Healthy => Some(of.since).filter(|since| *since > of.created_at),
        ShownState::Failing | ShownState::Open => Some(of.first_failure_at.unwrap_or(of.since)),
        ShownState::Disabled => Some(of.since),
    };
    since.map(Moment::ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_never_failed_is_healthy_since_no_event() {
        let [created, later] = [1, 2].map(Timestamp::from_micros);
        let times = |since| StateTimes {
            since,
            created_at: created,
            first_failure_at: None,
        };
        assert!(lasts_since(ShownState::Healthy, times(created)).is_none());
        assert!(
            lasts_since(ShownState::Healthy, times(later)).is_some(),
            "it recovered"
        );
        assert!(
            lasts_since(ShownState::Disabled, times(created)).is_some(),
            "it was created so"
        );
        assert!(lasts_since(ShownState::NotTried, times(later)).is_none());
    }

    #[test]
    fn a_destination_fails_since_its_first_failure() {
        let [created, first, opened] = [1, 2_000_000, 9_000_000].map(Timestamp::from_micros);
        let since = |shown| {
            let of = StateTimes {
                since: opened,
                created_at: created,
                first_failure_at: Some(first),
            };
            lasts_since(shown, of).map(|moment| moment.to_string())
        };
        let shown = Some(Moment::ago(first).to_string());
        assert_eq!(since(ShownState::Failing), shown);
        assert_eq!(since(ShownState::Open), shown);
        assert_eq!(
            since(ShownState::Disabled),
            Some(Moment::ago(opened).to_string())
        );
    }
}
