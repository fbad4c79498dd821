//! A revision of a purchase that is announced: its events, and the data that they are made from.

use crate::db::config::Installation;
use crate::db::fault;
use crate::events::deliveries::Event;
use crate::purchases::purchase::Origin;
use crate::purchases::users::UserRow;
use domain::event::Details;
use domain::settling::Record;
use domain::{DestinationId, Environment, EventId};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// Everything that the events of a record are made from.
pub struct Announcement<'a> {
    /// The decision.
    pub record: &'a Record,
    /// The app and platform of the purchase.
    pub origin: &'a Origin,
    /// Its owner, locked, and the store's name of them.
    pub owner: Option<(&'a UserRow, Option<&'a str>)>,
    /// The installation.
    pub installation: Installation,
    /// The purchase's revision that is announced.
    pub revision: i64,
    /// How many notifications were settled in it.
    pub coalesced: i64,
    /// The purchase's record.
    pub data: &'a Value,
    /// The fields of the purchase that every event has beside the documented ones.
    pub details: &'a Details,
}

/// The state of their user that the events of a record carry, and the destinations that are owed one of them.
pub struct Carried {
    /// The user's revision.
    pub user_revision: i64,
    /// The destinations that are owed one of the events.
    pub to: BTreeSet<DestinationId>,
}

impl Announcement<'_> {
    /// The environment of the purchase.
    pub fn environment(&self) -> Environment {
        self.record.decision.purchase.environment(self.origin.environment)
    }

    /// The events of the transitions, in their order.
    pub fn happened(&self) -> Vec<Event> {
        let mut times: HashMap<&str, u32> = HashMap::new();
        let transitions = self.record.decision.transitions.iter();
        let event = |event_type| {
            let n = times.entry(event_type).or_insert(0);
            *n += 1;
            self.event(event_type, *n - 1)
        };
        transitions.map(|transition| transition.kind.event_type()).map(event).collect()
    }

    /// Event number `n` of a type in this revision.
    pub fn event(&self, event_type: &str, n: u32) -> Event {
        let key = self.record.collapse_key;
        let named = if fault::is_planted("record.reuse_event_id") { 1 } else { self.revision };
        Event {
            id: EventId::of(key, self.installation.epoch, named, event_type, n),
            event_type: event_type.to_owned(),
            collapse_key: key,
            revision: self.revision,
            traceparent: self.record.traceparent.clone(),
        }
    }
}
