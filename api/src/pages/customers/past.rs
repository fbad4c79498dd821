//! What a customer had at the end of a day.

use super::Portrait;
use crate::edge::Edge;
use crate::error::Error;
use crate::pages::parts::{Moment, Sentence};
use crate::pages::visit::Visit;
use crate::resources::customer_state::note;
use domain::time::DAY;
use domain::user::CustomerPurchase;
use domain::{Environment, Timestamp};
use std::time::Duration;
use storage::{AnnouncementStatus, CustomerName, CustomerStatus};

/// The day that was entered, and what was announced until its end.
pub struct PastDay {
    pub on: String,
    /// What is expected, if it is no day.
    pub wrong: Option<&'static str>,
    pub environments: Vec<PastAccess>,
}

/// What was announced in one environment.
pub struct PastAccess {
    pub title: &'static str,
    /// The entitlements with their ends.
    pub entitlements: Vec<(String, Option<Moment>)>,
    pub purchases: Vec<PastPurchase>,
    pub note: Sentence,
}

pub struct PastPurchase {
    pub path: String,
    pub sku: String,
    pub gives: &'static str,
    pub until: Option<Moment>,
}

/// What the customer had at the end of the day in the address, if there is one.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn of(edge: &Edge, visit: &Visit, portrait: &Portrait) -> Result<Option<PastDay>, Error> {
    let Some(on) = visit.query("on").filter(|on| !on.is_empty()) else { return Ok(None) };
    let Some(at) = end_of_day(&on) else {
        let wrong = Some("Expected a day such as 2026-10-03");
        return Ok(Some(PastDay { on, wrong, environments: Vec::new() }));
    };
    let mut environments = Vec::new();
    for environment in Environment::ALL {
        let seen = storage::Past { at: at.min(visit.now), environment: *environment };
        let name = CustomerName::User(portrait.user());
        environments.push(access(
            *environment,
            edge.store.customer_state_at(portrait.app.id, name, seen).await?,
            visit,
        ));
    }
    let (first, others) = (environments.remove(0), environments.into_iter().filter(PastAccess::is_known));
    Ok(Some(PastDay { on, wrong: None, environments: std::iter::once(first).chain(others).collect() }))
}

/// The last moment of a day in UTC.
fn end_of_day(day: &str) -> Option<Timestamp> {
    let begin: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    Some(begin.plus(DAY.saturating_sub(Duration::from_micros(1))))
}

fn access(environment: Environment, status: CustomerStatus, visit: &Visit) -> PastAccess {
    let entitlements = status.state.map(|state| state.active_entitlements).unwrap_or_default();
    let purchase = |one: CustomerPurchase| PastPurchase {
        path: visit.to(&format!("/ui/purchases/{}", one.collapse_key)),
        sku: one.sku.unwrap_or_else(|| "product not known".to_owned()),
        gives: match one.is_active {
            Some(true) => "gave access",
            Some(false) => "gave no access",
            None => "not known",
        },
        until: one.expires_at.map(Moment::at),
    };
    PastAccess {
        title: super::view::title(environment),
        entitlements: entitlements.into_iter().map(|one| (one.name, one.expiration.map(Moment::at))).collect(),
        purchases: status.purchases.into_iter().map(purchase).collect(),
        note: Sentence::new(note(status.announcement.map_or(AnnouncementStatus::NothingAnnounced, |one| one.status))),
    }
}

impl PastAccess {
    fn is_known(&self) -> bool {
        !self.entitlements.is_empty() || !self.purchases.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::end_of_day;

    #[test]
    fn a_day_ends_before_the_next_one() {
        assert_eq!(end_of_day("2026-10-03").unwrap().to_string(), "2026-10-03T23:59:59.999999Z");
        assert!(["", "2026-13-03", "yesterday", "2026-10-03T00:00"].iter().all(|wrong| end_of_day(wrong).is_none()));
    }
}
