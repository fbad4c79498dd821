//! Search attributes, by which purchases are found in the Temporal UI.

use domain::{AppId, CollapseKey, PlatformId, State};
use serde::{Deserialize, Serialize};
use temporalio_common::protos::temporal::api::enums::v1::IndexedValueType;
use temporalio_common::search_attributes::{SearchAttributeKey, SearchAttributeUpdate};

pub const COLLAPSE_KEY: SearchAttributeKey<String> =
    SearchAttributeKey::keyword("SettleCollapseKey");
pub const APP: SearchAttributeKey<String> = SearchAttributeKey::keyword("SettleApp");
pub const PLATFORM: SearchAttributeKey<String> = SearchAttributeKey::keyword("SettlePlatform");
pub const STATE: SearchAttributeKey<String> = SearchAttributeKey::keyword("SettleState");
/// The purchase's revision as of the last upsert. A new revision alone does not justify the event that an upsert costs.
pub const REVISION: SearchAttributeKey<i64> = SearchAttributeKey::int("SettleRevision");
pub const HELD: SearchAttributeKey<bool> = SearchAttributeKey::bool("SettleHeld");
/// Number of the purchase's failing destinations.
pub const FAILING: SearchAttributeKey<i64> = SearchAttributeKey::int("SettleDestinationsFailing");

/// Returns the name and type of each attribute, for registration.
pub fn all() -> [(&'static str, IndexedValueType); 7] {
    [
        (COLLAPSE_KEY.name(), COLLAPSE_KEY.indexed_value_type()),
        (APP.name(), APP.indexed_value_type()),
        (PLATFORM.name(), PLATFORM.indexed_value_type()),
        (STATE.name(), STATE.indexed_value_type()),
        (REVISION.name(), REVISION.indexed_value_type()),
        (HELD.name(), HELD.indexed_value_type()),
        (FAILING.name(), FAILING.indexed_value_type()),
    ]
}

/// The values of all attributes. An upsert costs an event, so the run compares them with the last upserted ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Values {
    /// See [`APP`].
    pub app_id: Option<AppId>,
    /// See [`PLATFORM`].
    pub platform_id: Option<PlatformId>,
    /// See [`STATE`].
    pub state: Option<State>,
    /// See [`REVISION`].
    pub revision: i64,
    /// See [`HELD`].
    pub held: bool,
    /// See [`FAILING`].
    pub failing: i64,
}

impl Values {
    /// Returns the state's name; `unknown` before anything is known.
    pub fn state_name(&self) -> &'static str {
        self.state.unwrap_or(State::Unknown).as_str()
    }

    /// Whether any attribute other than the revision differs.
    pub fn differs_visibly(&self, other: &Self) -> bool {
        *self
            != Self {
                revision: self.revision,
                ..other.clone()
            }
    }

    /// Returns all attributes as one upsert, except for those named in `left_out`.
    pub fn upsert(&self, key: CollapseKey, left_out: &[String]) -> Vec<SearchAttributeUpdate> {
        let mut all = vec![
            COLLAPSE_KEY.value_set(key.to_string()),
            STATE.value_set(self.state_name().to_owned()),
            REVISION.value_set(self.revision),
            HELD.value_set(self.held),
            FAILING.value_set(self.failing),
        ];
        all.extend(self.app_id.map(|id| APP.value_set(id.to_string())));
        all.extend(
            self.platform_id
                .map(|id| PLATFORM.value_set(id.to_string())),
        );
        all.retain(|update| !left_out.iter().any(|name| name == update.name()));
        all
    }
}
