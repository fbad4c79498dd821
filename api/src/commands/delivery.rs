//! `settle delivery`: everything that its table of verbs cannot express.

use super::drawn::Hook;
use api::resources::deliveries::status_for_people;
use storage::DeliveryStatus;

pub const HOOKS: &[(&str, Hook)] = &[("list", Hook::Shown("status", shown))];

/// Returns the displayed name of a status; empty if the status is unknown.
fn shown(status: &str) -> Vec<&str> {
    status
        .parse::<DeliveryStatus>()
        .map(status_for_people)
        .into_iter()
        .collect()
}
