//! Which events a destination chose: names, and wildcards that include types added later.

use super::PURCHASE_UPDATED;
use crate::transition::What;

/// Documented types that nothing connected today can cause. What we can send is named where it is made.
const NOT_YET: [&str; 7] = [
    "device.impression",
    "device.session.end",
    "device.session.start",
    "device.transaction",
    "user.subscription.paused",
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
    let names = names();
    let list = || format!("choose from {}", names.join(", "));
    if chosen.is_empty() {
        return Err(format!("no event is chosen; {}", list()));
    }
    match chosen.iter().find(|name| !names.contains(&name.as_str())) {
        Some(wrong) => Err(format!("`{wrong}` is not an event type; {}", list())),
        None => Ok(()),
    }
}

/// The wildcards, then every documented type, whether or not we can send it.
fn names() -> Vec<&'static str> {
    let sent = What::ALL.iter().map(|what| what.event_type()).chain([PURCHASE_UPDATED]);
    let mut types: Vec<_> = NOT_YET.into_iter().chain(sent).collect();
    types.sort_unstable();
    WILDCARDS.into_iter().chain(types).collect()
}
