//! A customer's purchases and payments, and the data that a purchase lacks.

use super::{customer, has, signed_in};
use crate::api::edge::Service;
use crate::api::pages::visitor::Visitor;
use api::clock::random_uuid;
use serde_json::json;
use system_tests::rows;

/// Inserts a paid and refunded monthly subscription of this customer, with events that a destination never received;
/// returns the destination's id.
async fn refunded(service: &Service, app: &str, user: &str) -> String {
    let hook = json!({ "kind": "webhook", "name": "Billing", "url": "https://example.com/hooks", "events": ["*"] });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await;
    let hook = hook.body["id"].as_str().expect("an id").to_owned();
    let record = json!({ "data": {
        "product_ref_id": "gold.monthly", "entitlements": [{ "name": "Gold" }], "current_term_length": "P1M",
        "not_before": "2026-11-23T10:00:00Z", "purchase_price": "7.99", "purchase_currency": "EUR",
        "expires_at": "2099-12-23T10:00:00Z", "product_type": "subscription", "environment": "production",
    }});
    service.raw(&format!("UPDATE events SET body = '{record}'"));
    let payment = || {
        rows::payments()
            .of_each("purchases")
            .sql("collapse_key", "collapse_key")
            .sql("app_id", "app_id")
    };
    service.raw(
        &payment()
            .text("event_id", random_uuid())
            .text("sku", "gold.monthly"),
    );
    let refund = payment()
        .text("event_id", random_uuid())
        .sql("entry", 1)
        .text("kind", "refund")
        .text("source", "report");
    let refund = refund
        .sql("price", "NULL")
        .sql("currency", "NULL")
        .text("usd", "-7.99")
        .sql("occurred_at", 2);
    service.raw(&refund.text("transaction_id", "t-4711"));
    let delivery = rows::deliveries()
        .of_each("events")
        .text("destination_id", &hook)
        .sql("event_id", "id");
    let delivery = delivery.sql("collapse_key", "collapse_key");
    service.raw(&delivery.clone().text("id", random_uuid()).sql("n", 1));
    let delivery = delivery.text("id", user).sql("attempts", 2);
    service.raw(&delivery.text("last_error", "the endpoint answered 500"));
    hook
}

