//! Which events a destination is subscribed to: names, and wildcards that include types added later.

use super::PURCHASE_UPDATED;
use crate::device::DeviceEventKind;
use crate::transition::TransitionKind;
use crate::user::{TRANSFERS, USER_ERASED};
use serde::{Deserialize, Serialize};

pub const DESTINATION_FAILING: &str = "destination.failing";
/// The last attempt to deliver an event to a destination failed.
pub const DESTINATION_EXHAUSTED: &str = "destination.exhausted";
pub const DESTINATION_RECOVERED: &str = "destination.recovered";
pub const DESTINATION_DISABLED: &str = "destination.disabled";

/// Events for operators, about another destination.
pub(crate) const ABOUT_DESTINATIONS: [&str; 4] = [
    DESTINATION_FAILING,
    DESTINATION_EXHAUSTED,
    DESTINATION_RECOVERED,
    DESTINATION_DISABLED,
];

/// An alarm was raised, or raised again after it was closed.
pub const ALARM_OPENED: &str = "alarm.opened";
/// An alarm was closed: a person acknowledged it, or its cause is gone.
pub const ALARM_CLOSED: &str = "alarm.closed";

/// Events for operators, about an alarm.
pub(crate) const ABOUT_ALARMS: [&str; 2] = [ALARM_OPENED, ALARM_CLOSED];

/// The type of the event that carries a changed profile if no subscribed event does. Destinations cannot subscribe to
/// it: only integrations that keep profiles receive it.
pub const PROFILE_UPDATED: &str = "profile.updated";

/// The revenue of a payment changed: a refund, a corrected price, or a restored payment. A destination that counts
/// revenue receives it if it received the payment; any other destination if it is subscribed to the type.
pub const REVENUE_ADJUSTED: &str = "revenue.adjusted";

/// Types that must be chosen by name: no wildcard includes them.
const BY_NAME: [&str; 1] = [USER_ERASED];
/// Types, besides those for operators, that `*` does not include but their own wildcard does.
const NOT_OF_ALL: [&str; 1] = [REVENUE_ADJUSTED];

/// Whether events of this type follow from others, so that a destination cannot subscribe to them.
pub fn is_implied(event_type: &str) -> bool {
    event_type == PROFILE_UPDATED
}

/// Whether `*` includes events of this type, if a destination's wildcards include everything.
pub fn is_of_all(event_type: &str) -> bool {
    !is_for_operators(event_type) && !NOT_OF_ALL.contains(&event_type)
}

/// Whether events of this type are about another destination or an alarm, for operators, and not about a purchase.
pub fn is_for_operators(event_type: &str) -> bool {
    ABOUT_DESTINATIONS.contains(&event_type) || ABOUT_ALARMS.contains(&event_type)
}

const WILDCARDS: [&str; 8] = [
    "*",
    "alarm.*",
    "destination.*",
    "device.*",
    "revenue.*",
    "user.*",
    "user.journey.*",
    "user.subscription.*",
];

/// The events that the documented form of an analytics integration offers; the wildcards of such a destination include
/// these.
const LISTED: [&str; 13] = [
    "device.impression",
    "device.transaction",
    "user.journey.trial.converted",
    "user.journey.trial.did_not_convert",
    "user.journey.trial.started",
    "user.subscription.cancelled",
    "user.subscription.expired",
    "user.subscription.in_grace_period",
    "user.subscription.paused",
    "user.subscription.purchased",
    "user.subscription.renewal_in_grace_period",
    "user.subscription.renewed",
    "user.subscription.resumed",
];

/// The types that a destination's wildcards include.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wildcards {
    /// Every type with the prefix, including those added later.
    Everything,
    /// The types that the documented form lists; all others must be chosen by name.
    Listed,
}

/// Whether a destination subscribed to `chosen` receives events of this type. Events for operators and
/// `revenue.adjusted` have their own wildcards: `*` does not include them.
pub fn chooses(chosen: &[String], wildcards: Wildcards, event_type: &str) -> bool {
    if is_implied(event_type) {
        return false;
    }
    let is_listed = wildcards == Wildcards::Everything || LISTED.contains(&event_type);
    let is_open = is_listed && !BY_NAME.contains(&event_type);
    chosen.iter().any(|choice| match choice.strip_suffix('*') {
        Some("") => is_open && is_of_all(event_type),
        Some(prefix) => is_open && event_type.starts_with(prefix),
        None => choice == event_type,
    })
}

/// Checks that every name in a choice exists.
///
/// # Errors
/// Describes what was expected: at least one event, or valid names instead of the first unknown one.
pub fn check_choice(chosen: &[String]) -> Result<(), String> {
    let names = choices();
    if chosen.is_empty() {
        return Err("at least one event, such as `purchase.updated` or `user.*`".to_owned());
    }
    match chosen.iter().find(|name| !names.contains(&name.as_str())) {
        Some(wrong) => Err(format!(
            "`{wrong}` is not an event type; choose from {}",
            names.join(", ")
        )),
        None => Ok(()),
    }
}

/// Returns every documented type of an event about purchases, users, destinations or alarms.
pub fn types() -> Vec<&'static str> {
    let reported = device_types();
    choices()
        .into_iter()
        .filter(|name| !name.ends_with('*') && !reported.contains(name))
        .collect()
}

/// Returns every event type that the ledger lists: [`types`], and the types that cannot be chosen.
pub fn recorded_types() -> Vec<&'static str> {
    let mut all = types();
    all.push(PROFILE_UPDATED);
    all.sort_unstable();
    all
}

/// Returns every type of a device event.
pub fn device_types() -> Vec<&'static str> {
    DeviceEventKind::ALL
        .iter()
        .map(|kind| kind.as_str())
        .collect()
}

/// Returns the types that the documented form of an analytics integration offers.
pub const fn listed() -> &'static [&'static str] {
    &LISTED
}

/// Returns all valid choices: the wildcards, then every documented type.
pub fn choices() -> Vec<&'static str> {
    let of_users = TransitionKind::ALL
        .iter()
        .map(|what| what.event_type())
        .chain(TRANSFERS);
    let sent = of_users
        .chain([PURCHASE_UPDATED])
        .chain(ABOUT_DESTINATIONS)
        .chain(ABOUT_ALARMS)
        .chain(BY_NAME)
        .chain(NOT_OF_ALL);
    let mut types: Vec<_> = sent.chain(device_types()).collect();
    types.sort_unstable();
    types.dedup();
    WILDCARDS.into_iter().chain(types).collect()
}
