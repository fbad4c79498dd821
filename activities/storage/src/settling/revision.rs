//! A settling in the transaction of its record, and the revision that it announces.

use crate::events::deliveries::Event;
use crate::purchases::purchase::Origin;
use crate::purchases::users::UserRow;
use crate::settings::destinations::Destination;
use db::config::Installation;
use db::fault;
use domain::event::{Details, PriceDoubt};
use domain::payment::{Conversion, Day};
use domain::settling::Record;
use domain::user::{OwnedPurchase, UserDevice};
use domain::{DestinationId, Environment, EventId, TransitionKind};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

/// A settling in the transaction of its record, with its locks held.
pub struct Settling<'a> {
    pub record: Cow<'a, Record>,
    /// The app and platform of the purchase.
    pub origin: &'a Origin,
    /// The user who owns the purchase; `None` while nothing is decided about it.
    pub owner: Option<&'a UserRow>,
    /// The store's id of the customer.
    pub app_user_id: Option<&'a str>,
    pub installation: Installation,
}

/// The record of a purchase, as its events show it.
pub struct Description {
    pub data: Value,
    /// The fields that every event has besides `data`.
    pub details: Details,
    /// Why the price that a device reported does not count.
    pub price_doubt: Option<PriceDoubt>,
    /// The day whose exchange rate converts the price; `conversion` has the rate.
    pub priced_on: Option<Day>,
    pub conversion: Option<Conversion>,
}

/// All values from which the events of a settling are built.
pub struct Announcement<'a> {
    pub settling: &'a Settling<'a>,
    pub epoch: i64,
    /// The purchase's revision that is announced.
    pub revision: i64,
    /// Number of the store's notifications that were settled in it.
    pub coalesced: i64,
    /// The stored form of the causes besides the notifications.
    pub causes: Option<String>,
    pub description: &'a Description,
    pub destinations: &'a [Destination],
    /// The purchases of the owner, with this one as it was settled; empty if no event carries the owner's state.
    pub owned: Vec<OwnedPurchase>,
    /// The devices of the owner; empty in the same case.
    pub devices: Vec<UserDevice>,
}

/// The revision of the user whose state the events of a settling carry, and the destinations that one of these events
/// was queued for.
pub struct Carried {
    pub user_revision: i64,
    /// The destinations that one of the events was queued for.
    pub to: BTreeSet<DestinationId>,
}

impl Settling<'_> {
    pub fn environment(&self) -> Environment {
        self.record
            .decision
            .purchase
            .environment(self.origin.environment)
    }

    /// Returns whether the purchase begins with this settling, according to the decision so far.
    pub fn begins(&self) -> bool {
        self.record
            .decision
            .transitions
            .iter()
            .any(|transition| transition.kind == TransitionKind::Purchased)
    }
}

impl Announcement<'_> {
    /// Returns the events of the transitions, in their order.
    pub fn transition_events(&self) -> Vec<Event> {
        let mut times: HashMap<&str, u32> = HashMap::new();
        let transitions = self.settling.record.decision.transitions.iter();
        let event = |event_type| {
            let n = times.entry(event_type).or_insert(0);
            *n += 1;
            self.event(event_type, *n - 1)
        };
        transitions
            .map(|transition| transition.kind.event_type())
            .map(event)
            .collect()
    }

    /// Returns the event of a type in this revision; `n` numbers those of one type from 0.
    pub fn event(&self, event_type: &str, n: u32) -> Event {
        let record = &self.settling.record;
        let key = record.collapse_key;
        let revision = if fault::is_planted("record.reuse_event_id") {
            1
        } else {
            self.revision
        };
        Event {
            id: EventId::of(key, self.epoch, revision, event_type, n),
            event_type: event_type.to_owned(),
            collapse_key: key,
            revision: self.revision,
            traceparent: record.traceparent.clone(),
        }
    }
}
