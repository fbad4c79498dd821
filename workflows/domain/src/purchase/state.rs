//! The states of a purchase, and the stage that is stored for it.

use crate::names::names;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Unknown,
    /// A trial runs; the first payment will follow.
    Trial,
    /// A trial runs, and auto-renewal is off.
    TrialOff,
    /// Running. For a subscription, auto-renewal is on as far as is known.
    Active,
    /// Running, with auto-renewal off.
    Off,
    /// A payment failed, and the subscription continues in a grace period.
    Grace,
    /// The first payment is pending, without access.
    Pending,
    /// A payment failed, and access is off until it is repaired.
    AccountHold,
    /// The customer paused the subscription, and access is off until it is resumed.
    Paused,
    Expired,
    /// A one-time purchase was revoked (refunded or cancelled).
    Revoked,
    /// Another purchase replaced it in a change of plan. Final.
    Replaced,
}

impl State {
    /// Whether the customer has access, which includes a grace period. Depends on the state alone, never on the clock.
    /// `None` if nothing is known.
    pub const fn is_active(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Trial | Self::TrialOff | Self::Active | Self::Off | Self::Grace => Some(true),
            Self::Pending
            | Self::AccountHold
            | Self::Paused
            | Self::Expired
            | Self::Revoked
            | Self::Replaced => Some(false),
        }
    }
}

names!(State, "a state of a purchase" {
    Unknown = "unknown",
    Trial = "trial",
    TrialOff = "trial_off",
    Active = "active",
    Off = "off",
    Grace = "grace",
    Pending = "pending",
    AccountHold = "account_hold",
    Paused = "paused",
    Expired = "expired",
    Revoked = "revoked",
    Replaced = "replaced",
});

/// Whether a purchase runs, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    #[default]
    Unknown,
    Running,
    /// Ended by a cancellation that the store has not confirmed. A later report that auto-renewal was switched on shows
    /// that the purchase still runs.
    Cut,
    Expired,
    Revoked,
    Replaced,
}

/// The stage of a purchase: the parts of its state, its number of terms and its plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Stage {
    pub life: Life,
    /// Whether the purchase has had only a trial and no payment so far.
    pub in_trial: bool,
    /// Whether a payment failed and a grace period runs. The period begins with a report or with the store's grace
    /// date. It ends with a payment, or after that date unless the store shows more (`stores`; for reports:
    /// `decide/walk.rs`).
    pub in_grace: bool,
    pub is_off: bool,
    /// The number of paid terms that have begun, 0 in a trial; `None` if terms cannot be counted.
    pub terms: Option<u64>,
    pub sku: Option<String>,
    /// The SKU of a scheduled change of plan; empty if only a notification reported the change, without a SKU, and if the
    /// change leads to no other SKU.
    pub pending: Option<String>,
    /// Why it gives no access although it is not over. Its life is then [`Life::Expired`], as for a version that does not
    /// know of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halt: Option<Halt>,
}

/// Why a purchase gives no access although it is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Halt {
    /// The first payment is pending.
    Pending,
    /// A payment failed.
    AccountHold,
    /// The customer paused it.
    Paused,
}

impl Stage {
    pub const fn state(&self) -> State {
        match self.halt {
            Some(Halt::Pending) => return State::Pending,
            Some(Halt::AccountHold) => return State::AccountHold,
            Some(Halt::Paused) => return State::Paused,
            None => {}
        }
        match self.life {
            Life::Unknown => State::Unknown,
            Life::Cut | Life::Expired => State::Expired,
            Life::Revoked => State::Revoked,
            Life::Replaced => State::Replaced,
            Life::Running if self.in_grace => State::Grace,
            Life::Running => match (self.in_trial, self.is_off) {
                (true, false) => State::Trial,
                (true, true) => State::TrialOff,
                (false, false) => State::Active,
                (false, true) => State::Off,
            },
        }
    }

    pub const fn is_unknown(&self) -> bool {
        matches!(self.life, Life::Unknown)
    }

    pub const fn runs(&self) -> bool {
        matches!(self.life, Life::Running)
    }

    /// Whether it has begun and will go on: it runs, or it is halted after a payment or a trial.
    pub const fn goes_on(&self) -> bool {
        self.runs() || matches!(self.halt, Some(Halt::AccountHold | Halt::Paused))
    }

    /// Whether it ended, for whatever reason. A halted one may go on.
    pub const fn is_over(&self) -> bool {
        !matches!(self.life, Life::Unknown | Life::Running) && self.halt.is_none()
    }
}