#[tokio::test]
async fn what_was_bought_and_paid_is_a_sentence() {
    let service = Service::start("customers-paid").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    let hook = refunded(&service, &app, &user).await;
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{user}");
    let shown = visitor.get(&service, &page).await;
    let bought = [
        "Gold monthly</a>",
        "for 7.99 EUR",
        "Refunded 7.99 USD on",
        "Renewal is still on. Next charge: 7.99 EUR on <time",
        "refunded</span>",
    ];
    has(&shown, &bought);
    let pending = "<code>purchase.updated</code> pending, 2 attempts failed: the endpoint answered 500; next attempt soon";
    has(&shown, &[&format!("Billing: {pending}")]);
    let notice =
        "<p class=\"notice warn\">Billing does not have 2 events of this customer, since <time";
    let who = "It is healthy now. settle retries by itself; next attempt soon.";
    has(
        &shown,
        &[
            notice,
            who,
            &format!(" <a href=\"/ui/destinations/{hook}\">Destination Billing</a>"),
        ],
    );
    has(
        &shown,
        &[
            "Payment</a>",
            "Refund</a>",
            "\u{2212}7.99 USD refunded",
            "t-4711",
            "Paid 9.99, refunded 7.99; 2.00 USD remain (list price, not confirmed by a sales report yet)",
        ],
    );
    let erased = "Get nothing, because they do not subscribe to <code>user.erased</code> by its name: <code>*</code> and \
                  <code>user.*</code> leave it out: Billing.";
    has(&shown, &[erased]);
    service.raw("UPDATE payments SET created_at = (SELECT MAX(created_at) FROM destinations)");
    let refunds = "Billing: not subscribed to refunds (<code>revenue.adjusted</code>); <code>purchase.updated</code> pending";
    has(&visitor.get(&service, &page).await, &[refunds]);
    let order = [
        "Access</h2>",
        "Purchases</h2>",
        "Payments</h2>",
        "on a given day?</h2>",
        "Ids</h2>",
    ];
    let places = order.map(|part| {
        shown
            .text
            .find(part)
            .unwrap_or_else(|| panic!("{part}: {}", shown.text))
    });
    assert!(places.is_sorted(), "{places:?}");
    assert!(
        !shown.text.contains("at the same time"),
        "one subscription is no notice: {}",
        shown.text
    );
    service.raw("UPDATE events SET body = REPLACE(body, '2099-12-23', '2026-11-24')");
    let due = "Renewal is still on. Renewal was due on <time";
    has(
        &visitor.get(&service, &page).await,
        &[
            due,
            "; the store has not confirmed it yet. Only the customer",
        ],
    );
    let listed = service
        .get(&format!("/v1/payments?user_id={user}"))
        .await
        .body;
    let amounts: Vec<_> = listed["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|one| one["usd"].clone())
        .collect();
    assert_eq!(amounts, ["-7.99", "9.99"]);
    assert_eq!(
        service.get("/v1/payments").await.wrong_fields(),
        ["collapse_key"]
    );
    let all = visitor
        .get(&service, &format!("/ui/payments?user_id={user}"))
        .await;
    has(
        &all,
        &[
            "Payment</a>",
            "List price (not confirmed by a sales report yet)",
            "settle payment --user",
            "As CSV",
        ],
    );
}

/// The reason why an amount is unknown if the product is not in the catalogue.
const NOT_LISTED: &str = "not known: the product is not in the catalogue";

#[tokio::test]
async fn paid_but_not_in_the_catalogue_is_named_with_who_can_add_it() {
    let service = Service::start("customers-unlisted").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    let record = json!({ "data": {
        "product_ref_id": "radio.monthly", "entitlements": [], "product_type": "subscription",
        "expires_at": "2099-12-03T16:20:00Z", "environment": "production",
    }});
    service.raw(&format!("UPDATE events SET body = '{record}'"));
    let purchase = json!({ "stage": { "life": "running" } });
    service.raw(&format!(
        "UPDATE purchases SET term_sku = 'radio.monthly', purchase = '{purchase}'"
    ));
    let payment = rows::payments()
        .of_each("purchases")
        .sql("collapse_key", "collapse_key")
        .sql("app_id", "app_id");
    let payment = payment
        .text("event_id", random_uuid())
        .sql("price", "NULL")
        .sql("currency", "NULL");
    service.raw(
        &payment
            .sql("usd", "NULL")
            .text("unknown_because", "not_listed"),
    );
    let page = format!("/ui/customers/{app}/{user}");
    let support = service
        .send_json(
            "POST",
            "/v1/keys",
            &json!({ "name": "agent", "role": "support" }),
        )
        .await
        .body;
    let agent = Visitor::with_key(&service, support["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let visitor = signed_in(&service).await;
    let sentence = "Paid, but no access: <code";
    let add = format!("<a href=\"/ui/apps/{app}/catalogue/product?sku=radio.monthly\">Add it</a>");
    has(
        &visitor.get(&service, &page).await,
        &[sentence, "is not in the catalogue", &add, NOT_LISTED],
    );
    has(
        &agent.get(&service, &page).await,
        &[sentence, "Ask an operator to add it."],
    );
    let detail = service
        .get(&format!("/v1/apps/{app}/customers/{user}"))
        .await
        .body;
    let summary = detail["standings"][0]["summary"]
        .as_str()
        .expect("a summary");
    assert!(
        summary.contains("Paid, but no access: `radio.monthly` is not in the catalogue"),
        "{detail}"
    );
    let why = "Paid, but no access: `radio.monthly` is not in the catalogue.";
    assert_eq!(detail["production"]["no_access"], why, "{detail}");
    let key = detail["standings"][0]["collapse_key"]
        .as_str()
        .expect("a key");
    let product = format!("/v1/apps/{app}/products/radio.monthly");
    let listed = service
        .send_json("PUT", &product, &json!({ "entitlements": [] }))
        .await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    for path in [page, format!("/ui/purchases/{key}")] {
        let shown = visitor.get(&service, &path).await;
        assert!(
            !shown.text.contains("is not in the catalogue"),
            "{path}: {}",
            shown.text
        );
    }
}

/// Inserts a paid change of plan, whose type the destination does not subscribe to, and a delivered profile.
fn unchosen_payment(service: &Service, id: &str) {
    let event = random_uuid();
    let change = rows::events()
        .of_each("purchases")
        .text("id", event)
        .sql("collapse_key", "collapse_key");
    let change = change
        .sql("app_id", "app_id")
        .text("event_type", "user.subscription.sku_change");
    service.raw(&change.sql("created_at", "(SELECT MAX(created_at) FROM destinations)"));
    let payment = rows::payments()
        .of_each("purchases")
        .sql("collapse_key", "collapse_key")
        .sql("app_id", "app_id");
    service.raw(
        &payment
            .text("event_id", event)
            .text("kind", "plan_change")
            .text("usd", "89.99"),
    );
    let profile = rows::deliveries()
        .of_each("purchases")
        .text("id", random_uuid())
        .text("destination_id", id);
    let profile = profile
        .sql("event_id", "collapse_key")
        .sql("collapse_key", "collapse_key")
        .sql("finished_at", 1);
    service.raw(
        &profile
            .text("event_type", "profile.updated")
            .text("status", "delivered"),
    );
}

#[tokio::test]
async fn a_payment_that_is_not_chosen_is_not_shown_as_delivered() {
    let service = Service::start("customers-unchosen").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    let integration = json!({
        "kind": "amplitude", "name": "Numbers", "endpoint": "eu", "events": ["*"],
        "api_key": "0123456789abcdef0123456789abcdef",
    });
    let created = service
        .send_json(
            "POST",
            &format!("/v1/apps/{app}/destinations"),
            &integration,
        )
        .await;
    let id = created.body["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", created.body))
        .to_owned();
    unchosen_payment(&service, &id);
    let visitor = signed_in(&service).await;
    let shown = visitor
        .get(&service, &format!("/ui/customers/{app}/{user}"))
        .await;
    let why = "(89.99 USD); this destination does not subscribe to <code>user.subscription.sku_change</code>; the";
    has(
        &shown,
        &["Numbers: not sent: the first payment of <time", why],
    );
    assert!(
        !shown.text.contains("Numbers: delivered") && !shown.text.contains("notice warn"),
        "{}",
        shown.text
    );
    let purchase = service.get("/v1/purchases").await.body["items"][0]["collapse_key"].clone();
    let purchase = visitor
        .get(
            &service,
            &format!("/ui/purchases/{}", purchase.as_str().expect("a key")),
        )
        .await;
    has(
        &purchase,
        &["Numbers: not sent: the first payment of <time"],
    );
    let counted = visitor
        .get(&service, &format!("/ui/destinations/{id}"))
        .await;
    has(&counted, &["Payments not sent (not subscribed)</dt>"]);
    has(
        &counted,
        &[
            "1 payment (89.99 USD) not sent since <time",
            ": not subscribed to user.subscription.sku_change (",
        ],
    );
    has(
        &counted,
        &[&format!(
            "<a href=\"/ui/destinations/{id}/settings\">Change the subscription in Settings</a>"
        )],
    );
    let key = service.get("/v1/purchases").await.body["items"][0]["collapse_key"].clone();
    let key = key.as_str().expect("a key");
    has(
        &counted,
        &[
            &format!("<a href=\"/ui/purchases/{key}\">Purchase and customer</a>"),
            "(store&#39;s id receipt-1)",
        ],
    );
    has(
        &counted,
        &[
            "An operator can subscribe",
            "the price that was recorded first",
        ],
    );
}

#[tokio::test]
async fn two_renewing_subscriptions_are_a_notice_an_end_is_a_cause() {
    let service = Service::start("customers-twice").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    service.seed(&["receipt-2"]).await;
    service.raw("DELETE FROM events");
    service.seed_events();
    let record = json!({ "data": {
        "product_ref_id": "gold", "entitlements": [{ "name": "Gold" }], "product_type": "subscription",
        "expires_at": "2026-12-03T16:20:00Z", "canceled_at": "2026-11-30T00:00:00Z", "expiration_reason": "customer",
    }, "attributes": { "event_time": "2026-11-03T16:20:01Z" } });
    service.raw(&format!(
        "UPDATE events SET user_id = '{user}', body = '{record}'"
    ));
    let stands = |state: &str, life: &str| {
        let purchase = json!({ "stage": { "life": life } });
        service.raw(&format!(
            "UPDATE purchases SET user_id = '{user}', state = '{state}', purchase = '{purchase}'"
        ));
    };
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{user}");
    stands("active", "running");
    let shown = visitor.get(&service, &page).await;
    has(
        &shown,
        &["Two subscriptions are active at the same time, and both will renew: Gold on "],
    );
    let who = ". Only the customer can switch renewal off, at the store";
    has(&shown, &[&format!("{who}.</p>")]);
    let [first, second] = [
        "amzn1.account.AEV7JUDJSB7YXQ2KJNHH5MGD3F7Q",
        "amzn1.account.AEZ2QKX4WBT6PLM3RSVU7YCD9K4A",
    ];
    let of_receipt =
        format!("CASE WHEN receipt_id = 'receipt-1' THEN '{first}' ELSE '{second}' END");
    service.raw(&format!("UPDATE purchases SET app_user_id = {of_receipt}"));
    let shown = visitor.get(&service, &page).await;
    has(
        &shown,
        &[
            "by two different store accounts",
            &format!("{who}, with the account that bought it.</p>"),
        ],
    );
    let found = visitor.get(&service, "/ui/purchases").await;
    has(
        &found,
        &[">amzn1.account.AE…3F7Q<", ">amzn1.account.AE…9K4A<"],
    );
    has(
        &visitor.get(&service, "/ui/purchases").await,
        &["Last change", "datetime=\"2026-11-03T16:20:01"],
    );
    stands("expired", "expired");
    let shown = visitor.get(&service, &page).await;
    has(
        &shown,
        &[
            "No access. Gold ended <time",
            "because the customer switched renewal off on <time",
        ],
    );
    assert!(!shown.text.contains("at the same time"), "{}", shown.text);
    let coins = json!({ "data": { "product_ref_id": "coins", "product_type": "consumable" } });
    service.raw(&format!("UPDATE events SET body = '{coins}'"));
    stands("active", "running");
    has(
        &visitor.get(&service, &page).await,
        &["coins</a>", "bought</span>"],
    );
}
