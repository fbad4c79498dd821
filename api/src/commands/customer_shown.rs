//! How `settle customer show`, `access` and `explain` print a customer, worded as on the dashboard.

use super::client::{Client, read_as};
use super::drawn::Exchange;
use super::table;
use api::resources::access::UnlistedProduct;
use api::resources::erasing::ErasureNotes;
use api::resources::explain::customer::ExplainedCustomer;
use api::resources::statement::PaidTotal;
use api::resources::undelivered::CustomerWarning;
use api::shell::quoted;
use domain::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// The columns of the table of active entitlements.
pub const ENTITLEMENTS: [table::Column; 5] = [
    ("entitlement", "entitlement_ref_id"),
    ("name", "name"),
    ("until", "expiration"),
    ("sku", "sku_ref_id"),
    ("store", "purchase_platform"),
];

/// The columns of the table of payments.
const PAYMENTS: [table::Column; 7] = [
    ("at", "occurred_at"),
    ("what", "title"),
    ("sku", "sku"),
    ("amount", "amount"),
    ("in USD", "amount_in_usd"),
    ("from", "source"),
    ("transaction", "transaction_id"),
];

/// The fields of a customer that are printed as sentences and tables.
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

/// A customer, with the fields that are printed as sentences and tables. Version 0.1.0 sends no warnings, payments and
/// transfers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownCustomer {
    production: ShownAccess,
    sandbox: ShownAccess,
    /// `None` in a response that contains only the ids.
    standings: Option<Vec<ShownPurchase>>,
    warnings: Vec<CustomerWarning>,
    paid: Option<PaidTotal>,
    paid_before_moves: Option<PaidTotal>,
    /// The rows of a table.
    payments: Vec<Value>,
    transfers: Vec<ShownTransfer>,
    erasure: Option<ErasureNotes>,
}

/// The access in one environment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShownAccess {
    /// The rows of a table.
    active_entitlements: Vec<Value>,
    customer_journey_state: Option<IgnoredAny>,
    no_access: Option<String>,
    next_charge: Option<String>,
    unlisted: Vec<UnlistedProduct>,
}

/// A purchase, described in sentences.
#[derive(Debug, Deserialize)]
struct ShownPurchase {
    collapse_key: String,
    product: String,
    summary: String,
    destinations: Vec<ReachedDestination>,
}

/// What a destination last received about a purchase.
#[derive(Debug, Deserialize)]
struct ReachedDestination {
    destination: String,
    summary: String,
}

/// A transfer with its products.
#[derive(Debug, Deserialize)]
struct ShownTransfer {
    transfer_id: String,
    created_at: Timestamp,
    summary: String,
    products: Vec<MovedProduct>,
}

#[derive(Debug, Deserialize)]
struct MovedProduct {
    product: String,
}

/// A customer's access at the end of a day.
#[derive(Debug, Deserialize)]
struct ShownDay {
    at: Timestamp,
    is_over: bool,
    environments: Vec<DayOfEnvironment>,
}

/// The access in one environment at the end of a day.
#[derive(Debug, Deserialize)]
struct DayOfEnvironment {
    environment: String,
    /// The rows of a table.
    active_entitlements: Vec<Value>,
    no_access: Option<String>,
    changes: Option<String>,
    purchases: Vec<DayOfPurchase>,
    announcement: Option<String>,
    late: Vec<String>,
}

/// A purchase on a day, described in sentences.
#[derive(Debug, Deserialize)]
struct DayOfPurchase {
    collapse_key: String,
    sku: Option<String>,
    summary: String,
}

/// Prints a customer: warnings first, then access, purchases, payments and transfers, then the ids. A customer found by
/// another id than settle's is printed by ids only, and one of another version that this one cannot parse, field by
/// field.
pub fn print_customer(_: &Client, exchange: &Exchange) {
    let Ok(customer) = read_as::<ShownCustomer>(&exchange.answer) else {
        return table::fields(&exchange.answer);
    };
    let Some(standings) = &customer.standings else {
        table::fields(&exchange.answer);
        return table::line(&details(exchange));
    };
    for warning in &customer.warnings {
        table::line(&format!("Warning: {}", table::shown(&warning.summary)));
    }
    access("Access", &customer.production);
    for total in [&customer.paid, &customer.paid_before_moves] {
        sentence(total.as_ref().map(|total| &total.summary));
    }
    if customer.sandbox.customer_journey_state.is_some() {
        access("Access from test purchases", &customer.sandbox);
    }
    heading("Purchases");
    purchases(standings);
    heading("Payments");
    let payments = json!({ "items": customer.payments });
    table::list(&payments, &PAYMENTS, "No payments.");
    if !customer.transfers.is_empty() {
        heading("Transfers");
        customer.transfers.iter().for_each(transfer);
    }
    heading("Erasing");
    if let Some(erasure) = &customer.erasure {
        sentence(erasure.charged.as_ref());
        erasure.destinations.iter().for_each(|one| table::line(one));
    }
    heading("Ids");
    let mut ids = exchange.answer.clone();
    if let Some(fields) = ids.as_object_mut() {
        fields.retain(|name, _| !SECTIONS.contains(&name.as_str()));
    }
    table::fields(&ids);
}

/// Returns the command that shows the remaining data of a customer.
fn details(exchange: &Exchange) -> String {
    let (app, user) = (
        quoted(&exchange.typed("app_id")),
        table::field(&exchange.answer, "user_id"),
    );
    format!(
        "`settle customer show --app {app} --user-id {user}` also shows access, purchases and payments."
    )
}

