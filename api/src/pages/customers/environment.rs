//! The view of a customer's access in an environment. This module is pure.

use super::record::CustomerRecord;
use crate::catalogue::product_path;
use crate::frame::Frame;
use crate::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::visit::Visit;
use api::resources::access::UnlistedProduct;
use api::resources::customer_detail::Access;
use domain::user::{ActiveEntitlement, Journey};
use storage::Role;

/// The customer's access in one environment.
pub struct Environment {
    pub title: &'static str,
    pub stands: Vec<Badge>,
    pub entitlements: Vec<Entitlement>,
    /// Sentence that explains why there is no access.
    pub none: Sentence,
    pub skus: Vec<Code>,
    /// Bought products that are not in the catalogue.
    pub missing: Vec<Missing>,
    pub next_charge: Option<Sentence>,
    /// Total of payments and refunds, and the part from before purchases moved away.
    pub paid: Vec<String>,
}

/// A product that gives no access because it is not in the catalogue.
pub struct Missing {
    pub sentence: Sentence,
    /// Path of the form that adds the product, for visitors who may add it.
    pub path: Option<String>,
}

pub struct Entitlement {
    pub name: String,
    /// Reference id of the entitlement, if it differs from the name by more than case.
    pub reference: Option<Code>,
    pub until: Option<Moment>,
}

/// Returns the display name of an environment.
pub const fn title(environment: domain::Environment) -> &'static str {
    match environment {
        domain::Environment::Production => "Access",
        domain::Environment::Sandbox => "Access from test purchases",
    }
}

impl Environment {
    fn of(environment: domain::Environment, access: &Access, missing: Vec<Missing>) -> Self {
        let entitlement = |one: &ActiveEntitlement| Entitlement {
            name: one.name.clone(),
            reference: reference(one),
            until: one.expiration.map(Moment::at),
        };
        let journey = access.customer_journey_state.as_ref();
        let stands = journey.map(stands).unwrap_or_default().into_iter();
        Self {
            title: title(environment),
            stands: stands.map(|text| Badge::new(Tone::Idle, text)).collect(),
            entitlements: access.active_entitlements.iter().map(entitlement).collect(),
            none: Sentence::new(access.no_access.as_deref().unwrap_or_default()),
            skus: access.active_skus.iter().map(Code::short).collect(),
            missing,
            next_charge: access.next_charge.as_deref().map(Sentence::new),
            paid: Vec::new(),
        }
    }

    fn is_known(&self) -> bool {
        !self.stands.is_empty()
            || !self.entitlements.is_empty()
            || !self.skus.is_empty()
            || !self.missing.is_empty()
    }
}

/// Returns the customer's production access and payments, and the sandbox access if there is any. `is_gone` is whether
/// all purchases now belong to another customer.
pub fn environments(
    frame: &Frame,
    visit: &Visit,
    of: &CustomerRecord,
    is_gone: bool,
) -> Vec<Environment> {
    let detail = &of.read.detail;
    let missing = |access: &Access| -> Vec<Missing> {
        let missing = |one: &UnlistedProduct| Missing {
            sentence: Sentence::new(&one.summary),
            path: frame
                .may(Role::Operator)
                .then(|| visit.to(&product_path(of.app.id, &one.sku))),
        };
        access.unlisted.iter().map(missing).collect()
    };
    let of = |environment, access: &Access| Environment::of(environment, access, missing(access));
    let paid = detail.paid.iter().chain(&detail.paid_before_moves);
    let mut production = Environment {
        paid: paid.map(|one| one.summary.clone()).collect(),
        ..of(domain::Environment::Production, &detail.production)
    };
    if is_gone && detail.purchases.is_empty() {
        production.none = Sentence::new("");
    }
    let sandbox = of(domain::Environment::Sandbox, &detail.sandbox);
    let sandbox = Some(sandbox).filter(Environment::is_known);
    std::iter::once(production).chain(sandbox).collect()
}

fn reference(one: &ActiveEntitlement) -> Option<Code> {
    let differs = !one.entitlement_ref_id.eq_ignore_ascii_case(&one.name);
    differs.then(|| Code::short(&one.entitlement_ref_id))
}

/// Returns the customer's journey in short texts; empty if nothing applies.
fn stands(journey: &Journey) -> Vec<&'static str> {
    let all = [
        (journey.in_trial_period, "in a trial"),
        (journey.in_intro_offer_period, "at an introductory price"),
        (journey.in_grace_period, "in the grace period"),
        (journey.in_pause, "paused"),
        (journey.in_account_hold, "on hold"),
        (journey.former_subscriber, "former subscriber"),
    ];
    all.into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, text)| text)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::stands;
    use domain::user::Journey;

    #[test]
    fn a_journey_is_a_few_texts() {
        let nothing = Journey::of(&[]);
        assert!(stands(&nothing).is_empty());
        let journey = Journey {
            in_trial_period: true,
            in_pause: true,
            is_cancelled: true,
            ..nothing
        };
        assert_eq!(
            stands(&journey),
            ["in a trial", "paused"],
            "the purchases show that renewal is off"
        );
    }
}
