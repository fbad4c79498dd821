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
pub fn state(shown: ShownState, since: Timestamp, page: impl Fn(&str) -> String) -> Cell {
    let below = match shown {
        ShownState::NotTried => Vec::new(),
        ShownState::SkipsEverything => vec![CellPart::link(page(SKIPPED), WHY_SKIPPED)],
        _ => vec!["since".into(), Moment::ago(since).into()],
    };
    Cell::from(destination_state(shown)).under(below)
}

/// Since when a state lasts; `None` for one that is no event.
pub fn lasts_since(shown: ShownState, since: Timestamp) -> Option<Moment> {
    let is_stored = !matches!(shown, ShownState::NotTried | ShownState::SkipsEverything);
    is_stored.then(|| Moment::ago(since))
}
