//! `settle sign-in`: what the table of its verbs cannot express.

use super::client::Client;
use super::drawn::{Exchange, Hook};
use super::{open, table};

pub const HOOKS: &[(&str, Hook)] = &[("link", Hook::Print(print_link))];

fn print_link(client: &Client, exchange: &Exchange) {
    table::line(&format!(
        "For {}, once and within ten minutes:",
        exchange.typed("name")
    ));
    let link = exchange.answer["url"].as_str().map(str::to_owned);
    table::plain(&format!(
        "  {}",
        link.unwrap_or_else(|| client.address(&open::path(&exchange.answer)))
    ));
}
