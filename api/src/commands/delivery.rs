//! `settle delivery`: what the table of its verbs cannot express.

use super::drawn::Hook;
use api::resources::deliveries::status_for_people;
use storage::DeliveryStatus;

pub const HOOKS: &[(&str, Hook)] = &[("list", Hook::Shown("status", shown))];

/// Displayed names of a status.
fn shown(status: &str) -> Vec<&str> {
    status
        .parse::<DeliveryStatus>()
        .map(status_for_people)
        .into_iter()
        .collect()
}
