//! Views: the states of a user for destinations that want a state other than the one in an event's body. The body has
//! the state over all platforms, in the event's environment. A destination may want the state over some platforms, or
//! over both environments.
//!
//! A view is computed when an event is recorded, once for each set of wanted platforms, and stored with the event. It
//! has two states: one in the event's environment, and one over both environments.

use crate::purchases::owned::UserPurchases;
use crate::settings::destinations::Destination;
use crate::settling::profiles;
use db::connection::AnyConnection;
use db::error::Error;
use domain::PlatformId;
use domain::user::{self, Attributes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// The user's state in an event, over some platforms.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// The platforms that the state covers; empty for all.
    platforms: Vec<PlatformId>,
    /// The state over both environments, with the field names of the body.
    pub state: Value,
    /// The state in the environment of the event alone.
    pub state_apart: Value,
    /// The extended attributes in the event's environment; null if no destination maintains a profile with them.
    pub profile: Value,
}

/// Returns the views for these destinations, as they are stored; `None` if no destination needs one.
pub fn of(
    connection: &mut AnyConnection,
    purchases: UserPurchases<'_>,
    destinations: &[Destination],
) -> Result<Option<String>, Error> {
    let has_others = purchases
        .owned
        .iter()
        .any(|one| one.environment != purchases.environment);
    let choices: BTreeSet<Vec<PlatformId>> = destinations
        .iter()
        .map(|one| {
            (
                one.filter.sorted_platforms(),
                has_others && one.wants_both_environments(),
            )
        })
        .filter(|(platforms, wants_others)| !platforms.is_empty() || *wants_others)
        .map(|(platforms, _)| platforms)
        .collect();
    let is_extended = destinations
        .iter()
        .any(|one| one.profile == Some(Attributes::Extended));
    let mut views = Vec::with_capacity(choices.len());
    for platforms in choices {
        let covered = user::on_platforms(purchases.owned, &platforms);
        let state = user::state(&covered);
        let state_apart =
            user::state_apart(&covered, purchases.environment).unwrap_or_else(|| state.clone());
        let covered = UserPurchases {
            owned: &covered,
            ..purchases
        };
        let profile = if is_extended {
            profiles::of(connection, covered)?.extended()
        } else {
            Value::Null
        };
        views.push(View {
            platforms,
            state,
            state_apart,
            profile,
        });
    }
    let stored = (!views.is_empty())
        .then(|| serde_json::to_string(&views))
        .transpose();
    stored.map_err(|cause| Error::corrupt_by("a state cannot be written as JSON", cause))
}

/// Returns the view for a destination that wants these platforms, if it was stored.
pub fn find(stored: Option<&str>, platforms: &[PlatformId]) -> Result<Option<View>, Error> {
    let views: Option<Vec<View>> = stored
        .map(serde_json::from_str)
        .transpose()
        .map_err(unreadable)?;
    Ok(views
        .into_iter()
        .flatten()
        .find(|view| view.platforms == platforms))
}

fn unreadable(cause: serde_json::Error) -> Error {
    Error::corrupt_by("the states of an event are not JSON", cause)
}
