//! Customers on the page: found by any id, with no id of theirs in an address; named; and why they did not get an event.

use super::visitor::{Answer, OURS, Visitor, form, send};
use crate::api::edge::{Service, TOKEN};
use api::clock::random_uuid;
use serde_json::{Value, json};
use system_tests::rows;

/// A text that is a script where it is not escaped.
const HOSTILE: &str = "\"'><script>alert(1)</script>";
pub const REASON: (&str, &str) = ("reason", "ticket 4711");

pub async fn signed_in(service: &Service) -> Visitor {
    Visitor::with_key(service, TOKEN).await.expect("a sign-in")
}

pub fn has(answer: &Answer, parts: &[&str]) {
    for part in parts {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
}

/// A customer with a settled purchase and an event, by the ids of the app and of settle.
pub async fn customer(service: &Service, external: &str, store: &str) -> (String, String) {
    let (app, _) = service.platform().await;
    let body = json!({ "external_id": external, "app_user_id": store });
    let named = service
        .send_json("PUT", &format!("/v1/apps/{app}/customers"), &body)
        .await;
    assert_eq!(named.status, 200, "{}", named.body);
    let user = named.body["user_id"].as_str().expect("an id").to_owned();
    service.seed(&["receipt-1"]).await;
    service.seed_events();
    service.raw(&format!(
        "UPDATE purchases SET user_id = '{user}', app_user_id = '{store}'; UPDATE events SET user_id = '{user}'"
    ));
    (app, user)
}

#[tokio::test]
async fn a_customer_is_found_by_each_of_their_ids() {
    let service = Service::start("customers").await;
    let (app, user) = customer(&service, "anna@example.com", "u1").await;
    let visitor = signed_in(&service).await;
    has(
        &visitor.get(&service, "/ui/customers").await,
        &["Customer id</label>"],
    );
    let page = format!("/ui/customers/{app}/{user}");
    for q in [
        "anna@example.com",
        "u1",
        "receipt-1",
        user.as_str(),
        " anna@example.com ",
    ] {
        let found = visitor.post(&service, "/ui/customers", &[("q", q)]).await;
        assert_eq!(
            (found.status, found.header("location")),
            (303, page.as_str()),
            "{q}: {}",
            found.text
        );
    }
    let found = visitor
        .post(&service, "/ui/search", &[("q", "anna@example.com")])
        .await;
    assert_eq!(
        (found.status, found.header("location")),
        (303, page.as_str()),
        "the search of the frame: {}",
        found.text
    );
    let nothing = visitor
        .post(&service, "/ui/customers", &[("q", HOSTILE)])
        .await;
    assert_eq!(nothing.status, 200);
    has(&nothing, &["No results for", "&#60;script&#62;"]);
    assert!(!nothing.text.contains("<script>alert"), "{}", nothing.text);
    let empty = visitor.post(&service, "/ui/customers", &[("q", " ")]).await;
    assert_eq!(empty.status, 400);
    has(&empty, &["id=\"wrong-customer\"", "aria-invalid"]);
    for (searched, q) in [("/ui/customers", "receipt-l"), ("/ui/search", "receipt-I")] {
        let meant = visitor.post(&service, searched, &[("q", q)]).await;
        assert_eq!(meant.status, 200, "{}", meant.text);
        has(
            &meant,
            &[
                "No results for",
                "Did you mean <a href=\"/ui/",
                ">receipt-1</a>?",
            ],
        );
    }
    let meant = service
        .send_json("POST", "/v1/search", &json!({ "q": "receipt-l" }))
        .await
        .body;
    assert_eq!(meant, json!({ "items": [], "did_you_mean": "receipt-1" }));
    let shown = visitor.get(&service, &page).await;
    has(
        &shown,
        &[
            "anna@example.com",
            ">u1<",
            "receipt-1",
            "purchase.updated",
            "No access.",
            "/ui/purchases/",
        ],
    );
    has(&shown, &["Login in your app"]);
    let addresses = shown
        .text
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    for address in addresses {
        assert!(
            !address.contains("anna") && !address.contains("receipt-1"),
            "{address}"
        );
    }
    let data = visitor.get(&service, &format!("{page}?as=json")).await;
    let data: Value = serde_json::from_str(&data.text).expect("JSON");
    assert_eq!(
        data,
        service
            .get(&format!("/v1/apps/{app}/customers/{user}"))
            .await
            .body
    );
    let by_api = service
        .send_json("POST", "/v1/search", &json!({ "q": "anna@example.com" }))
        .await
        .body;
    let kinds: Vec<_> = by_api["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["kind"].clone())
        .collect();
    assert_eq!(kinds, ["customer", "purchase"], "{by_api}");
    assert!(
        !by_api.to_string().contains("anna"),
        "ids of ours alone: {by_api}"
    );
}

#[tokio::test]
async fn a_customer_of_another_app_is_as_if_nobody() {
    let service = Service::start("customers-other").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await
        .body["id"]
        .clone();
    let key = json!({ "name": "other", "role": "admin", "app_id": other });
    let key = service.send_json("POST", "/v1/keys", &key).await;
    let stranger = Visitor::with_key(&service, key.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    for q in ["anna", "u1", "receipt-1", user.as_str()] {
        let found = stranger.post(&service, "/ui/customers", &[("q", q)]).await;
        assert_eq!(found.status, 200, "{q}");
        has(&found, &["No results for"]);
    }
    let other = other.as_str().expect("an id");
    for path in [
        format!("/ui/customers/{app}/{user}"),
        format!("/ui/customers/{other}/{user}"),
    ] {
        assert_eq!(stranger.get(&service, &path).await.status, 404, "{path}");
        let named = stranger
            .post(
                &service,
                &path,
                &[("external_id", "x"), ("app_user_id", "u1"), REASON],
            )
            .await;
        assert!(
            named.status == 404 || path.contains(other),
            "{path}: {}",
            named.status
        );
    }
    assert_eq!(
        service
            .get(&format!("/v1/apps/{app}/customers/{user}"))
            .await
            .body["external_id"],
        "anna"
    );
}

#[tokio::test]
async fn a_customer_is_named_once_and_a_refusal_is_explained() {
    let service = Service::start("customers-name").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    service.raw("UPDATE users SET external_id = NULL");
    let visitor = signed_in(&service).await;
    let page = format!("/ui/customers/{app}/{user}");
    has(
        &visitor.get(&service, &page).await,
        &[
            "not identified",
            "Set customer id",
            "name=\"app_user_id\" value=\"u1\"",
        ],
    );
    let wrong = visitor
        .post(
            &service,
            &page,
            &[("app_user_id", "u1"), ("external_id", "")],
        )
        .await;
    assert_eq!(wrong.status, 400, "{}", wrong.text);
    has(&wrong, &["id=\"wrong-external_id\"", "id=\"wrong-reason\""]);
    let forged = form(&[
        ("form_token", "forged"),
        ("external_id", "otto"),
        ("app_user_id", "u1"),
        REASON,
    ]);
    let headers = [OURS, ("cookie", visitor.cookie.as_str())];
    assert_eq!(
        send(&service, "POST", &page, &headers, forged).await.status,
        403
    );
    let fields = [("app_user_id", "u1"), ("external_id", HOSTILE), REASON];
    let named = visitor.post(&service, &page, &fields).await;
    assert_eq!(
        (named.status, named.header("location")),
        (303, format!("{page}?done=named").as_str()),
        "{}",
        named.text
    );
    let shown = visitor.get(&service, &format!("{page}?done=named")).await;
    has(&shown, &["The customer id is set", "&#60;script&#62;"]);
    assert!(!shown.text.contains("<script>alert"), "{}", shown.text);
    service.raw("UPDATE users SET external_id = NULL");
    let path = format!("/v1/apps/{app}/customers");
    let other = service
        .send_json(
            "PUT",
            &path,
            &json!({ "external_id": "tina", "app_user_id": "u2" }),
        )
        .await;
    assert_eq!(other.status, 200, "{}", other.body);
    let named = visitor
        .post(
            &service,
            &page,
            &[("app_user_id", "u1"), ("external_id", "Tina"), REASON],
        )
        .await;
    let near = format!("{page}?done=named-other-case");
    assert_eq!(
        (named.status, named.header("location")),
        (303, near.as_str()),
        "{}",
        named.text
    );
    has(
        &visitor.get(&service, &near).await,
        &["differs only by case from another customer"],
    );
    let again = visitor
        .post(
            &service,
            &page,
            &[("app_user_id", "u1"), ("external_id", "otto"), REASON],
        )
        .await;
    assert_eq!(again.status, 409, "{}", again.text);
    has(
        &again,
        &[
            "Nothing was changed",
            "use \u{201c}Move purchases\u{201d} on this page",
            "value=\"otto\"",
        ],
    );
    let reader = service
        .send_json("POST", "/v1/keys", &json!({ "name": "r", "role": "read" }))
        .await;
    let reader = Visitor::with_key(&service, reader.body["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    let shown = reader.get(&service, &page).await;
    assert!(!shown.text.contains("Set customer id"));
    has(
        &shown,
        &[
            "An administrator can erase this customer:",
            "settle customer erase --app ",
            "stay without them",
        ],
    );
}

/// A customer of the store without a name, beside the one of `customer`; the page of the new one.
async fn unnamed(service: &Service, app: &str, store: &str) -> String {
    let body = json!({ "external_id": "nobody", "app_user_id": store });
    let named = service
        .send_json("PUT", &format!("/v1/apps/{app}/customers"), &body)
        .await;
    service.raw("UPDATE users SET external_id = NULL WHERE external_id = 'nobody'");
    format!(
        "/ui/customers/{app}/{}",
        named.body["user_id"].as_str().expect("an id")
    )
}

/// The value of a hidden field of a form.
pub fn hidden(answer: &Answer, name: &str) -> String {
    let field = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
    let rest = answer
        .text
        .split(&field)
        .nth(1)
        .unwrap_or_else(|| panic!("no field {name}: {}", answer.text));
    rest.split('"').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_merge_by_name_is_shown_first_and_can_be_undone() {
    let service = Service::start("customers-merge").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let page = unnamed(&service, &app, "u2").await;
    let visitor = signed_in(&service).await;
    let fields = [("app_user_id", "u2"), ("external_id", "anna"), REASON];
    let shown = visitor.post(&service, &page, &fields).await;
    assert_eq!(shown.status, 409, "{}", shown.text);
    has(
        &shown,
        &[
            "Merge two customers?",
            "is the id of another customer with 1 purchase",
            "Merge the two customers, with 1 purchase in all?",
            "value=\"ticket 4711\"",
            &format!("/ui/customers/{app}/{anna}"),
        ],
    );
    let other = service
        .get(&format!("/v1/apps/{app}/customers?app_user_id=u2"))
        .await
        .body;
    assert_eq!(other["external_id"], Value::Null, "nothing is changed");
    let preview = hidden(&shown, "preview");
    // Another purchase of the other customer: what was shown is not what would happen.
    service.seed(&["receipt-2"]).await;
    service.raw(&format!(
        "UPDATE purchases SET user_id = '{anna}', app_user_id = 'u1'"
    ));
    let confirmed = |preview: &str| {
        let fields = [
            ("app_user_id", "u2"),
            ("external_id", "anna"),
            ("preview", preview),
            REASON,
        ];
        fields.map(|(name, value)| (name, value.to_owned()))
    };
    let post = async |preview: &str, reason: bool| {
        let fields = confirmed(preview);
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let until = if reason {
            fields.len()
        } else {
            fields.len() - 1
        };
        visitor.post(&service, &page, &fields[..until]).await
    };
    let stale = post(&preview, true).await;
    assert_eq!(stale.status, 409);
    has(
        &stale,
        &["changed since the preview", "with 2 purchases in all"],
    );
    let preview = hidden(&stale, "preview");
    let unreasoned = post(&preview, false).await;
    assert_eq!(unreasoned.status, 400);
    has(
        &unreasoned,
        &["Merge two customers?", "id=\"wrong-reason\""],
    );
    let merged = post(&preview, true).await;
    let target = format!("/ui/customers/{app}/{anna}");
    assert_eq!(
        (merged.status, merged.header("location")),
        (303, format!("{target}?done=named").as_str())
    );
}

#[tokio::test]
async fn a_merge_is_undone_on_the_page_by_whoever_sees_its_reason() {
    let service = Service::start("customers-undo").await;
    let (app, anna) = customer(&service, "anna", "u1").await;
    let page = unnamed(&service, &app, "u2").await;
    let by_store = format!("/v1/apps/{app}/customers?app_user_id=u2");
    let visitor = signed_in(&service).await;
    let fields = [("app_user_id", "u2"), ("external_id", "anna"), REASON];
    let preview = hidden(&visitor.post(&service, &page, &fields).await, "preview");
    let fields = [
        ("app_user_id", "u2"),
        ("external_id", "anna"),
        ("preview", preview.as_str()),
        REASON,
    ];
    assert_eq!(visitor.post(&service, &page, &fields).await.status, 303);
    let target = format!("/ui/customers/{app}/{anna}");
    let shown = visitor.get(&service, &target).await;
    has(
        &shown,
        &[
            "Merged: the customer was given the id of the other customer by admin token",
            "ticket 4711",
            ">Undo<",
        ],
    );
    let undo = shown
        .text
        .split("action=\"/ui/transfers/")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let undo = format!(
        "/ui/transfers/{}",
        undo.expect("a form").replace("&#38;", "&")
    );
    let undone = visitor.post(&service, &undo, &[REASON]).await;
    assert_eq!(
        (undone.status, undone.header("location")),
        (303, format!("{target}?done=undone").as_str()),
        "{}",
        undone.text
    );
    let apart = service.get(&by_store).await.body;
    assert_eq!(
        (
            apart["external_id"].clone(),
            page.ends_with(apart["user_id"].as_str().expect("an id"))
        ),
        (Value::Null, true)
    );
    let again = visitor.post(&service, &undo, &[REASON]).await;
    assert_eq!(again.status, 409);
    has(&again, &["Nothing was changed", "already undone by"]);
    let shown = visitor
        .get(&service, &format!("{target}?done=undone"))
        .await;
    has(
        &shown,
        &[
            "undone",
            "A transfer was undone by admin token",
            "belong to the customer without a login again.",
        ],
    );
    service.raw("UPDATE transfers SET created_at = created_at - 600000000");
    let later = visitor
        .get(&service, &format!("{target}?done=undone"))
        .await;
    assert!(
        !later.text.contains("The transfer was undone"),
        "{}",
        later.text
    );
}

/// A monthly subscription of this customer that is paid and refunded, and events that a destination does not have;
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

/// Why an amount is not known whose product is not in the catalogue.
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
        .text("destination_id", &id);
    let profile = profile
        .sql("event_id", "collapse_key")
        .sql("collapse_key", "collapse_key")
        .sql("finished_at", 1);
    service.raw(
        &profile
            .text("event_type", "profile.updated")
            .text("status", "delivered"),
    );
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
            "(receipt receipt-1)",
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

#[tokio::test]
async fn why_a_destination_did_not_get_an_event_is_a_sentence() {
    let service = Service::start("customers-why").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    let hook = json!({
        "kind": "webhook", "name": "Billing", "url": "https://example.com/hooks", "events": ["user.subscription.renewed"],
    });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await;
    let hook = hook.body["id"].as_str().expect("an id").to_owned();
    let visitor = signed_in(&service).await;
    let path = |name: &str| format!("/ui/customers/{app}/{user}?destination_id={hook}&type={name}");
    let first = visitor
        .get(&service, &format!("/ui/customers/{app}/{user}"))
        .await;
    has(&first, &["<option value=\"purchase.updated\" selected>"]);
    assert!(
        !first.text.contains("<option value=\"destination."),
        "{}",
        first.text
    );
    let recorded = visitor.get(&service, &path("purchase.updated")).await;
    has(&recorded, &["to <strong>Billing</strong>:", "?mark="]);
    let tree = {
        let event = service.get("/v1/events").await.body["items"][0]["id"].clone();
        service
            .get(&format!(
                "/v1/explain/events/{}",
                event.as_str().expect("an id")
            ))
            .await
            .body
    };
    let then = tree["then"].as_array().expect("nodes");
    let why = then
        .iter()
        .find(|node| node["what"] == "not_sent")
        .expect("a reason")["summary"]
        .clone();
    let first: String = why
        .as_str()
        .expect("a sentence")
        .split('`')
        .next()
        .unwrap_or_default()
        .chars()
        .skip(1)
        .collect();
    has(&recorded, &[&first]);
    let never = visitor
        .get(&service, &path("user.subscription.renewed"))
        .await;
    has(
        &never,
        &[
            "was recorded for this customer",
            "could not receive one",
            "/ui/purchases/",
        ],
    );
    let renewed = rows::events()
        .of_each("purchases")
        .text("id", random_uuid())
        .sql("collapse_key", "collapse_key");
    let renewed = renewed
        .sql("app_id", "app_id")
        .text("event_type", "user.subscription.renewed")
        .text("user_id", &user);
    service.raw(&renewed);
    let delivered = rows::deliveries()
        .of_each("purchases")
        .text("id", random_uuid())
        .text("destination_id", &hook);
    let delivered = delivered
        .sql("event_id", "collapse_key")
        .sql("collapse_key", "collapse_key")
        .sql("finished_at", 1);
    service.raw(
        &delivered
            .text("event_type", "user.subscription.renewed")
            .text("status", "delivered"),
    );
    let missing = visitor
        .get(&service, &format!("/ui/customers/{app}/{user}"))
        .await;
    has(&missing, &["<option value=\"purchase.updated\" selected>"]);
    let unknown = visitor.get(&service, &path("%3Cscript%3Ealert(1)")).await;
    assert_eq!(unknown.status, 200);
    assert!(!unknown.text.contains("<script>alert"), "{}", unknown.text);
}
