//! What a settling loads and records. Workflows, activities and storage share these types. Their JSON is in histories,
//! so fields are only ever added, with a default.

use crate::device::claim::CLAIM_STORE_TYPE;
use crate::duty::Acknowledgement;
use crate::time::{as_millis, as_optional_millis};
use crate::{
    AppId, CollapseKey, Decision, DestinationId, Lane, Notification, Outcome, Parked, PlatformId,
    Purchase, SettlingContext, State, StorePolicy, Timestamp, Verification, decide,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Maximum number of notifications in one settling.
pub const MAX_PER_SETTLING: i64 = 500;

/// A purchase, its waiting notifications and all its open lanes, as of one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    /// Id of the app; absent if the purchase is not known.
    pub app_id: Option<AppId>,
    /// Id of the platform; absent if the purchase is not known.
    pub platform_id: Option<PlatformId>,
    pub state: State,
    /// Current knowledge about the purchase; left out of the history if the workflow does not decide.
    #[serde(default, skip_serializing_if = "is_default")]
    pub purchase: Purchase,
    /// Revision of the purchase; 0 before the first.
    pub revision: i64,
    /// The number of the purchase's last settling.
    pub settling: i64,
    /// The waiting notifications, at most [`MAX_PER_SETTLING`], without customer identifiers; left out of the history
    /// if the workflow does not decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<(i64, Notification)>,
    /// Whether more are waiting than were loaded.
    pub more: bool,
    /// The newest waiting sequence number; 0 when nothing waits.
    pub newest_seq: i64,
    /// How long until the window of the rows above `through` ends; zero without such rows.
    #[serde(rename = "quiet_ms", with = "as_millis")]
    pub quiet: Duration,
    /// How long until the oldest of those rows reaches the max-wait cap.
    #[serde(rename = "cap_ms", with = "as_optional_millis", default)]
    pub cap: Option<Duration>,
    /// How long until the purchase's hold ends; absent if it is not held.
    #[serde(rename = "held_ms", with = "as_optional_millis", default)]
    pub held: Option<Duration>,
    /// Whether the purchase must be settled without new notifications, because its wake is due.
    #[serde(default)]
    pub due: bool,
    /// Whether the store must be queried before deciding.
    #[serde(default)]
    pub verify: bool,
    /// Whether the purchase was replaced by another one that is known to be real.
    #[serde(default)]
    pub is_replaced: bool,
    /// The version of the platform's settings; absent if the purchase is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_version: Option<i64>,
    pub lanes: Vec<Lane>,
    /// How long ago the window of the youngest row that waits for nothing else ended. Only for a metric of the activity
    /// `settle`, so it is not serialized.
    #[serde(skip)]
    pub late: Option<Duration>,
    /// The rules of the purchase's store; serialized as the store's name.
    #[serde(
        rename = "store",
        default,
        skip_serializing_if = "StorePolicy::is_unnamed"
    )]
    pub policy: StorePolicy,
    pub now: Timestamp,
}

impl Loaded {
    /// Leaves out the purchase and its notifications, for a workflow that does not decide.
    #[must_use]
    pub fn without_bodies(self) -> Self {
        Self {
            purchase: Purchase::default(),
            notifications: Vec::new(),
            ..self
        }
    }

