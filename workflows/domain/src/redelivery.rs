//! What an admin's resend covers. How each selector is carried out is in `storage`.

use crate::{AppId, CollapseKey, DestinationId, EventId, Timestamp};
use serde::{Deserialize, Serialize};

/// Which events are sent again. Of a purchase's states the newest is sent, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedeliverySelector {
    /// All events whose delivery failed and that did not arrive since.
    #[default]
    Failed,
    /// All events of a time range.
    Range {
        from: Timestamp,
        until: Timestamp,
    },
    /// The newest state of each purchase of which the destination did not acknowledge the newest one.
    Behind,
    /// The newest state of every purchase.
    All,
    /// The newest state of each purchase of which the newest one was never queued for the destination.
    NeverQueued,
    /// The newest state of these purchases.
    Purchases(Vec<CollapseKey>),
    /// The newest state of a purchase, and all its `user.*` events.
    Purchase(CollapseKey),
    /// The newest state of a purchase, and its `user.*` events whose delivery failed.
    Lanes(CollapseKey),
    Event(EventId),
}

/// The destinations to which it is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Receivers {
    #[default]
    All,
    /// The destinations of this app. Changes nothing for one event or purchase, which has an app already.
    App(AppId),
    One(DestinationId),
}

/// Which events are sent again, and to which destinations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selection {
    pub selector: RedeliverySelector,
    pub receivers: Receivers,
    /// Whether back-offs and `Retry-After` end for what is pending in the selected lanes. Left out where it is false, so that
    /// the digest of a page that was stored before stays the same.
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
    /// Whether it selects one purchase, or one event of it.
    pub const fn is_of_one_purchase(&self) -> bool {
        use RedeliverySelector::{Event, Lanes, Purchase};
        matches!(self.selector, Event(_) | Purchase(_) | Lanes(_))
    }

    /// Whether pauses of destinations end: never for one purchase, since all others would be sent with it.
    pub const fn ends_pauses(&self) -> bool {
        self.is_urgent && !self.is_of_one_purchase()
    }
}

impl Receivers {
    /// The destination, if it is one.
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
