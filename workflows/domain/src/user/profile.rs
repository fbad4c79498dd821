//! The profile of a user in an analytics integration: the documented attributes, and optionally six more.
//!
//! A profile covers one environment. The documented attributes are the state in `user.*` events; a vendor's names for
//! them are not here.

use super::{Device, OwnedPurchase, UserDevice, state};
use crate::environment::Environment;
use crate::event::{PROFILE_UPDATED, state_digest};
use crate::ids::{EventId, UserId};
use crate::names::names;
use crate::payment::Total;
use crate::purchase::State;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The subscription state of a user without a subscription.
const NO_SUBSCRIPTION: &str = "none";
/// The fields of an active entitlement that are not part of a profile.
const NOT_SHOWN: [&str; 6] = [
    "description",
    "expiration",
    "last_verified",
    "name",
    "purchase_platform",
    "sku_ref_id",
];
/// The fields of the state that are sent with a profile but do not cause one: devices come and go with sessions.
const NO_REASON: [&str; 1] = ["devices"];
/// The fields of the customer's journey that are not part of a profile.
const NOT_SHOWN_OF_JOURNEY: [&str; 3] = ["in_account_hold", "in_pause", "is_cancelled"];

/// User attributes that an integration maintains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Attributes {
    /// The eight documented properties.
    #[default]
    Documented,
    /// The eight documented properties and six more: renewal, end, state, number of renewals, first purchase, revenue.
    Extended,
}

names!(Attributes { Documented = "documented", Extended = "extended", });

/// The attributes besides the documented ones. Those that are not known are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Extended {
    /// Whether the subscription that grants access longest will renew; false without a subscription.
    pub will_renew: Option<bool>,
    /// When that subscription ends or renews, or ended.
    pub expires_at: Option<Timestamp>,
    /// State of the subscription; `none` if there is none.
    pub subscription_state: &'static str,
    /// Number of payments after the first one, over all subscriptions.
    pub renewals: Option<u64>,
    /// When the first paid purchase began.
    pub first_purchase_at: Option<Timestamp>,
    /// The sum of the user's payments in USD, as a decimal.
    pub ltv_usd: Option<String>,
}

/// The profile of a user in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The state, as in the body of a `user.*` event.
    state: Value,
    /// The attributes besides the documented ones.
    extended: Extended,
}

/// The input of the body of one `profile.updated`.
#[derive(Debug, Clone, Copy)]
pub struct ProfileUpdated<'a> {
    pub id: EventId,
    pub user_id: UserId,
    /// The user revision of the profile.
    pub user_revision: i64,
    pub created_at: Timestamp,
    /// The environment that the profile covers.
    pub environment: Environment,
    /// The environment of the platform whose purchase caused the event.
    pub platform_environment: Environment,
    pub profile: &'a Profile,
    /// The user's devices, most recently seen first. They are sent with a profile but do not cause one.
    pub devices: &'a [UserDevice],
}

impl Profile {
    /// Returns the profile of the owner of these purchases, which are all in one environment. `ltv_usd` is the sum of
    /// the payments, if known.
    pub fn of(owned: &[OwnedPurchase], ltv_usd: Option<String>) -> Self {
        Self {
            state: state(owned),
            extended: Extended::of(owned, ltv_usd),
        }
    }

    /// Returns the attributes besides the documented ones, as JSON; those that are not known are null.
    pub fn extended(&self) -> Value {
        // Serialization fails only for maps whose keys are not strings; the attributes have none.
        serde_json::to_value(&self.extended).unwrap_or_default()
    }

    /// Returns the names of those attributes that can be unknown and are known.
    pub fn known(&self, attributes: Attributes) -> BTreeSet<String> {
        let extended = if attributes == Attributes::Extended {
            self.extended()
        } else {
            Value::Null
        };
        let known = extended
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null());
        known.map(|(name, _)| name.clone()).collect()
    }

    /// Whether one of these attributes is not known.
    pub fn lacks_any(&self, attributes: Attributes) -> bool {
        let extended = self.extended();
        let mut all = extended.as_object().into_iter().flatten();
        attributes == Attributes::Extended && all.any(|(_, value)| value.is_null())
    }

    /// Returns a digest of these attributes and the customer's own id, equal for equal profiles.
    pub fn digest(&self, attributes: Attributes, external_id: Option<&str>) -> String {
        let extended = if attributes == Attributes::Extended {
            self.extended()
        } else {
            Value::Null
        };
        state_digest(
            &json!({ "state": self.shown(), "extended": extended, "external_id": external_id }),
        )
    }

    /// Returns the state without the fields that no profile has, so that neither a new date of verification nor a
    /// device alone counts as a change.
    fn shown(&self) -> Value {
        let mut shown = self.state.clone();
        remove(shown.as_object_mut(), &NO_REASON);
        let entitlements = shown
            .get_mut("active_entitlements")
            .and_then(Value::as_array_mut);
        for entitlement in entitlements.into_iter().flatten() {
            remove(entitlement.as_object_mut(), &NOT_SHOWN);
        }
        remove(
            shown
                .get_mut("customer_journey_state")
                .and_then(Value::as_object_mut),
            &NOT_SHOWN_OF_JOURNEY,
        );
        shown
    }
}

