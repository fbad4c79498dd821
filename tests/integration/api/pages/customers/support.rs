//! Support for a customer: `settle customer show`, `access` and `explain` print each sentence of the page, in
//! seven support cases.

use super::{customer, signed_in};
use crate::api::edge::{Service, TOKEN};
use crate::cli::{settle, stderr_of, stdout_of};
use api::clock::random_uuid;
use serde_json::{Value, json};
use std::net::SocketAddr;
use system_tests::folder::Folder;
use system_tests::rows;
use tokio::net::TcpListener;

/// Names of the fields of an answer that contain sentences.
const SENTENCES: [&str; 15] = [
    "summary",
    "product",
    "no_access",
    "next_charge",
    "charged",
    "title",
    "amount",
    "amount_in_usd",
    "source",
    "transaction_id",
    "changes",
    "announcement",
    "late",
    "sentences",
    "destinations",
];

/// A service with one customer, and an address for commands.
struct Desk {
    service: Service,
    folder: Folder,
    address: SocketAddr,
    app: String,
    user: String,
}

impl Desk {
    async fn open(name: &str) -> Self {
        let service = Service::start(name).await;
        let (app, user) = customer(&service, "anna", "u1").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = service.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            service,
            folder: Folder::new(&format!("{name}-commands")),
            address,
            app,
            user,
        }
    }

    /// Runs a command, which must succeed, and returns its output.
    fn printed(&self, line: &[&str]) -> String {
        let service = format!("http://{}", self.address);
        let arguments = [line, &["--app", &self.app, "--service", &service]].concat();
        let mut command = settle(&self.folder, &arguments);
        let output = command.env("SETTLE_ADMIN_TOKEN", TOKEN).output();
        let output = output.expect("settle starts");
        assert!(output.status.success(), "{line:?}: {}", stderr_of(&output));
        stdout_of(&output)
    }

    /// Returns the text of the customer's page.
    async fn page(&self, query: &str) -> String {
        let visitor = signed_in(&self.service).await;
        let path = format!("/ui/customers/{}/{}{query}", self.app, self.user);
        let shown = visitor.get(&self.service, &path).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        text_of(&shown.text)
    }

    /// Checks that a command prints these sentences, and that each sentence that it prints is on the page.
    async fn compare(&self, line: &[&str], query: &str, expected: &[&str]) -> Value {
        let page = self.page(query).await;
        let answer = self.printed(&[line, &["--json"]].concat());
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        // The page leaves out unknown values, and names the customer who has the purchases now.
        let is_test = |one: &Value| one["environment"] == "sandbox";
        let mut purchases = answer["purchases"].as_array().into_iter().flatten();
        if !purchases.any(is_test) {
            answer["sandbox"] = Value::Null;
        }
        if answer["purchases"] == json!([]) && answer["transfers"] != json!([]) {
            answer["production"]["no_access"] = Value::Null;
        }
        let mut found = Vec::new();
        sentences(&answer, false, &mut found);
        for sentence in &found {
            let sentence = sentence.replace('`', "").to_lowercase();
            let sentence = sentence.trim_end_matches('.');
            assert!(page.contains(sentence), "{sentence}: {page}");
        }
        let printed = self.printed(line);
        for part in expected {
            assert!(
                found.iter().any(|one| one.contains(part)),
                "{part}: {found:?}"
            );
            assert!(printed.contains(part), "{part}: {printed}");
        }
        answer
    }

    async fn show(&self, expected: &[&str]) -> Value {
        let line = ["customer", "show", "--user-id", "anna"];
        self.compare(&line, "", expected).await
    }

    /// Creates a destination for these events, and returns its id.
    async fn destination(&self, events: &[&str]) -> String {
        let url = "https://example.com/hooks";
        let hook = json!({ "kind": "webhook", "name": "Billing", "url": url, "events": events });
        let path = format!("/v1/apps/{}/destinations", self.app);
        let created = self.service.send_json("POST", &path, &hook).await;
        created.body["id"].as_str().expect("an id").to_owned()
    }

    /// Sets the record of each purchase.
    fn record(&self, data: Value) {
        let record = json!({ "data": data });
        self.service
            .raw(&format!("UPDATE events SET body = '{record}'"));
    }

    /// Sets the state of each purchase of the customer.
    fn stands(&self, state: &str, life: &str) {
        let (user, purchase) = (&self.user, json!({ "stage": { "life": life } }));
        self.service.raw(&format!(
            "UPDATE purchases SET user_id = '{user}', state = '{state}', purchase = '{purchase}'"
        ));
    }

    fn pay(&self) -> rows::Rows {
        rows::payments()
            .of_each("purchases")
            .sql("collapse_key", "collapse_key")
            .sql("app_id", "app_id")
            .text("event_id", random_uuid())
    }
}

