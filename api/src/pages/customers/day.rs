//! What a customer had at the end of a day, on the page. Pure.

use super::address::purchase_path;
use super::environment::title;
use crate::pages::parts::Sentence;
use crate::pages::visit::Visit;
use crate::resources::customer_day::{CustomerDay, DayAccess, DayPurchase};
use crate::times::to_second;

/// The day that was entered, and what was announced until its end.
pub struct PastDay {
    pub on: String,
    /// As of when it is shown, in a sentence: its end, or now.
    pub until: String,
    /// What is expected, if it is no day.
    pub wrong: Option<String>,
    pub environments: Vec<PastAccess>,
}

/// What was announced in one environment.
pub struct PastAccess {
    /// Which access, and as of when.
    pub title: String,
    /// The entitlements with their ends.
    pub entitlements: Vec<(String, Option<String>)>,
    /// What stands where there is no entitlement.
    pub none: &'static str,
    /// The access before and after each change of the day; `None` without one.
    pub changes: Option<String>,
    pub purchases: Vec<PastPurchase>,
    pub note: Sentence,
    /// The destinations that received the state more than a minute after it was announced, or not yet.
    pub received: Vec<String>,
}

pub struct PastPurchase {
    pub path: String,
    pub sku: String,
    /// What it gave at that time.
    pub gives: Sentence,
}

impl PastDay {
    /// A text that is no day, with what is expected.
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
