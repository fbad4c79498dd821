//! Which events a destination chose: names, and wildcards that include types added later.

use super::PURCHASE_UPDATED;

/// Every documented type, whether or not the stores connected today can cause it.
const TYPES: [&str; 20] = [
    "device.impression",
    "device.session.start",
    "device.session.end",
    "device.transaction",
    PURCHASE_UPDATED,
    "user.journey.trial.converted",
    "user.journey.trial.did_not_convert",
    "user.journey.trial.started",
    "user.subscription.cancelled",
    "user.subscription.expired",
    "user.subscription.in_grace_period",
    "user.subscription.paused",
    "user.subscription.pending_sku_change",
    "user.subscription.purchased",
    "user.subscription.renewal_in_grace_period",
    "user.subscription.renewed",
    "user.subscription.resumed",
    "user.subscription.sku_change",
    "user.subscription.transferred.from",
    "user.subscription.transferred.to",
];

const WILDCARDS: [&str; 5] = ["*", "device.*", "user.*", "user.journey.*", "user.subscription.*"];

/// Whether a destination that chose `chosen` is told events of this type.
#[must_use]
pub fn chooses(chosen: &[String], event_type: &str) -> bool {
    chosen.iter().any(|choice| match choice.strip_suffix('*') {
        Some(prefix) => event_type.starts_with(prefix),
        None => choice == event_type,
    })
}

/// Whether every name in a choice is one that exists.
///
/// # Errors
/// A sentence that names the first wrong one and lists what may be chosen.
pub fn check_choice(chosen: &[String]) -> Result<(), String> {
    let list = || format!("choose from {}", [&WILDCARDS[..], &TYPES[..]].concat().join(", "));
    if chosen.is_empty() {
        return Err(format!("no event is chosen; {}", list()));
    }
    let known = |name: &str| TYPES.contains(&name) || WILDCARDS.contains(&name);
    match chosen.iter().find(|name| !known(name)) {
        Some(wrong) => Err(format!("`{wrong}` is not an event type; {}", list())),
        None => Ok(()),
    }
}
