//! The table of a customer's payments and refunds. This module is pure.

use super::address::{path, purchase_path};
use crate::cell::{Cell, CellPart};
use crate::lists::{Column, Table};
use crate::parts::{Badge, Code, Moment, Tone};
use crate::visit::Visit;
use api::resources::statement::{PaymentMove, StatementLine};
use domain::Environment;

const COLUMNS: &[Column<StatementLine>] = &[
    Column::head("Date", |line, _| Moment::at(line.occurred_at).into()),
    Column::new("What", title),
    Column::number("Amount", |line, _| amount(line)),
];

/// Returns the table of payments; `None` without payments.
pub fn table(visit: &Visit, lines: &[StatementLine]) -> Option<Table> {
    (!lines.is_empty()).then(|| Table::of("Payments, newest first", COLUMNS, lines, visit))
}

/// Returns the badge of a test purchase; `None` for production.
pub fn badge(environment: Environment) -> Option<Badge> {
    (environment == Environment::Sandbox).then(|| Badge::new(Tone::Idle, "test"))
}

fn title(line: &StatementLine, visit: &Visit) -> Cell {
    let what = CellPart::link(purchase_path(visit, line.collapse_key), line.title);
    let what = Cell::from(what).and(badge(line.environment));
    let sku = line.sku.as_ref().map(Code::short);
    let what = what.under(sku.into_iter().map(CellPart::from).collect());
    let moved = line.moved.iter().flat_map(|one| moved(visit, one));
    what.under(moved.collect())
}

/// Returns the move that followed the payment, with the page of the other customer.
fn moved(visit: &Visit, one: &PaymentMove) -> [CellPart; 2] {
    let text = match one.is_away {
        true => "before the move to",
        false => "before the move from",
    };
    let page = visit.to(&path(one.app_id, one.other.user_id));
    [
        CellPart::from(text),
        CellPart::link(page, Code::short(one.login())),
    ]
}

fn amount(line: &StatementLine) -> Cell {
    let amount = line.amount.clone();
    let amount = amount.map_or(CellPart::Muted("not known"), CellPart::from);
    let transaction = line.transaction_id.as_ref().map(Code::short);
    let source = line.source.clone().map(CellPart::from).into_iter();
    let rate = line.rate.clone().map(CellPart::from);
    let below = source.chain(transaction.map(CellPart::from)).chain(rate);
    let in_usd = line.amount_in_usd.clone().map(CellPart::from);
    Cell::from(amount)
        .under(below.collect())
        .under(in_usd.into_iter().collect())
}
