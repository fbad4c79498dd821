//! The head of every page of a destination.

use super::state::{SKIPPED, StateTimes, WHY_SKIPPED, lasts_since};
use crate::cell::CellPart;
use crate::parts::{Badge, Moment, Tab, Tabs};
use crate::text::destination_state;
use crate::visit::Visit;
use api::edge::Edge;
use api::error::Error;
use api::resources::destinations::DestinationStanding;
use domain::{DestinationId, Timestamp};
use storage::{Destination, ShownState};

/// The end of the path of each tab.
pub const OVERVIEW: &str = "";
pub const DELIVERIES: &str = "/deliveries";
pub const SETTINGS: &str = "/settings";
pub const RESEND: &str = "/resend";

/// The state of a destination, and the time since which it fails.
#[derive(Debug, Clone, Copy)]
pub struct Stands {
    pub shown: ShownState,
    pub first_failure_at: Option<Timestamp>,
}

impl Stands {
    /// Reads the state of a destination.
    pub async fn read(edge: &Edge, id: DestinationId) -> Result<Self, Error> {
        let found = DestinationStanding::read(edge, id).await?;
        Ok(Self {
            shown: found.shown_state,
            first_failure_at: found.health.health.health.first_failure_at,
        })
    }
}

/// The head of every page of a destination.
pub struct Head {
    pub id: String,
    pub name: String,
    pub kind: &'static str,
    pub state: Badge,
    pub since: Option<Moment>,
    /// What settle does automatically.
    pub note: Option<&'static str>,
    /// Link to the page with the reason, if the destination skips everything.
    pub why: Option<CellPart>,
    /// Tabs of the destination's pages; `None` for a deleted destination.
    pub tabs: Option<Tabs>,
}

impl Head {
    /// Returns the head of a page of this destination.
    pub fn new(
        visit: &Visit,
        destination: &Destination,
        stands: Stands,
        current: &'static str,
    ) -> Self {
        let page = |end: &str| visit.to(&format!("/ui/destinations/{}{end}", destination.id));
        let tab = |(label, end): (&'static str, &str)| Tab {
            label,
            path: page(end),
            is_current: end == current,
        };
        let tabs = [
            ("Overview", OVERVIEW),
            ("Deliveries", DELIVERIES),
            ("Settings", SETTINGS),
            ("Resend", RESEND),
        ];
        let times = StateTimes {
            since: destination.since,
            created_at: destination.created_at,
            first_failure_at: stands.first_failure_at,
        };
        Self {
            id: destination.id.to_string(),
            name: destination.name.clone(),
            kind: super::form_of(&destination.kind).map_or("", |form| form.label),
            state: destination_state(stands.shown),
            since: lasts_since(stands.shown, times),
            note: (stands.shown == ShownState::Open).then_some("settle sends what waits by itself"),
            why: (stands.shown == ShownState::SkipsEverything)
                .then(|| CellPart::link(page(SKIPPED), WHY_SKIPPED)),
            tabs: Some(Tabs::new("Pages of the destination", tabs.map(tab))),
        }
    }

    /// Returns the address of one of the destination's pages.
    pub fn page(&self, end: &str, visit: &Visit) -> String {
        visit.to(&format!("/ui/destinations/{}{end}", self.id))
    }

    /// Returns the path to which the form of an action is sent.
    pub fn action(&self, name: &str) -> String {
        format!("/ui/destinations/{}/{name}", self.id)
    }
}
