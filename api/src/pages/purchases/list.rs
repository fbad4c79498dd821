//! The list of purchases: its filters and columns. Pure.

use super::SCREEN;
use super::view::field;
use crate::pages::cell::{Cell, CellPart};
use crate::pages::lists::{Column, Filter, FilterKind, List, ListHead};
use crate::pages::parts::{Badge, Code, Tone};
use crate::pages::text::purchase_state;
use crate::pages::visit::Visit;
use crate::resources::purchases::state_for_people;
use storage::PurchaseView;

pub const FILTERS: &[Filter<PurchaseView>] = &[
    Filter::new("platform_id", "Platform", FilterKind::Drawn),
    Filter::new("state", "State", FilterKind::Shown(|state| state_for_people(state).to_owned())),
    Filter::new("held", "held", FilterKind::Drawn),
    Filter::new("failing", "delivery fails", FilterKind::Drawn),
];

const COLUMNS: &[Column<PurchaseView>] = &[
    Column::head("Product", |one, visit| {
        let product = field(&one.data, "product_ref_id").unwrap_or("product not known");
        CellPart::link(visit.to(&format!("/ui/purchases/{}", one.collapse_key)), product).into()
    }),
    Column::new("State", |one, visit| {
        let is_held = one.held_until.is_some_and(|until| until > visit.now);
        Cell::from(purchase_state(&one.state)).and(is_held.then(|| Badge::new(Tone::Warn, "held")))
    }),
    Column::new("Receipt", |one, _| Code::short(&one.receipt_id).into()),
    Column::new("Customer", |one, _| Cell::or(one.app_user_id.as_ref().map(Code::short), "not known")),
    Column::number("Revision", |one, _| one.revision.into()),
    Column::new("Settled", |one, _| one.updated_at.into()),
];

/// The list of purchases.
pub fn purchases(visit: &Visit) -> List<PurchaseView> {
    List {
        screen: SCREEN.path,
        title: "Purchases".to_owned(),
        path: SCREEN.path.to_owned(),
        api: "/v1/purchases",
        command: "settle purchase list",
        nouns: ["purchase", "purchases"],
        order: "the last settled first",
        live: "purchases notifications",
        fixed: None,
        ids: &["collapse_key", "app_id", "platform_id"],
        filters: FILTERS,
        columns: COLUMNS,
        head: ListHead::Title,
        nothing: (
            "No purchase is settled yet. A purchase is known from its first notification on, and settled when its \
             window has passed.",
            Some((visit.to("/ui/connect"), "see how far each store is connected")),
        ),
    }
}
