//! How `settle customer show`, `access` and `explain` print a customer, in the words of the dashboard.

use super::client::Client;
use super::drawn::Exchange;
use super::table;
use crate::shell::quoted;
use serde_json::{Value, json};

/// The columns of the active entitlements.
pub const ENTITLEMENTS: [table::Column; 5] = [
    ("entitlement", "entitlement_ref_id"),
    ("name", "name"),
    ("until", "expiration"),
    ("sku", "sku_ref_id"),
    ("store", "purchase_platform"),
];

/// The columns of the payments.
const PAYMENTS: [table::Column; 7] = [
    ("at", "occurred_at"),
    ("what", "title"),
    ("sku", "sku"),
    ("amount", "amount"),
    ("in USD", "amount_in_usd"),
    ("from", "source"),
    ("transaction", "transaction_id"),
];

/// The fields of a customer that are printed in sentences and tables.
const SECTIONS: [&str; 11] = [
    "production",
    "sandbox",
    "purchases",
    "standings",
    "warnings",
    "paid",
    "paid_before_moves",
    "payments",
    "transfers",
    "erasure",
    "devices",
];

/// Prints a customer: warnings first, then access, purchases, payments and transfers; then the ids. A customer found by
/// another id than settle's is shown by ids only.
pub fn print_customer(_: &Client, exchange: &Exchange) {
    let customer = &exchange.answer;
    if !customer["standings"].is_array() {
        table::fields(customer);
        return table::line(&details(exchange));
    }
    for warning in each(&customer["warnings"]) {
        table::line(&format!("Warning: {}", text(warning, "summary")));
    }
    access("Access", &customer["production"]);
    for total in ["paid", "paid_before_moves"] {
        sentence(&customer[total], "summary");
    }
    if !customer["sandbox"]["customer_journey_state"].is_null() {
        access("Access from test purchases", &customer["sandbox"]);
    }
    heading("Purchases");
    purchases(&customer["standings"]);
    heading("Payments");
    let payments = json!({ "items": customer["payments"] });
    table::list(&payments, &PAYMENTS, "No payments.");
    if !each(&customer["transfers"]).is_empty() {
        heading("Transfers");
        each(&customer["transfers"]).iter().for_each(transfer);
    }
    heading("Erasing");
    sentence(&customer["erasure"], "charged");
    for one in each(&customer["erasure"]["destinations"]) {
        table::line(&table::raw(one));
    }
    heading("Ids");
    let mut ids = customer.clone();
    if let Some(fields) = ids.as_object_mut() {
        fields.retain(|name, _| !SECTIONS.contains(&name.as_str()));
    }
    table::fields(&ids);
}

/// The command that shows the rest of a customer.
fn details(exchange: &Exchange) -> String {
    let (app, user) = (
        quoted(&exchange.typed("app_id")),
        text(&exchange.answer, "user_id"),
    );
    format!(
        "`settle customer show --app {app} --user-id {user}` also shows access, purchases and payments."
    )
}

/// Prints the customer's access in one environment.
fn access(title: &str, of: &Value) {
    heading(title);
    let entitlements = json!({ "items": of["active_entitlements"] });
    let nothing = format!("No access. {}", text(of, "no_access"));
    table::list(&entitlements, &ENTITLEMENTS, &nothing);
    for one in each(&of["unlisted"]) {
        table::line(&format!("{}.", text(one, "summary")));
    }
    sentence(of, "next_charge");
}

/// Prints each purchase, and below it what each destination last received.
fn purchases(standings: &Value) {
    if each(standings).is_empty() {
        table::line("No purchases.");
    }
    for one in each(standings) {
        table::line(&format!(
            "{} ({}): {}",
            text(one, "product"),
            text(one, "collapse_key"),
            text(one, "summary")
        ));
        for reached in each(&one["destinations"]) {
            table::line(&format!(
                "{}: {}",
                text(reached, "destination"),
                text(reached, "summary")
            ));
        }
    }
}

/// Prints a transfer, with the products that moved.
fn transfer(one: &Value) {
    let products: Vec<String> = each(&one["products"])
        .iter()
        .map(|product| text(product, "product"))
        .collect();
    let products = match products.is_empty() {
        true => String::new(),
        false => format!("{}: ", products.join(", ")),
    };
    table::line(&format!(
        "{} {products}{} ({})",
        text(one, "created_at"),
        text(one, "summary"),
        text(one, "transfer_id")
    ));
}

/// Prints a customer's access at the end of a day.
pub fn print_day(_: &Client, exchange: &Exchange) {
    let day = &exchange.answer;
    let at = text(day, "at");
    table::line(&match day["is_over"].as_bool() {
        Some(true) => format!("As it was at {at}. Days and times are in UTC."),
        _ => format!("As it is now, at {at}. Days and times are in UTC."),
    });
    for of in each(&day["environments"]) {
        heading(match of["environment"].as_str() {
            Some("sandbox") => "Access from test purchases",
            _ => "Access",
        });
        sentence(of, "changes");
        let entitlements = json!({ "items": of["active_entitlements"] });
        table::list(&entitlements, &ENTITLEMENTS, &text(of, "no_access"));
        for one in each(&of["purchases"]) {
            let (sku, key) = (text(one, "sku"), text(one, "collapse_key"));
            table::line(&format!("{sku} ({key}): {}.", text(one, "summary")));
        }
        sentence(of, "announcement");
        for late in each(&of["late"]) {
            table::line(&table::raw(late));
        }
    }
}

/// Prints why a destination received an event about a customer, or did not.
pub fn print_explained(_: &Client, exchange: &Exchange) {
    let found = &exchange.answer;
    let (name, destination) = (text(found, "type"), text(found, "destination"));
    table::line(&match found["is_recorded"].as_bool() {
        Some(true) => format!("Delivery of the latest `{name}` to {destination}:"),
        _ => format!(
            "No `{name}` was recorded for this customer, so {destination} could not receive one."
        ),
    });
    for item in each(&found["items"]) {
        heading(&match item["event_id"].as_str() {
            Some(id) => format!("Event {id} at {}", text(item, "recorded_at")),
            None => format!("Purchase {}", text(item, "collapse_key")),
        });
        for one in each(&item["sentences"]) {
            table::line(&format!("{}.", table::raw(one)));
        }
    }
}

/// Prints a heading above the next lines.
fn heading(text: &str) {
    table::line("");
    table::line(text);
}

/// Prints a sentence, if there is one.
fn sentence(of: &Value, field: &str) {
    if let Some(text) = of[field].as_str() {
        table::line(text);
    }
}

fn each(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(of: &Value, field: &str) -> String {
    table::field(of, field)
}