/// Returns the data of a subscription that renews.
fn gold() -> Value {
    json!({
        "product_ref_id": "gold.monthly", "entitlements": [{ "name": "Gold" }], "current_term_length": "P1M",
        "not_before": "2026-11-23T10:00:00Z", "purchase_price": "7.99", "purchase_currency": "EUR",
        "expires_at": "2099-12-23T10:00:00Z", "product_type": "subscription", "environment": "production",
    })
}

/// Collects the sentences of an answer: the texts in the fields of [`SENTENCES`].
fn sentences(of: &Value, is_sentence: bool, found: &mut Vec<String>) {
    match of {
        Value::String(text) if is_sentence => found.push(text.clone()),
        Value::Array(all) => all
            .iter()
            .for_each(|one| sentences(one, is_sentence, found)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, one)| sentences(one, SENTENCES.contains(&name.as_str()), found)),
        _ => {}
    }
}

/// Returns the text of a page in lower case, with times in RFC 3339 and unabbreviated ids.
fn text_of(page: &str) -> String {
    let (mut text, mut rest) = (String::new(), page);
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let (tag, after) = tag.split_once('>').expect("a whole tag");
        rest = after;
        let whole = ["datetime=\"", "title=\""]
            .iter()
            .filter(|_| tag.starts_with("time ") || tag.starts_with("code "))
            .find_map(|name| tag.split_once(name)?.1.split_once('"'));
        if let Some((whole, _)) = whole {
            text.push_str(whole);
            rest = after
                .split_once('<')
                .map_or("", |(shown, _)| &after[shown.len()..]);
        }
    }
    text.push_str(rest);
    let escaped = [
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#38;", "&"),
    ];
    let text = escaped
        .iter()
        .fold(text, |text, (code, letter)| text.replace(code, letter));
    text.to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_without_access() {
    let desk = Desk::open("support-unlisted").await;
    desk.record(json!({
        "product_ref_id": "radio.monthly", "entitlements": [], "product_type": "subscription",
        "expires_at": "2099-12-03T16:20:00Z", "environment": "production",
    }));
    desk.stands("active", "running");
    desk.service
        .raw("UPDATE purchases SET term_sku = 'radio.monthly'");
    let unknown = desk.pay().sql("price", "NULL").sql("currency", "NULL");
    let unknown = unknown.sql("usd", "NULL");
    desk.service
        .raw(&unknown.text("unknown_because", "not_listed"));
    let why = "Paid, but no access: `radio.monthly` is not in the catalogue";
    let known = "not known: the product is not in the catalogue";
    let shown = desk.show(&[why, known]).await;
    assert_eq!(shown["production"]["unlisted"][0]["sku"], "radio.monthly");
}

