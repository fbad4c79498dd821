//! Which events an admin's resend covers. The package `storage` implements each selector.

use crate::{AppId, CollapseKey, DestinationId, EventId, Timestamp};
use serde::{Deserialize, Serialize};

/// The events to resend. Of a purchase's states only the latest is sent, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedeliverySelector {
    /// All events whose delivery failed and that have not arrived since.
    #[default]
    Failed,
    /// All events of a time range.
    Range {
        from: Timestamp,
        until: Timestamp,
    },
    /// The latest state of each purchase whose latest state the destination has not acknowledged.
    Behind,
    /// The latest state of every purchase.
    All,
    /// The latest state of each purchase whose latest state was never queued for the destination.
    NeverQueued,
    /// The latest state of these purchases.
    Purchases(Vec<CollapseKey>),
    /// The latest state of a purchase, and all its `user.*` events.
    Purchase(CollapseKey),
    /// The latest state of a purchase, and its `user.*` events whose delivery failed.
    Lanes(CollapseKey),
    Event(EventId),
}

/// The destinations that receive the resent events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Receivers {
    #[default]
    All,
    /// The destinations of this app. Has no effect on a single event or purchase, which belongs to one app anyway.
    App(AppId),
    One(DestinationId),
}

/// The events to resend, and the destinations that receive them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selection {
    pub selector: RedeliverySelector,
    pub receivers: Receivers,
    /// Whether back-offs and `Retry-After` end for the pending deliveries of the selected lanes. Omitted from JSON if
    /// false, so that the digest of a page that was stored earlier does not change.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_urgent: bool,
}

impl RedeliverySelector {
    pub fn to(self, receivers: impl Into<Receivers>) -> Selection {
        Selection {
            selector: self,
            receivers: receivers.into(),
            is_urgent: false,
        }
    }
}

impl Selection {
    /// Whether the selection covers one purchase, or one of its events.
    pub const fn is_of_one_purchase(&self) -> bool {
        use RedeliverySelector::{Event, Lanes, Purchase};
        matches!(self.selector, Event(_) | Purchase(_) | Lanes(_))
    }

    /// Whether the resend ends pauses of destinations. It never does for one purchase, since all others would be sent
    /// too.
    pub const fn ends_pauses(&self) -> bool {
        self.is_urgent && !self.is_of_one_purchase()
    }
}

impl Receivers {
    /// Returns the destination, if the receiver is a single one.
    pub const fn destination(self) -> Option<DestinationId> {
        if let Self::One(id) = self {
            Some(id)
        } else {
            None
        }
    }
}

impl From<DestinationId> for Receivers {
    fn from(destination: DestinationId) -> Self {
        Self::One(destination)
    }
}

impl From<Option<DestinationId>> for Receivers {
    fn from(destination: Option<DestinationId>) -> Self {
        destination.map_or(Self::All, Self::One)
    }
}
