//! A revision of a purchase that is told: what its events are made of, and which they are.

use crate::db::config::Installation;
use crate::db::fault;
use crate::events::deliveries::Event;
use crate::purchases::purchase::Origin;
use crate::purchases::users::UserRow;
use crate::settling::settled::Record;
use domain::event::Details;
use domain::{DestinationId, Environment, EventId};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// What is told, and of what.
pub struct Told<'a> {
    /// The decision.
    pub record: &'a Record,
    /// What the purchase belongs to.
    pub origin: &'a Origin,
    /// Its owner, locked, and the store's name of them.
    pub owner: Option<(&'a UserRow, Option<&'a str>)>,
    /// Whose database it is.
    pub installation: Installation,
    /// The purchase's revision that is told.
    pub revision: i64,
    /// How many notifications were settled in it.
    pub coalesced: i64,
    /// The purchase's record.
    pub data: &'a Value,
    /// What every event says of the purchase beside the documented fields.
    pub details: &'a Details,
}

/// Which state of their user the events of a record carry, and to whom.
pub struct Carried {
    /// The user's revision.
    pub user_revision: i64,
    /// Who is owed an event with it.
    pub to: BTreeSet<DestinationId>,
}

impl Told<'_> {
    /// The environment of the purchase.
    pub fn environment(&self) -> Environment {
        self.record.decision.purchase.environment(self.origin.environment)
    }

    /// The events of what happened, in its order.
    pub fn happened(&self) -> Vec<Event> {
        let mut times: HashMap<&str, u32> = HashMap::new();
        let transitions = self.record.decision.transitions.iter();
        let event = |event_type| {
            let n = times.entry(event_type).or_insert(0);
            *n += 1;
            self.event(event_type, *n - 1)
        };
        transitions.map(|transition| transition.what.event_type()).map(event).collect()
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
