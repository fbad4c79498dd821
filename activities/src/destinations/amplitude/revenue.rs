//! What an event earned: each payment once, and only where the price of that term is known.

use domain::{EventId, What};
use storage::{Sibling, Unsent};

/// What an event earned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Revenue {
    /// In USD.
    pub amount: f64,
    /// Amplitude's `revenueType`.
    pub kind: &'static str,
}

/// What this event earned, if it tells a payment whose price is known.
pub fn of(unsent: &Unsent) -> Option<Revenue> {
    let (_, kind) = payments(unsent).into_iter().find(|(event, _)| *event == unsent.event_id)?;
    let amount = unsent.data.get("price_in_usd").and_then(money).filter(|amount| *amount > 0.0)?;
    Some(Revenue { amount, kind })
}

/// An amount of money: exact as a text, as `data` has it.
pub fn money(value: &serde_json::Value) -> Option<f64> {
    let amount = value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_f64());
    amount.filter(|amount: &f64| amount.is_finite())
}

/// The events of the revision that tell a payment whose price the revision's data have, each payment once.
fn payments(unsent: &Unsent) -> Vec<(EventId, &'static str)> {
    let happened = |what: What| unsent.siblings.iter().any(|one| one.event_type == what.event_type());
    let mut paid = Vec::new();
    let mut converted: Option<&Sibling> = None;
    for one in &unsent.siblings {
        match what(&one.event_type) {
            Some(What::TrialConverted) => converted = Some(one),
            // A conversion is also told as a renewal: the same payment.
            Some(What::Renewed | What::Recovered) => {
                let converted = converted.take().filter(|converted| comes_first(converted, one));
                paid.push(converted.map_or((one.event_id, "renewal"), conversion));
            }
            Some(What::Purchased) if !happened(What::TrialStarted) => paid.push((one.event_id, "initial")),
            _ => {}
        }
    }
    paid.extend(converted.map(conversion));
    // After a change of plan the data have the new plan's price, which only the last payment can have been.
    if happened(What::PlanChanged) { paid.split_off(paid.len().saturating_sub(1)) } else { paid }
}

const fn conversion(one: &Sibling) -> (EventId, &'static str) {
    (one.event_id, "trial_conversion")
}

/// Whether the integration was owed the one before the other, or it alone: that never changes, whatever it chooses
/// later.
fn comes_first(one: &Sibling, other: &Sibling) -> bool {
    one.owed_seq.is_some_and(|one| other.owed_seq.is_none_or(|other| one < other))
}

fn what(event_type: &str) -> Option<What> {
    What::ALL.iter().copied().find(|what| what.event_type() == event_type)
}
