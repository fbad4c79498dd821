//! Parses the base plans of a subscription product, the resource `Subscription`
//! (<https://developers.google.com/android-publisher/api-ref/rest/v3/monetization.subscriptions>): the lengths of their
//! terms, grace periods and holds. Catalogue prices are not read, because an order shows what was paid.

use super::response::{ReadError, resource};
use crate::http::Reply;
use domain::verification::{Term, Unit};
use serde::Deserialize;

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
