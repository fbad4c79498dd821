//! The state of a destination, as every screen shows it. Pure.

use crate::pages::cell::{Cell, CellPart};
use crate::pages::parts::Moment;
use crate::pages::text::destination_state;
use domain::Timestamp;
use storage::ShownState;

/// The page of what was skipped, below that of the destination.
pub const SKIPPED: &str = "/deliveries?status=skipped";
pub const WHY_SKIPPED: &str = "Why nothing is sent";

/// The state with its age, or with the reason why nothing is sent. `page` is the address of a page below that of the
/// destination.
pub fn state(shown: ShownState, since: Option<Moment>, page: impl Fn(&str) -> String) -> Cell {
    let below = match (shown, since) {
        (ShownState::SkipsEverything, _) => vec![CellPart::link(page(SKIPPED), WHY_SKIPPED)],
        (_, Some(since)) => vec!["since".into(), since.into()],
        (_, None) => Vec::new(),
    };
    Cell::from(destination_state(shown)).under(below)
}

/// Since when a state lasts; `None` for one that is no event. A destination that never failed counts as healthy from its
/// creation, before anything was sent to it: then nothing is known of when it began to work.
pub fn lasts_since(shown: ShownState, since: Timestamp, created_at: Timestamp) -> Option<Moment> {
    let is_event = match shown {
        ShownState::NotTried | ShownState::SkipsEverything => false,
        ShownState::Healthy => since > created_at,
        ShownState::Failing | ShownState::Open | ShownState::Disabled => true,
    };
    is_event.then(|| Moment::ago(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_never_failed_is_healthy_since_no_event() {
        let [created, later] = [1, 2].map(Timestamp::from_micros);
        assert!(lasts_since(ShownState::Healthy, created, created).is_none());
        assert!(
            lasts_since(ShownState::Healthy, later, created).is_some(),
            "it recovered"
        );
        assert!(
            lasts_since(ShownState::Disabled, created, created).is_some(),
            "it was created so"
        );
        assert!(lasts_since(ShownState::NotTried, later, created).is_none());
    }
}
