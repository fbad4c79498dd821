//! The states of a purchase, and the stage that is stored of it.

use crate::names::names;
use serde::{Deserialize, Serialize};

/// The state of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is known yet.
    Unknown,
    /// It runs in a trial and will be charged after it.
    Trial,
    /// It runs in a trial, and auto-renewal is off.
    TrialOff,
    /// It runs. A subscription renews as far as we know.
    Active,
    /// It runs, and auto-renewal is off.
    Off,
    /// A payment failed and the store grants grace.
    Grace,
    /// A subscription ended.
    Expired,
    /// A one-time purchase was taken back.
    Revoked,
    /// A change of plan put another receipt in its place. Final.
    Replaced,
}

impl State {
    /// Whether the customer has access: by the state, never by the clock. `None` while nothing is known.
    #[must_use]
    pub const fn is_active(self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Trial | Self::TrialOff | Self::Active | Self::Off | Self::Grace => Some(true),
            Self::Expired | Self::Revoked | Self::Replaced => Some(false),
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
    Expired = "expired",
    Revoked = "revoked",
    Replaced = "replaced",
});

/// Whether a purchase runs, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It runs.
    Running,
    /// An unverified cancellation ended it; auto-renewal switched on shows that it runs after all.
    Cut,
    /// It ended.
    Expired,
    /// It was taken back.
    Revoked,
    /// Another receipt took its place.
    Replaced,
}

/// Where a purchase stands: its state, and what of its course the state does not show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// Whether it runs.
    pub life: Life,
    /// Whether a trial is all that it had so far: nothing was paid.
    pub in_trial: bool,
    /// Whether a payment failed and the store grants grace.
    pub in_grace: bool,
    /// Whether auto-renewal is off.
    pub is_off: bool,
    /// The number of paid terms that began, 0 in a trial; `None` when that cannot be counted.
    pub terms: Option<u64>,
    /// The SKU of the term.
    pub sku: Option<String>,
    /// The SKU that a scheduled change leads to; empty when only a notification reported the change.
    pub pending: Option<String>,
}

impl Stage {
    /// The state.
    pub const fn state(&self) -> State {
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

    /// Whether nothing is known.
    pub const fn is_unknown(&self) -> bool {
        matches!(self.life, Life::Unknown)
    }

    /// Whether it runs.
    pub const fn runs(&self) -> bool {
        matches!(self.life, Life::Running)
    }

    /// Whether it ended, for whatever reason.
    pub const fn is_over(&self) -> bool {
        !matches!(self.life, Life::Unknown | Life::Running)
    }
}