fn remove(fields: Option<&mut Map<String, Value>>, names: &[&str]) {
    if let Some(fields) = fields {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
}

impl Extended {
    fn of(owned: &[OwnedPurchase], ltv_usd: Option<String>) -> Self {
        let is_subscription = |one: &&OwnedPurchase| {
            !one.purchase.is_one_time_purchase() && one.purchase.state() != State::Unknown
        };
        let counted = owned
            .iter()
            .filter(is_subscription)
            .filter(|one| one.is_counted());
        let longest = counted.max_by_key(|one| (one.is_active(), one.endurance()));
        let paid = owned
            .iter()
            .filter(is_subscription)
            .filter(|one| one.purchase.was_paid());
        Self {
            will_renew: longest.map_or(Some(false), |one| one.purchase.is_auto_renewable()),
            expires_at: longest.and_then(OwnedPurchase::expiration),
            subscription_state: longest
                .map_or(NO_SUBSCRIPTION, |one| one.purchase.state().as_str()),
            renewals: paid.map(OwnedPurchase::renewals).sum(),
            first_purchase_at: owned
                .iter()
                .filter(|one| one.was_bought())
                .filter_map(|one| one.purchase.not_before())
                .min(),
            ltv_usd,
        }
    }
}

impl OwnedPurchase {
    /// Returns the number of the purchase's payments; `None` if it is not known.
    pub fn payments(&self) -> Option<u64> {
        if self.purchase.is_one_time_purchase() {
            return Some(u64::from(self.was_bought()));
        }
        if self.purchase.was_paid() {
            self.purchase.billing_cycles()
        } else {
            Some(0)
        }
    }

    /// Returns the number of payments after the first one.
    fn renewals(&self) -> Option<u64> {
        Some(self.payments()?.saturating_sub(1))
    }

    /// Whether the purchase was paid, even if it was revoked since.
    fn was_bought(&self) -> bool {
        let is_known = self.purchase.state() != State::Unknown;
        self.purchase.was_paid() || (self.purchase.is_one_time_purchase() && is_known)
    }
}

/// Returns the known revenue of these purchases in USD. Each comes with the total of its ledger entries; `None` without
/// an entry, since the payments of an imported purchase are not known. Returns `None` if there were payments and no
/// amount is known.
pub fn paid_in_usd<'a>(
    purchases: impl IntoIterator<Item = (&'a OwnedPurchase, Option<Total>)>,
) -> Option<String> {
    let nothing = |one: &OwnedPurchase| (one.payments() == Some(0)).then_some(Decimal::ZERO);
    let paid: Vec<Option<Decimal>> = purchases
        .into_iter()
        .map(|(one, total)| total.map_or_else(|| nothing(one), Total::usd))
        .collect();
    if !paid.is_empty() && paid.iter().all(Option::is_none) {
        return None;
    }
    let total = paid
        .into_iter()
        .flatten()
        .try_fold(Decimal::ZERO, Decimal::checked_add)?;
    Some(total.normalize().to_string())
}

impl ProfileUpdated<'_> {
    /// Returns the body as it is stored.
    pub fn body(&self) -> Value {
        let mut body = self.profile.state.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.insert("event_type".to_owned(), json!(PROFILE_UPDATED));
            fields.insert("id".to_owned(), json!(self.id));
            fields.insert("user_id".to_owned(), json!(self.user_id));
            fields.insert("user_revision".to_owned(), json!(self.user_revision));
            fields.insert(
                "devices".to_owned(),
                json!(self.devices.iter().map(Device::of).collect::<Vec<_>>()),
            );
            fields.insert(
                "created_date".to_owned(),
                json!(self.created_at.with_offset()),
            );
            fields.insert("environment".to_owned(), json!(self.environment));
            fields.insert(
                "platform_environment".to_owned(),
                json!(self.platform_environment),
            );
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::{Attributes, Profile};
    use serde_json::json;

    #[test]
    fn devices_alone_are_no_new_profile() {
        let before = Profile::of(&[], None);
        let mut after = before.clone();
        after.state["devices"] = json!([{ "id": "d", "platform": { "id": "p" } }]);
        for attributes in [Attributes::Documented, Attributes::Extended] {
            assert_eq!(
                before.digest(attributes, None),
                after.digest(attributes, None)
            );
        }
        after.state["active_skus"] = json!(["gold"]);
        assert_ne!(
            before.digest(Attributes::Documented, None),
            after.digest(Attributes::Documented, None)
        );
    }
}
