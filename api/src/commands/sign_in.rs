//! `settle sign-in`: everything that its table of verbs cannot express.

use super::client::{Client, read_as};
use super::drawn::{Exchange, Hook};
use super::table;
use api::resources::sign_ins::SignInLink;

pub const HOOKS: &[(&str, Hook)] = &[("link", Hook::Print(print_link))];

fn print_link(client: &Client, exchange: &Exchange) {
    let Ok(SignInLink { path, url, .. }) = read_as(&exchange.answer) else {
        return table::fields(&exchange.answer);
    };
    table::line(&format!(
        "For {}, once and within ten minutes:",
        exchange.typed("name")
    ));
    let link = url.unwrap_or_else(|| client.address(&path));
    table::plain(&format!("  {link}"));
}
