//! The list of purchases: its filters and columns. This module is pure.

use super::SCREEN;
use super::view::field;
use crate::cell::{Cell, CellPart};
use crate::customers;
use crate::lists::{Column, Filter, FilterKind, List, ListHead};
use crate::parts::{Badge, Code, Moment, Tone};
use crate::text::purchase_state;
use crate::visit::Visit;
use api::resources::purchases::state_for_people;
use domain::{Environment, Timestamp};
use serde_json::Value;
use storage::PurchaseView;

/// Note about the states that give access: each state is a separate filter.
const ACCESS: &str = "Each state is filtered by itself: trial, active, in grace, and both with renewal off have access. \
                      Purchases marked \u{201c}test\u{201d} are by testers, without money.";

pub const FILTERS: &[Filter<PurchaseView>] = &[
    Filter::new("platform_id", "Platform", FilterKind::Drawn),
    Filter::new(
        "state",
        "State",
        FilterKind::Shown(|state| state_for_people(state).to_owned()),
    )
    .with_note(ACCESS),
    Filter::new("held", "held", FilterKind::Drawn),
    Filter::new("failing", "delivery failing", FilterKind::Drawn),
];

const COLUMNS: &[Column<PurchaseView>] = &[
    Column::head("Product", |one, visit| {
        let product = field(&one.data, "product_ref_id").unwrap_or("product not known");
        let link = CellPart::link(
            visit.to(&format!("/ui/purchases/{}", one.collapse_key)),
            product,
        );
        Cell::from(link).under(vec![Code::short(&one.receipt_id).into()])
    }),
    Column::new("State", |one, visit| {
        let is_held = one.held_until.is_some_and(|until| until > visit.now);
        let is_test = field(&one.data, "environment") == Some(Environment::Sandbox.as_str());
        let state = Cell::from(purchase_state(&one.state))
            .and(is_held.then(|| Badge::new(Tone::Warn, "held")));
        state.and(is_test.then(|| Badge::new(Tone::Idle, "test")))
    }),
    Column::new("Customer", |one, visit| {
        let id = field(&one.data, "last_seen_external_id")
            .or(one.app_user_id.as_deref())
            .map(Code::short);
        let page = one
            .standing
            .user_id
            .map(|user| visit.to(&customers::path(one.app_id, user)));
        id.map_or_else(
            || CellPart::Muted("not known").into(),
            |id| CellPart::linked(page, id).into(),
        )
    }),
    Column::number("Price", |one, _| {
        let price = field(&one.data, "purchase_price").zip(field(&one.data, "purchase_currency"));
        price.map_or_else(Cell::none, |(price, currency)| {
            format!("{price} {currency}").into()
        })
    }),
    Column::new("Renews or ends", |one, _| {
        let at = field(&one.data, "expires_at").and_then(|at| at.parse().ok());
        at.map_or_else(Cell::none, |at| Moment::at(at).into())
    }),
    Column::new("Last change", |one, _| {
        // The row has the time of the last settling, even without a change; the latest event has the time of the
        // change.
        let at = one
            .data
            .pointer("/attributes/event_time")
            .and_then(Value::as_str)
            .and_then(|at| at.parse::<Timestamp>().ok());
        at.unwrap_or(one.updated_at).into()
    }),
];

/// Returns the list of purchases.
pub fn purchases(visit: &Visit) -> List<PurchaseView> {
    List {
        screen: SCREEN.path,
        title: "Purchases".to_owned(),
        path: SCREEN.path.to_owned(),
        api: "/v1/purchases",
        command: "settle purchase list",
        nouns: ["purchase", "purchases"],
        order: "last settled first",
        live: "purchases notifications",
        fixed: None,
        ids: &["collapse_key", "app_id", "platform_id", "receipt_id"],
        filters: FILTERS,
        columns: COLUMNS,
        head: ListHead::Title,
        nothing: (
            "No purchases settled yet. settle learns of a purchase from its first notification and settles it when \
             the window ends.",
            Some((visit.to("/ui/connect"), "see which stores are connected")),
        ),
    }
}
