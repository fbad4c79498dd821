//! The view of a customer's access at the end of a day. This module is pure.

use super::address::purchase_path;
use super::environment::title;
use crate::parts::Sentence;
use crate::visit::Visit;
use api::resources::customer_day::{CustomerDay, DayAccess, DayPurchase};
use api::times::to_second;

/// The entered day, and the state announced by its end.
pub struct PastDay {
    pub on: String,
    /// Time of the state, as part of a sentence: the end of the day, or now.
    pub until: String,
    /// Expected value, if the text is not a day.
    pub wrong: Option<String>,
    pub environments: Vec<PastAccess>,
}

/// The announced access in one environment.
pub struct PastAccess {
    /// Title with the environment and the time.
    pub title: String,
    /// The entitlements, with the end of each.
    pub entitlements: Vec<(String, Option<String>)>,
    /// Text that is shown if there is no entitlement.
    pub none: &'static str,
    /// The access before and after each change on that day; `None` if there was none.
    pub changes: Option<String>,
    pub purchases: Vec<PastPurchase>,
    pub note: Sentence,
    /// Destinations that received the state more than a minute after its announcement, or not yet.
    pub received: Vec<String>,
}

pub struct PastPurchase {
    pub path: String,
    pub sku: String,
    /// Whether the purchase gave access at that time.
    pub gives: Sentence,
}

impl PastDay {
    /// Returns the error for a text that is not a day, with the expected value.
    pub fn wrong(on: String, expected: &str) -> Self {
        Self {
            on,
            until: String::new(),
            wrong: Some(format!("Expected {expected}")),
            environments: Vec::new(),
        }
    }

    pub fn new(visit: &Visit, day: CustomerDay) -> Self {
        let at = to_second(day.at);
        let until = match day.is_over {
            true => format!("As it was at {at}."),
            false => format!("As it is now, at {at}."),
        };
        let environments = day.environments.iter();
        Self {
            until,
            wrong: None,
            environments: environments.map(|one| access(visit, &day, one)).collect(),
            on: day.on,
        }
    }
}

fn access(visit: &Visit, day: &CustomerDay, of: &DayAccess) -> PastAccess {
    let title = title(of.environment);
    let purchase = |one: &DayPurchase| PastPurchase {
        path: purchase_path(visit, one.collapse_key),
        sku: one
            .sku
            .clone()
            .unwrap_or_else(|| "product not known".to_owned()),
        gives: Sentence::new(&one.summary),
    };
    PastAccess {
        title: match day.is_over {
            true => format!("{title} at the end of {} (UTC)", day.on),
            false => format!("{title} today, {}", day.on),
        },
        entitlements: of
            .active_entitlements
            .iter()
            .map(|one| (one.name.clone(), one.expiration.map(to_second)))
            .collect(),
        none: of.no_access.unwrap_or_default(),
        changes: of.changes.clone(),
        purchases: of.purchases.iter().map(purchase).collect(),
        note: Sentence::new(&of.announcement),
        received: of.late.clone(),
    }
}
