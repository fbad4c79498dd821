//! What stands above every page of one destination. Pure.

use super::state::{SKIPPED, WHY_SKIPPED, lasts_since};
use crate::pages::cell::CellPart;
use crate::pages::parts::{Badge, Moment, Tab, Tabs};
use crate::pages::text::destination_state;
use crate::pages::visit::Visit;
use storage::{Destination, ShownState};

/// The part of the address of each tab.
pub const OVERVIEW: &str = "";
pub const DELIVERIES: &str = "/deliveries";
pub const SETTINGS: &str = "/settings";
pub const RESEND: &str = "/resend";

/// What stands above every page of a destination.
pub struct Head {
    pub id: String,
    pub name: String,
    pub kind: &'static str,
    pub state: Badge,
    pub since: Option<Moment>,
    /// Where it skips everything: the page that shows why.
    pub why: Option<CellPart>,
    /// Its pages; none for a deleted one.
    pub tabs: Option<Tabs>,
}

impl Head {
    /// The head of a page of this destination.
    pub fn new(
        visit: &Visit,
        destination: &Destination,
        shown: ShownState,
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
        Self {
            id: destination.id.to_string(),
            name: destination.name.clone(),
            kind: super::form_of(&destination.kind).map_or("", |form| form.label),
            state: destination_state(shown),
            since: lasts_since(shown, destination.since, destination.created_at),
            why: (shown == ShownState::SkipsEverything)
                .then(|| CellPart::link(page(SKIPPED), WHY_SKIPPED)),
            tabs: Some(Tabs::new("Pages of the destination", tabs.map(tab))),
        }
    }

    /// The address of one of its pages.
    pub fn page(&self, end: &str, visit: &Visit) -> String {
        visit.to(&format!("/ui/destinations/{}{end}", self.id))
    }

    /// Where the form of an action is sent.
    pub fn action(&self, name: &str) -> String {
        format!("/ui/destinations/{}/{name}", self.id)
    }
}
