//! Named changes of a purchase's state, and the type of the event that announces each.

use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that happened to a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub kind: TransitionKind,
    /// When it happened, according to the store: the time of the notification that reported it, or the store's date
    /// that caused it. `None` if neither is known; the event then has the time of `record`.
    pub at: Option<Timestamp>,
    /// The number of the subscription's term, from 1, if terms can be counted.
    pub cycle: Option<u64>,
}

macro_rules! transition_kinds {
    ($($(#[$doc:meta])* $name:ident = $event_type:literal;)*) => {
        /// Kinds of transitions. The order of the variants is the order of events of one transition.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum TransitionKind { $($(#[$doc])* $name,)* }

        impl TransitionKind {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the type of the event that announces the transition.
            pub const fn event_type(self) -> &'static str { match self { $(Self::$name => $event_type),* } }
        }
    };
}

impl TransitionKind {
    /// Transitions that show a payment after a trial or after the first term.
    pub(crate) const PAYMENTS: [Self; 3] = [Self::Renewed, Self::Recovered, Self::TrialConverted];
    pub(crate) const BEGINNINGS: [Self; 2] = [Self::Purchased, Self::PlanChanged];
}

transition_kinds! {
    TrialStarted = "user.journey.trial.started";
    TrialConverted = "user.journey.trial.converted";
    /// A trial ended without a payment.
    TrialDidNotConvert = "user.journey.trial.did_not_convert";
    /// A subscription or a one-time purchase was bought.
    Purchased = "user.subscription.purchased";
    Renewed = "user.subscription.renewed";
    /// A subscription renewed after its payment had failed.
    Recovered = "user.subscription.renewal_in_grace_period";
    /// A payment failed and grace began.
    GraceBegan = "user.subscription.in_grace_period";
    /// A pause of a subscription began. A record does not cover it: its state shows it.
    #[schemars(skip)]
    Paused = "user.subscription.paused";
    Cancelled = "user.subscription.cancelled";
    Resumed = "user.subscription.resumed";
    /// A change of plan was scheduled.
    PlanChangeScheduled = "user.subscription.pending_sku_change";
    PlanChanged = "user.subscription.sku_change";
    Expired = "user.subscription.expired";
}