/// Prints the customer's access in one environment.
fn access(title: &str, of: &ShownAccess) {
    heading(title);
    let entitlements = json!({ "items": of.active_entitlements });
    let why = of.no_access.as_ref().map(table::shown);
    let nothing = format!("No access. {}", why.unwrap_or_default());
    table::list(&entitlements, &ENTITLEMENTS, &nothing);
    for one in &of.unlisted {
        table::line(&format!("{}.", table::shown(&one.summary)));
    }
    sentence(of.next_charge.as_ref());
}

/// Prints each purchase, followed by what each destination last received about it.
fn purchases(standings: &[ShownPurchase]) {
    if standings.is_empty() {
        table::line("No purchases.");
    }
    for one in standings {
        table::line(&format!(
            "{} ({}): {}",
            table::shown(&one.product),
            table::shown(&one.collapse_key),
            table::shown(&one.summary)
        ));
        for reached in &one.destinations {
            table::line(&format!(
                "{}: {}",
                table::shown(&reached.destination),
                table::shown(&reached.summary)
            ));
        }
    }
}

/// Prints a transfer, with the products that moved.
fn transfer(one: &ShownTransfer) {
    let products: Vec<String> = one
        .products
        .iter()
        .map(|moved| table::shown(&moved.product))
        .collect();
    let products = match products.is_empty() {
        true => String::new(),
        false => format!("{}: ", products.join(", ")),
    };
    table::line(&format!(
        "{} {products}{} ({})",
        table::shown(&one.created_at),
        table::shown(&one.summary),
        table::shown(&one.transfer_id)
    ));
}

/// Prints a customer's access at the end of a day.
pub fn print_day(_: &Client, exchange: &Exchange) {
    let Ok(day) = read_as::<ShownDay>(&exchange.answer) else {
        return table::fields(&exchange.answer);
    };
    let at = table::shown(&day.at);
    table::line(&if day.is_over {
        format!("As it was at {at}. Days and times are in UTC.")
    } else {
        format!("As it is now, at {at}. Days and times are in UTC.")
    });
    for of in &day.environments {
        heading(match of.environment.as_str() {
            "sandbox" => "Access from test purchases",
            _ => "Access",
        });
        sentence(of.changes.as_ref());
        let entitlements = json!({ "items": of.active_entitlements });
        let nothing = table::shown_or_dash(of.no_access.as_ref());
        table::list(&entitlements, &ENTITLEMENTS, &nothing);
        for one in &of.purchases {
            let (sku, key) = (
                table::shown_or_dash(one.sku.as_ref()),
                table::shown(&one.collapse_key),
            );
            table::line(&format!("{sku} ({key}): {}.", table::shown(&one.summary)));
        }
        sentence(of.announcement.as_ref());
        of.late.iter().for_each(|late| table::line(late));
    }
}

/// Prints why a destination received an event about a customer, or why it did not.
pub fn print_explained(_: &Client, exchange: &Exchange) {
    let Ok(found) = read_as::<ExplainedCustomer>(&exchange.answer) else {
        return table::fields(&exchange.answer);
    };
    let (name, destination) = (
        table::shown(&found.event_type),
        table::shown(&found.destination),
    );
    table::line(&if found.is_recorded {
        format!("Delivery of the latest `{name}` to {destination}:")
    } else {
        format!(
            "No `{name}` was recorded for this customer, so {destination} could not receive one."
        )
    });
    for item in &found.items {
        heading(&match item.event_id {
            Some(id) => {
                let at = table::shown_or_dash(item.recorded_at.as_ref());
                format!("Event {id} at {at}")
            }
            None => format!("Purchase {}", item.collapse_key),
        });
        for one in &item.sentences {
            table::line(&format!("{one}."));
        }
    }
}

/// Prints a heading, with an empty line before it.
fn heading(text: &str) {
    table::line("");
    table::line(text);
}

/// Prints a sentence, if there is one.
fn sentence(text: Option<&String>) {
    if let Some(text) = text {
        table::line(text);
    }
}

#[cfg(test)]
mod tests {
    use super::{ShownCustomer, read_as};
    use serde_json::json;

    #[test]
    fn a_customer_of_0_1_0_lacks_what_came_later() {
        let access = json!({
            "active_entitlements": [], "active_skus": [], "customer_journey_state": null, "paid_usd": null,
        });
        let id = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
        let answer = json!({
            "user_id": id, "external_id": "4711", "type": "custom", "analytics_device_id": null, "app_user_ids": ["u1"],
            "user_revision": 1, "production": access, "sandbox": access, "devices": [], "purchases": [],
            "standings": [{
                "collapse_key": id, "product": "Gold", "summary": "Access: no", "is_refunded": false,
                "destinations": [{ "destination": "hook", "summary": "Nothing was sent yet" }],
            }],
        });
        let customer: ShownCustomer = read_as(&answer).expect("a customer");
        assert!(customer.warnings.is_empty() && customer.transfers.is_empty());
        let standings = customer.standings.expect("the purchases in sentences");
        assert_eq!(standings[0].destinations[0].destination, "hook");
        let only_ids = json!({ "user_id": id, "app_user_ids": ["u1"] });
        let customer: ShownCustomer = read_as(&only_ids).expect("a customer");
        assert!(customer.standings.is_none());
    }
}
