//! The result of a resend for display: the number of deliveries, why others were skipped, and how to send an event that
//! was never sent. This module is pure.

use super::act::upper;
use super::action::{EVERY, Input};
use super::form::Sent;
use super::visit::Visit;
use api::error::Error;
use api::resources::resends::Resent;
use domain::event::{PURCHASE_UPDATED, is_for_operators, is_implied};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use storage::Skipped;

/// The field that names a run. A form that is sent twice with one run queues its events only once.
pub const RUN: &str = "run";
/// Number of random bytes in a run's name.
const RUN_BYTES: usize = 8;

/// Note on every page that resends: how to send an event that a destination's settings excluded.
pub const UNSENT: &str = "An event that was not sent because of a destination's settings is sent only when you resend \
                          that event, or a time range, after changing the settings.";

/// Returns whether [`UNSENT`] applies to events of this type. It does not apply to a purchase's state, since every
/// resend sends the latest state; nor to an event that follows from another one or is for operators, since such events
/// are never sent later.
pub fn is_resent_alone(event_type: &str) -> bool {
    event_type != PURCHASE_UPDATED && !is_implied(event_type) && !is_for_operators(event_type)
}

/// Returns a new name for a run.
pub fn new_run(random: [u8; 32]) -> String {
    format!(
        "page-{}",
        storage::hex(random.get(..RUN_BYTES).unwrap_or_default())
    )
}

/// Returns the hidden field that names a form's run.
pub fn run(random: [u8; 32]) -> Input {
    Input::text(RUN, "").of("hidden").value(&new_run(random))
}

/// Adds the destination and the run to the body of a call, so that a form that is sent twice queues its events once.
/// The run's name includes the destination: a browser that goes back still has the form with the same run, but may
/// select another destination.
///
/// # Errors
/// Fails if no destination is selected.
pub fn address(sent: &Sent, body: &mut Map<String, Value>) -> Result<(), Error> {
    let to = sent
        .get("destination_id")
        .ok_or_else(|| Error::invalid("destination_id", "one destination or all"))?;
    if to == EVERY {
        body.remove("destination_id");
    }
    body.extend(
        sent.get(RUN)
            .map(|run| (RUN.to_owned(), format!("{run}-{to}").into())),
    );
    Ok(())
}

/// Returns the address of the page whose data was resent, with the numbers that were queued.
pub fn resent_page(visit: &Visit, answer: &Value) -> String {
    let skipped = serde_json::from_value(answer["skipped"].clone()).unwrap_or_default();
    let requeued = Requeued {
        pending: answer["pending"].as_i64().unwrap_or_default(),
        skipped,
    };
    visit.to(&format!(
        "{}?pending={}",
        upper(visit.uri.path(), 1),
        requeued.text()
    ))
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requeued {
    pub pending: i64,
    /// Number of deliveries that are not sent, by reason.
    pub skipped: BTreeMap<Skipped, i64>,
}

impl From<Resent> for Requeued {
    fn from(
        Resent {
            pending, skipped, ..
        }: Resent,
    ) -> Self {
        Self { pending, skipped }
    }
}

impl Requeued {
    /// Adds the result of another page of the same run.
    pub fn add(&mut self, other: &Self) {
        self.pending += other.pending;
        for (reason, number) in &other.skipped {
            *self.skipped.entry(*reason).or_default() += number;
        }
    }

    /// Returns the result as text, for an address or a form: `2.acknowledged-1`.
    pub fn text(&self) -> String {
        let name = |reason: &Skipped| {
            serde_json::to_value(reason)
                .ok()?
                .as_str()
                .map(str::to_owned)
        };
        let skipped = self
            .skipped
            .iter()
            .filter_map(|(reason, number)| Some(format!(".{}-{number}", name(reason)?)));
        format!("{}{}", self.pending, skipped.collect::<String>())
    }

    /// Parses the result from its text. Invalid parts are ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let pending = parts.next()?.parse().ok().filter(|pending| *pending >= 0)?;
        let skipped = parts.filter_map(|part| {
            let (name, number) = part.split_once('-')?;
            Some((Skipped::named(name)?, number.parse().ok()?))
        });
        Some(Self {
            pending,
            skipped: skipped.collect(),
        })
    }

    /// Returns the result from the address of a page, where an action put it.
    pub fn of(visit: &Visit) -> Option<Self> {
        Self::parse(&visit.query("pending")?)
    }

    pub fn sentence(&self) -> String {
        match self.pending {
            0 => "Nothing was queued.".to_owned(),
            1 => "1 delivery was queued.".to_owned(),
            pending => format!("{pending} deliveries were queued."),
        }
    }

    /// Returns why the other deliveries are not sent again.
    pub fn reasons(&self) -> Vec<String> {
        self.skipped
            .iter()
            .map(|(reason, number)| format!("{number}: {}", reason.text()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Requeued, is_resent_alone};
    use storage::Skipped;

    #[test]
    fn only_an_event_of_its_own_is_resent_alone() {
        let is_alone = |names: &[&str]| {
            names
                .iter()
                .map(|name| is_resent_alone(name))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            is_alone(&["user.subscription.renewed", "revenue.adjusted"]),
            [true; 2]
        );
        assert_eq!(
            is_alone(&["purchase.updated", "profile.updated", "alarm.opened"]),
            [false; 3]
        );
    }

    #[test]
    fn a_result_is_the_same_after_an_address() {
        let one = Requeued {
            pending: 2,
            skipped: [(Skipped::AlreadyPending, 3), (Skipped::Pruned, 1)].into(),
        };
        assert_eq!(one.text(), "2.already_pending-3.pruned-1");
        assert_eq!(Requeued::parse(&one.text()), Some(one.clone()));
        assert_eq!(
            Requeued::parse("2.<script>-1.pruned-x"),
            Some(Requeued {
                pending: 2,
                ..Requeued::default()
            })
        );
        assert_eq!((Requeued::parse("-2"), Requeued::parse("x")), (None, None));
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!(
            sum,
            Requeued {
                pending: 4,
                skipped: [(Skipped::AlreadyPending, 6), (Skipped::Pruned, 2)].into()
            }
        );
        assert_eq!(sum.reasons().len(), 2);
        let operators = Requeued {
            pending: 0,
            skipped: [(Skipped::Operators, 2)].into(),
        };
        assert_eq!(
            operators.reasons(),
            ["2: events for operators are sent only once"]
        );
    }
}