#[tokio::test(flavor = "multi_thread")]
async fn charged_twice() {
    let desk = Desk::open("support-twice").await;
    desk.service.seed(&["receipt-2"]).await;
    desk.service.raw("DELETE FROM events");
    desk.service.seed_events();
    let user = &desk.user;
    desk.service
        .raw(&format!("UPDATE events SET user_id = '{user}'"));
    desk.record(gold());
    desk.stands("active", "running");
    let twice = "Two subscriptions are active at the same time, and both will renew: Gold";
    let shown = desk.show(&[twice]).await;
    assert_eq!(shown["warnings"][0]["destination_id"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_does_not_have_an_event() {
    let desk = Desk::open("support-pending").await;
    let hook = desk.destination(&["*"]).await;
    desk.record(gold());
    let pending = rows::deliveries()
        .of_each("events")
        .text("destination_id", &hook)
        .sql("event_id", "id")
        .sql("collapse_key", "collapse_key")
        .text("id", random_uuid())
        .sql("attempts", 2);
    desk.service
        .raw(&pending.text("last_error", "the endpoint answered 500"));
    let shown = desk
        .show(&[
            "Billing does not have 1 event of this customer, since ",
            ": the endpoint answered 500. It is healthy now. settle retries by itself; next attempt soon.",
        ])
        .await;
    assert_eq!(shown["warnings"][0]["destination_id"], hook.as_str());
    let line = [
        "customer",
        "explain",
        "anna",
        "--destination",
        "Billing",
        "--type",
        "purchase.updated",
    ];
    let query = format!("?destination_id={hook}&type=purchase.updated");
    let found = desk.compare(&line, &query, &[]).await;
    let sentences = found["items"][0]["sentences"].as_array();
    assert!(
        found["is_recorded"] == true && sentences.is_some_and(|all| !all.is_empty()),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_purchases_moved_to_another_customer() {
    let desk = Desk::open("support-moved").await;
    desk.record(gold());
    desk.service.raw(&desk.pay());
    let path = format!("/v1/apps/{}/customers/move", desk.app);
    let moved = json!({ "from": { "app_user_id": "u1" }, "external_id": "otto", "reason": "ticket 4711", "by": "kim" });
    let moved = desk.service.send_json("POST", &path, &moved).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    let why = "Moved by kim";
    let shown = desk.show(&[why, "ticket 4711"]).await;
    let transfer = &shown["transfers"][0];
    assert_eq!(
        (&transfer["to"]["external_id"], &transfer["transfer_id"]),
        (&json!("otto"), &moved.body["transfer_id"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_wants_to_be_erased() {
    let desk = Desk::open("support-erasing").await;
    desk.destination(&["*"]).await;
    desk.record(gold());
    desk.stands("active", "running");
    let learns = "because they do not subscribe to `user.erased` by its name: `*` and `user.*` leave it out: Billing.";
    let shown = desk.show(&[learns]).await;
    let charged = shown["erasure"]["charged"].as_str().unwrap_or_default();
    assert!(charged.contains("Gold monthly"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn access_on_a_past_day() {
    let desk = Desk::open("support-past").await;
    for (day, text) in [
        (
            "2026-10-03",
            "No event about this customer was recorded in this environment by then.",
        ),
        ("1970-01-01", "No access known."),
    ] {
        let line = ["customer", "access", "anna", "--on", day];
        let found = desk.compare(&line, &format!("?on={day}"), &[text]).await;
        assert_eq!(
            (&found["on"], &found["is_over"]),
            (&json!(day), &json!(true))
        );
    }
    let path = |day: &str| {
        let (app, user) = (&desk.app, &desk.user);
        format!("/v1/apps/{app}/customers/{user}/access?on={day}")
    };
    for (day, expected) in [
        ("2999-01-01", "today or a day in the past"),
        ("yesterday", "a day such as 2026-10-03"),
    ] {
        let refused = desk.service.get(&path(day)).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert_eq!(refused.body["errors"][0]["expected"], expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_is_not_in_the_backend() {
    let desk = Desk::open("support-refund").await;
    let hook = desk.destination(&["purchase.updated"]).await;
    desk.record(gold());
    desk.service.raw(&desk.pay().text("sku", "gold.monthly"));
    let refund = desk
        .pay()
        .sql("entry", 1)
        .text("kind", "refund")
        .text("source", "report")
        .sql("price", "NULL")
        .sql("currency", "NULL")
        .text("usd", "-7.99")
        .sql("occurred_at", 2);
    desk.service.raw(&refund.text("transaction_id", "t-4711"));
    let paid = "Paid 9.99, refunded 7.99; 2.00 USD remain";
    let shown = desk.show(&[paid, "7.99 USD refunded", "t-4711"]).await;
    assert_eq!(
        (
            &shown["paid"]["charged_usd"],
            &shown["paid"]["refunded_usd"]
        ),
        (&json!("9.99"), &json!("7.99"))
    );
    let line = [
        "customer",
        "explain",
        "anna",
        "--destination",
        "Billing",
        "--type",
        "revenue.adjusted",
    ];
    let query = format!("?destination_id={hook}&type=revenue.adjusted");
    let found = desk.compare(&line, &query, &[]).await;
    assert_eq!(found["is_recorded"], false, "{found}");
    let (app, user) = (&desk.app, &desk.user);
    let path = format!("/v1/apps/{app}/customers/{user}/explain?type=revenue.adjusted");
    let nobody = random_uuid();
    let unknown = format!("{path}&destination_id={nobody}");
    assert_eq!(desk.service.get(&unknown).await.status, 404);
    let other = format!("/v1/apps/{app}/customers/{nobody}/explain?type=revenue.adjusted");
    let other = format!("{other}&destination_id={hook}");
    assert_eq!(desk.service.get(&other).await.status, 404);
}