    /// Whether there is anything to decide.
    fn is_wanted(&self) -> bool {
        self.due || !self.notifications.is_empty()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettlingMode {
    /// The notifications whose window has ended.
    Due,
    /// All waiting notifications, even if their window has not ended.
    Flush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlingStart {
    /// The newest sequence number whose window has begun or ended.
    pub through: i64,
    /// Whether the window has not ended, so that nothing may be settled before the cap.
    pub is_early: bool,
    pub mode: SettlingMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Held,
    Quiet,
    Early,
    Idle,
    Ready,
}

impl SettlingStart {
    /// Returns whether the loaded notifications can be settled now and, if not, why.
    pub fn readiness(&self, loaded: &Loaded) -> Readiness {
        let obeys_window = self.mode == SettlingMode::Due && loaded.cap != Some(Duration::ZERO);
        if loaded.held.is_some() {
            Readiness::Held
        } else if obeys_window && !loaded.quiet.is_zero() {
            Readiness::Quiet
        } else if obeys_window && self.is_early {
            Readiness::Early
        } else if loaded.is_wanted() {
            Readiness::Ready
        } else {
            Readiness::Idle
        }
    }
}

/// A decision that is to be recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub collapse_key: CollapseKey,
    /// The number of this settling: [`Loaded::settling`] + 1.
    pub settling: i64,
    /// The revision that the decision saw.
    pub revision: i64,
    pub seqs: Vec<i64>,
    /// The notifications that devices reported; `coalesced` does not count them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from_devices: Vec<i64>,
    #[serde(flatten, with = "by_store")]
    pub decision: Decision,
    /// See [`Loaded::is_replaced`].
    #[serde(default)]
    pub is_replaced: bool,
    /// The version of the settings that the decision used: [`Loaded::settings_version`]. Absent if it does not depend
    /// on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_version: Option<i64>,
    /// Whether the store was queried before deciding: [`Loaded::verify`].
    #[serde(default)]
    pub is_queried: bool,
    /// See [`crate::Verification::is_answer`].
    pub is_answer: bool,
    /// See [`crate::stores::Policy::is_real`]; also true when its platform accepts it unverified.
    pub is_real: bool,
    /// The trace that its events belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// The decision in JSON: under another name if the purchase names its store, so that a release that knows only the
/// first store refuses the record instead of storing it without the state.
mod by_store {
    use crate::Decision;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum NamedDecision<T> {
        Decision(T),
        DecisionOfNamedStore(T),
    }

    pub fn serialize<S: Serializer>(decision: &Decision, to: S) -> Result<S::Ok, S::Error> {
        if decision.purchase.policy.is_unnamed() {
            NamedDecision::Decision(decision).serialize(to)
        } else {
            NamedDecision::DecisionOfNamedStore(decision).serialize(to)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Decision, D::Error> {
        match NamedDecision::deserialize(from)? {
            NamedDecision::Decision(decision) | NamedDecision::DecisionOfNamedStore(decision) => {
                Ok(decision)
            }
        }
    }
}

impl Record {
    pub fn decided(
        collapse_key: CollapseKey,
        loaded: &Loaded,
        verification: &Verification,
    ) -> Self {
        let context = SettlingContext {
            policy: loaded.policy,
            verification,
            is_replaced: loaded.is_replaced,
            now: loaded.now,
        };
        let decision = decide(&loaded.purchase, &loaded.notifications, context);
        let is_believed = *verification == Verification::Parked(Parked::Believable)
            && decision.purchase.is_believed();
        let from_devices = loaded
            .notifications
            .iter()
            .filter(|(_, one)| one.store_type == CLAIM_STORE_TYPE);
        Self {
            collapse_key,
            settling: loaded.settling.saturating_add(1),
            revision: loaded.revision,
            seqs: loaded.notifications.iter().map(|(seq, _)| *seq).collect(),
            from_devices: from_devices.map(|(seq, _)| *seq).collect(),
            decision,
            is_replaced: loaded.is_replaced,
            settings_version: loaded.settings_version,
            is_queried: loaded.verify,
            is_answer: loaded.policy.is_answer(verification),
            is_real: loaded.policy.is_real(verification) || is_believed,
            traceparent: None,
        }
    }

    /// Whether anything is decided about the purchase, so that it gets an owner.
    pub fn settles(&self) -> bool {
        let Decision {
            transitions,
            outcomes,
            ..
        } = &self.decision;
        self.is_answer
            || !transitions.is_empty()
            || outcomes
                .iter()
                .any(|(_, outcome)| *outcome != Outcome::Abandoned)
    }

    /// Returns the acknowledgement of the purchase in the answer that is recorded.
    pub fn shown_acknowledgement(&self) -> Option<Acknowledgement> {
        let purchase = self.is_answer.then_some(&self.decision.purchase)?;
        purchase.acknowledgement()
    }

    /// Whether the count of failed queries is reset to zero: the store answered, or it cannot be queried at all. In
    /// both cases it was not merely unreachable.
    pub const fn ends_failures(&self) -> bool {
        self.is_answer || self.is_real
    }

    /// Returns the sequence numbers of the notifications that remain undecided.
    pub fn left_open(&self) -> BTreeSet<i64> {
        let decided: BTreeSet<i64> = self.decision.outcomes.iter().map(|(seq, _)| *seq).collect();
        self.seqs
            .iter()
            .copied()
            .filter(|seq| !decided.contains(seq))
            .collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    Done {
        /// The revision that the purchase now has.
        revision: i64,
        state: State,
        lanes: Vec<Lane>,
        /// The destinations that recently answered promptly, in ascending order. The first attempt at each of them is
        /// made within the workflow task. The worker that records the decision adds them.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        prompt: BTreeSet<DestinationId>,
    },
    /// The purchase changed since it was loaded; nothing is recorded.
    Moved,
}
