//! Parses the base plans of a subscription product, the resource `Subscription`
//! (<https://developers.google.com/android-publisher/api-ref/rest/v3/monetization.subscriptions>): the lengths of their
//! terms, grace periods and holds. Catalogue prices are not read, because an order shows what was paid.
//!
//! A failure to read them is remembered for some minutes, so that not each check of a purchase repeats the request.

use super::response::{ReadError, resource};
use crate::http::Reply;
use domain::time::MINUTE;
use domain::verification::{Term, Unit};
use domain::{PlatformId, Timestamp};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long plans are not requested again after a failure: longer than a throttled share is paused.
const REPEATED_AFTER: Duration = MINUTE.saturating_mul(10);
/// Maximum number of failures that are remembered.
const MAX_FAILURES: usize = 1000;

/// The plans that could not be read a short time ago.
#[derive(Debug, Default)]
pub struct UnreadPlans {
    failures: Mutex<HashMap<Unread, Timestamp>>,
}

/// The plans of a product on a platform; those of all products if the store throttled the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Unread {
    platform: PlatformId,
    product_id: Option<String>,
}

impl UnreadPlans {
    /// Notes a failure to read the plans of a product.
    pub fn note(&self, platform: PlatformId, product_id: String, error: &ReadError, at: Timestamp) {
        let is_throttled = matches!(error, ReadError::Retry(retry) if retry.is_throttled);
        let unread = Unread {
            platform,
            product_id: (!is_throttled).then_some(product_id),
        };
        let mut failures = self.failures();
        if failures.len() >= MAX_FAILURES {
            failures.retain(|_, failed_at| is_recent(*failed_at, at));
        }
        if failures.len() < MAX_FAILURES {
            failures.insert(unread, at);
        }
    }

    /// Returns whether the plans of a product could not be read a short time before.
    pub fn has(&self, platform: PlatformId, product_id: &str, now: Timestamp) -> bool {
        let failures = self.failures();
        let of = |product_id: Option<String>| {
            let failed_at = failures.get(&Unread {
                platform,
                product_id,
            });
            failed_at.is_some_and(|failed_at| is_recent(*failed_at, now))
        };
        of(None) || of(Some(product_id.to_owned()))
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Unread, Timestamp>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(failed_at: Timestamp, now: Timestamp) -> bool {
    failed_at <= now && now.since(failed_at) < REPEATED_AFTER
}

/// A base plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePlan {
    pub id: String,
    /// The length of a term.
    pub term: Option<Term>,
    /// Days of grace; `None` for the store's default, which depends on the term.
    pub grace_days: Option<u16>,
    /// Days of hold; `None` for the store's default, which is 60 days minus the days of grace.
    pub hold_days: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    base_plans: Vec<Plan>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    base_plan_id: String,
    auto_renewing_base_plan_type: Option<Durations>,
    installments_base_plan_type: Option<Durations>,
    prepaid_base_plan_type: Option<Durations>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Durations {
    billing_period_duration: Option<String>,
    grace_period_duration: Option<String>,
    account_hold_duration: Option<String>,
}

/// Parses the reply to [`Query::Plans`](super::request::Query::Plans).
///
/// # Errors
/// Fails with a [`ReadError`] if the reply contains no product.
pub fn plans(reply: &Reply) -> Result<Vec<BasePlan>, ReadError> {
    let listed: Listed = resource(reply)?;
    Ok(listed.base_plans.into_iter().map(Plan::shown).collect())
}

impl Plan {
    fn shown(self) -> BasePlan {
        let durations = self
            .auto_renewing_base_plan_type
            .or(self.installments_base_plan_type)
            .or(self.prepaid_base_plan_type)
            .unwrap_or_default();
        BasePlan {
            id: self.base_plan_id,
            term: durations.billing_period_duration.as_deref().and_then(term),
            grace_days: durations.grace_period_duration.as_deref().and_then(days),
            hold_days: durations.account_hold_duration.as_deref().and_then(days),
        }
    }
}

/// Parses a term in ISO 8601, such as `P1M`; `None` for any other form, and for a length of 0.
fn term(text: &str) -> Option<Term> {
    let (count, letter) = counted(text)?;
    let unit = match letter {
        "D" => Unit::Day,
        "W" => Unit::Week,
        "M" => Unit::Month,
        "Y" => Unit::Year,
        _ => return None,
    };
    (count > 0).then_some(Term { count, unit })
}

/// Parses a number of days in ISO 8601, such as `P0D`.
fn days(text: &str) -> Option<u16> {
    counted(text).and_then(|(count, letter)| (letter == "D").then_some(count))
}

/// Splits a duration with one unit into its number and the unit's letter.
fn counted(text: &str) -> Option<(u16, &str)> {
    let text = text.strip_prefix('P')?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, letter) = text.split_at_checked(digits)?;
    Some((count.parse().ok()?, letter))
}
