//! Settings over HTTP: customers, the catalogue, rates. Each route with valid fields, with each field wrong, and
//! repeated.

use super::edge::{Answer, Service};
use serde_json::{Value, json};

struct Shop {
    service: Service,
    app: String,
}

impl Shop {
    async fn open(name: &str) -> Self {
        let service = Service::start(name).await;
        let (app, _) = service.platform().await;
        Self {
            service,
            app: format!("/v1/apps/{app}"),
        }
    }

    async fn send_json(&self, method: &str, path: &str, body: Value) -> Answer {
        self.service
            .send_json(method, &format!("{}{path}", self.app), &body)
            .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send_json("GET", path, Value::Null).await
    }

    /// Checks that a request is refused with a 400 that names these fields.
    async fn refuses(&self, (method, path): (&str, &str), body: Value, fields: &[&str]) {
        let answer = self.send_json(method, path, body.clone()).await;
        assert_eq!(
            (answer.status, &answer.wrong_fields()[..]),
            (400, fields),
            "{method} {path} {body}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_customer_is_named_found_and_not_renamed() {
    let shop = Shop::open("customers").await;
    let name =
        json!({ "external_id": "6b275a67-0bbb-4f3a-99b9-6600bf711993", "app_user_id": "u/1+=" });
    let named = shop.send_json("PUT", "/customers", name.clone()).await;
    assert_eq!(named.status, 200, "{}", named.body);
    assert_eq!(
        (&named.body["type"], &named.body["app_user_ids"]),
        (&json!("uuid"), &json!(["u/1+="]))
    );
    assert_eq!(
        shop.send_json("PUT", "/customers", name).await.body,
        named.body,
        "the same again is the same answer"
    );
    for query in [
        "external_id=6b275a67-0bbb-4f3a-99b9-6600bf711993",
        "app_user_id=u%2F1%2B%3D",
    ] {
        assert_eq!(
            shop.get(&format!("/customers?{query}")).await.body,
            named.body,
            "{query}"
        );
    }
    let other = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "u/1+=" }),
        )
        .await;
    assert_eq!(other.status, 409, "{}", other.body);
    let why = other.body["detail"].as_str().expect("a sentence");
    assert!(
        why.contains("6b275a67") && why.contains("settle customer move"),
        "{why}"
    );
    let second = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "u2" }),
        )
        .await;
    assert_eq!(second.body["type"], "custom");
    let joined = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "u3" }),
        )
        .await;
    assert_eq!(
        (&joined.body["user_id"], &joined.body["app_user_ids"]),
        (&second.body["user_id"], &json!(["u2", "u3"]))
    );
}

/// Two customers: `anna` with two purchases, and one of the store without a name, with one.
async fn two_customers(shop: &Shop) -> [String; 2] {
    shop.service.seed(&["r1", "r2", "r3"]).await;
    let mut users = Vec::new();
    for (name, store) in [("anna", "u1"), ("otto", "u2")] {
        let named = shop
            .send_json(
                "PUT",
                "/customers",
                json!({ "external_id": name, "app_user_id": store }),
            )
            .await;
        users.push(named.body["user_id"].as_str().expect("an id").to_owned());
    }
    shop.service.raw(&format!(
        "UPDATE users SET external_id = NULL WHERE external_id = 'otto';
         UPDATE purchases SET user_id = '{}' WHERE receipt_id <> 'r3';
         UPDATE purchases SET user_id = '{}' WHERE receipt_id = 'r3'",
        users[0], users[1]
    ));
    users.try_into().expect("two")
}

#[tokio::test]
async fn a_dry_run_shows_which_customers_a_name_would_merge() {
    let shop = Shop::open("merge-preview").await;
    let [anna, other] = two_customers(&shop).await;
    let name = json!({ "external_id": "anna", "app_user_id": "u2" });
    let shown = shop
        .send_json("PUT", "/customers?dry_run=true", name.clone())
        .await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let merge = json!({
        "from": { "user_id": other, "external_id": null, "app_user_ids": ["u2"], "purchases": 1 },
        "to": { "user_id": anna, "external_id": "anna", "app_user_ids": ["u1"], "purchases": 2 },
        "announced": [],
        "events": { "purchase.updated": 1 },
    });
    assert_eq!(
        (
            &shown.body["preview"]["merge"],
            &shown.body["preview"]["note"]
        ),
        (&merge, &Value::Null)
    );
    assert_eq!(
        (&shown.body["user_id"], &shown.body["app_user_ids"]),
        (&json!(anna), &json!(["u1", "u2"]))
    );
    assert_eq!(
        shop.get("/customers?app_user_id=u2").await.body["external_id"],
        Value::Null,
        "nothing is changed"
    );
    let refused = {
        let mut body = name.clone();
        body["merge"] = json!(false);
        body
    };
    let refused = shop.send_json("PUT", "/customers", refused).await;
    assert_eq!(refused.status, 409);
    let why = refused.body["detail"].as_str().expect("a sentence");
    assert!(
        why.contains("`anna` is the id of another customer with 2 purchases"),
        "{why}"
    );
    assert_eq!(
        shop.get("/customers?app_user_id=u2").await.body["user_id"],
        json!(other),
        "the two stay apart"
    );
    let merged = shop.send_json("PUT", "/customers", name).await;
    assert_eq!(
        (merged.status, &merged.body["user_id"]),
        (200, &json!(anna)),
        "a server at a login merges"
    );
    assert_eq!(
        merged.body["app_user_ids"], shown.body["app_user_ids"],
        "as the dry run showed"
    );
    let alone = json!({ "external_id": "bert", "app_user_id": "u9" });
    let shown = shop
        .send_json("PUT", "/customers?dry_run=true", alone.clone())
        .await;
    assert_eq!(shown.body["preview"]["merge"], Value::Null);
    let note = shown.body["preview"]["note"].as_str().expect("a note");
    assert!(
        note.contains("No purchase of this store customer is known yet"),
        "{note}"
    );
    assert_eq!(shop.get("/customers?app_user_id=u9").await.status, 404);
    let named = shop.send_json("PUT", "/customers", alone).await;
    assert_eq!(named.body["user_id"], shown.body["user_id"]);
}

#[tokio::test]
async fn an_id_that_differs_only_by_case_is_a_warning() {
    let shop = Shop::open("other-case").await;
    let tina = json!({ "external_id": "tina@example.com", "app_user_id": "u1" });
    let named = shop.send_json("PUT", "/customers", tina.clone()).await;
    assert_eq!(
        (named.status, &named.body["warnings"]),
        (200, &Value::Null),
        "{}",
        named.body
    );
    assert_eq!(
        shop.send_json("PUT", "/customers", tina).await.body,
        named.body,
        "a repetition is no mistake"
    );
    let other = json!({ "external_id": "Tina@example.com", "app_user_id": "u2" });
    for path in ["/customers?dry_run=true", "/customers"] {
        let answer = shop.send_json("PUT", path, other.clone()).await;
        let warning = answer.body["warnings"][0].as_str().expect("a warning");
        assert!(
            warning.starts_with("`Tina@example.com` differs only by case from `tina@example.com`"),
            "{warning}"
        );
    }
    assert_ne!(
        shop.get("/customers?app_user_id=u2").await.body["user_id"],
        named.body["user_id"],
        "not merged"
    );
    let moved = json!({ "from": { "app_user_id": "u2" }, "external_id": "TINA@example.com", "reason": "ticket" });
    let moved = shop.send_json("POST", "/customers/move", moved).await;
    assert!(
        moved.body["warnings"][0]
            .as_str()
            .is_some_and(|text| text.contains("differs only by case")),
        "{}",
        moved.body
    );
}

#[tokio::test]
async fn a_preview_of_a_merge_lets_nothing_else_happen() {
    let shop = Shop::open("merge-raced").await;
    let [anna, other] = two_customers(&shop).await;
    let preview = async |body: &Value| {
        let shown = shop
            .send_json("PUT", "/customers?dry_run=true", body.clone())
            .await;
        let mut confirmed = body.clone();
        confirmed["preview"] = shown.body["preview"]["id"].clone();
        confirmed
    };
    let stale = async |confirmed: &Value| {
        let answer = shop.send_json("PUT", "/customers", confirmed.clone()).await;
        assert_eq!(answer.status, 409, "{}", answer.body);
        let why = answer.body["detail"].as_str().expect("a sentence");
        assert!(why.contains("changed since the preview"), "{why}");
    };
    let merging = json!({ "external_id": "anna", "app_user_id": "u2" });
    let confirmed = preview(&merging).await;
    shop.service.raw(&format!(
        "UPDATE purchases SET user_id = '{other}' WHERE receipt_id = 'r2'"
    ));
    stale(&confirmed).await;
    // Nobody had the id when it was shown, and somebody else has it now.
    let free = preview(&json!({ "external_id": "bert", "app_user_id": "u2" })).await;
    shop.send_json(
        "PUT",
        "/customers",
        json!({ "external_id": "bert", "app_user_id": "u5" }),
    )
    .await;
    stale(&free).await;
    // The id was another customer's when it was shown.
    let confirmed = preview(&merging).await;
    shop.service
        .raw("UPDATE users SET external_id = 'annie' WHERE external_id = 'anna'");
    shop.send_json(
        "PUT",
        "/customers",
        json!({ "external_id": "anna", "app_user_id": "u6" }),
    )
    .await;
    stale(&confirmed).await;
    let confirmed = preview(&json!({ "external_id": "annie", "app_user_id": "u2" })).await;
    let merged = shop.send_json("PUT", "/customers", confirmed.clone()).await;
    assert_eq!(
        (merged.status, &merged.body["user_id"]),
        (200, &json!(anna)),
        "{}",
        merged.body
    );
    let again = shop.send_json("PUT", "/customers", confirmed).await;
    assert_eq!(
        (again.status, again.body),
        (200, merged.body),
        "a repetition changes nothing"
    );
    let moved = shop
        .service
        .get(&format!("/v1/transfers?user_id={anna}"))
        .await
        .body;
    assert_eq!(moved["items"].as_array().map(Vec::len), Some(1), "{moved}");
    assert_eq!(
        (&moved["items"][0]["by"], &moved["items"][0]["can_undo"]),
        (&json!("admin token"), &json!(true))
    );
}

#[tokio::test]
async fn a_customer_may_have_a_device_id_of_the_apps_analytics() {
    let shop = Shop::open("analytics-device").await;
    let named =
        json!({ "external_id": "anna", "app_user_id": "u", "analytics_device_id": "tv-4711" });
    let named = shop.send_json("PUT", "/customers", named).await;
    assert_eq!(
        (named.status, &named.body["analytics_device_id"]),
        (200, &json!("tv-4711")),
        "{}",
        named.body
    );
    let without = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "u" }),
        )
        .await;
    assert_eq!(without.body, named.body, "an absent one leaves it");
    assert_eq!(
        shop.get("/customers?external_id=anna").await.body,
        named.body
    );
    for bad in [json!(""), json!(7), json!("x".repeat(129))] {
        let body = json!({ "external_id": "anna", "app_user_id": "u", "analytics_device_id": bad });
        shop.refuses(("PUT", "/customers"), body, &["analytics_device_id"])
            .await;
    }
}

#[tokio::test]
async fn each_wrong_field_of_a_customer_is_named() {
    let shop = Shop::open("customer-fields").await;
    let put = ("PUT", "/customers");
    shop.refuses(put, json!({ "app_user_id": "u" }), &["external_id"])
        .await;
    shop.refuses(put, json!({ "external_id": "anna" }), &["app_user_id"])
        .await;
    shop.refuses(
        put,
        json!({ "external_id": "anna", "app_user_id": "u", "receipt_id": "r" }),
        &["receipt_id"],
    )
    .await;
    for bad in [
        json!(""),
        json!(7),
        json!("a\u{7}b"),
        json!("x".repeat(513)),
    ] {
        shop.refuses(
            put,
            json!({ "external_id": bad, "app_user_id": "u" }),
            &["external_id"],
        )
        .await;
    }
    let longest = json!({ "external_id": "\u{fc}".repeat(512), "app_user_id": "u" });
    assert_eq!(
        shop.send_json("PUT", "/customers", longest).await.status,
        200
    );
    for query in ["", "?external_id=a&app_user_id=b"] {
        shop.refuses(
            ("GET", &format!("/customers{query}")),
            Value::Null,
            &["external_id"],
        )
        .await;
    }
    assert_eq!(shop.get("/customers?external_id=nobody").await.status, 404);
    let unknown = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "receipt_id": "r" }),
        )
        .await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.body["detail"]
            .to_string()
            .contains("import the purchase first"),
        "{}",
        unknown.body
    );
}

#[tokio::test]
async fn a_customer_is_erased_and_the_report_is_shown() {
    let shop = Shop::open("erase").await;
    shop.send_json(
        "PUT",
        "/customers",
        json!({ "external_id": "anna", "app_user_id": "u1" }),
    )
    .await;
    let request = json!({ "external_id": "anna", "by": "support", "reason": "request 17" });
    let report = shop
        .send_json("POST", "/customers/erase", request.clone())
        .await;
    assert_eq!(
        (report.status, &report.body["stage"]),
        (202, &json!("done")),
        "{}",
        report.body
    );
    assert_eq!(
        (&report.body["by"], &report.body["counts"]["store_users"]),
        (&json!("support"), &json!(1))
    );
    assert!(
        report.body["removed_at"].is_string() && report.body["destinations"] == json!([]),
        "{}",
        report.body
    );
    assert_eq!(
        shop.send_json("POST", "/customers/erase", request)
            .await
            .body,
        report.body,
        "once"
    );
    let id = report.body["id"].as_str().expect("an id");
    assert_eq!(
        shop.get(&format!("/customers/erase/{id}")).await.body,
        report.body
    );
    let other = "0198c5a2-7b1e-7c3f-9d20-5a6b7c8d9e0f";
    assert_eq!(
        shop.get(&format!("/customers/erase/{other}")).await.status,
        404
    );
    assert_eq!(shop.get("/customers?external_id=anna").await.status, 404);
    let known = shop.get("/customers?app_user_id=u1").await.body;
    assert_eq!(
        (&known["external_id"], &known["app_user_ids"]),
        (&Value::Null, &json!([])),
        "an anonymous user"
    );
    let state = shop.get("/customers/state?app_user_id=u1").await.body;
    assert_eq!(
        (&state["user_id"], &state["external_ids"]),
        (&report.body["user_id"], &json!([]))
    );
}

#[tokio::test]
async fn each_wrong_field_of_a_request_to_erase_is_named() {
    let shop = Shop::open("erase-fields").await;
    let post = ("POST", "/customers/erase");
    shop.refuses(
        post,
        json!({ "external_id": "anna", "by": "me" }),
        &["reason"],
    )
    .await;
    shop.refuses(
        post,
        json!({ "external_id": "anna", "reason": "r" }),
        &["by"],
    )
    .await;
    shop.refuses(post, json!({ "by": "me", "reason": "r" }), &["external_id"])
        .await;
    let both = json!({ "external_id": "anna", "app_user_id": "u", "by": "me", "reason": "r" });
    shop.refuses(post, both, &["external_id"]).await;
    shop.refuses(
        post,
        json!({ "user_id": "me", "by": "me", "reason": "r" }),
        &["user_id", "external_id"],
    )
    .await;
    let unknown = json!({ "external_id": "nobody", "by": "me", "reason": "r" });
    assert_eq!(
        shop.send_json("POST", "/customers/erase", unknown)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn purchases_are_found_by_the_customers_own_id() {
    let shop = Shop::open("external").await;
    let user = shop
        .send_json(
            "PUT",
            "/customers",
            json!({ "external_id": "anna", "app_user_id": "user" }),
        )
        .await
        .body;
    let keys = shop.service.seed(&["r1", "r2"]).await;
    let user = user["user_id"].as_str().expect("a user id");
    shop.service.raw(&format!(
        "UPDATE purchases SET user_id = '{user}' WHERE receipt_id = 'r1'"
    ));
    let found = shop
        .service
        .get("/v1/purchases?external_id=anna")
        .await
        .body;
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found["items"][0]["collapse_key"], json!(keys[0]));
    let none = shop
        .service
        .get("/v1/purchases?external_id=otto&receipt_id=r1")
        .await
        .body;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_catalogue_is_built_piece_by_piece_and_read_as_one_document() {
    let shop = Shop::open("catalogue").await;
    assert_eq!(
        shop.get("/catalogue").await.body,
        json!({ "entitlements": [], "products": [] })
    );
    let tv = shop
        .send_json(
            "PUT",
            "/entitlements/tv",
            json!({ "name": "TV", "description": "all of it" }),
        )
        .await;
    assert_eq!((tv.status, &tv.body), (200, &json!({ "purchases": 0 })));
    shop.send_json("PUT", "/entitlements/gold", json!({ "name": "Gold" }))
        .await;
    let price = json!({ "country": "DE", "currency": "EUR", "price": "8.90" });
    let raised =
        json!({ "country": "DE", "currency": "EUR", "price": "9.90", "since": "2026-03-01" });
    let again = json!({ "country": "DE", "currency": "EUR", "price": "10.90", "since": "2026-06-01T12:00:00.000000Z" });
    let prices = json!([price, raised, again]);
    let product = json!({ "name": "Monthly", "entitlements": ["tv", "gold"], "prices": prices });
    let created = shop
        .send_json("PUT", "/products/com.example%2Fmonth", product)
        .await;
    assert_eq!(created.status, 200, "{}", created.body);
    shop.send_json("PUT", "/products/year", json!({ "entitlements": [] }))
        .await;
    let document = shop.get("/catalogue").await.body;
    let month = json!({ "sku": "com.example/month", "name": "Monthly", "entitlements": ["tv", "gold"], "prices": prices });
    let year = json!({ "sku": "year", "entitlements": [], "prices": [] });
    let gold = json!({ "ref": "gold", "name": "Gold" });
    let tv = json!({ "ref": "tv", "name": "TV", "description": "all of it" });
    assert_eq!(
        document,
        json!({ "entitlements": [gold, tv], "products": [month, year] })
    );
    assert_eq!(shop.get("/products/com.example%2Fmonth").await.body, month);
    let listed = shop.get("/products?limit=1").await.body;
    assert_eq!(
        listed,
        json!({ "items": [month], "next_cursor": "com.example/month" })
    );
    let rest = shop
        .get("/products?limit=1&cursor=com.example%2Fmonth")
        .await
        .body;
    assert_eq!(rest, json!({ "items": [year], "next_cursor": null }));
    let before = shop.get("/entitlements/tv").await.body;
    assert_eq!(shop.get("/entitlements").await.body["items"][1], before);
    assert_eq!(
        shop.send_json(
            "PUT",
            "/catalogue",
            json!({ "entitlements": [], "products": [] })
        )
        .await
        .status,
        200
    );
    assert_eq!(shop.get("/entitlements/tv").await.status, 404);
    assert_eq!(
        shop.send_json("PUT", "/catalogue", document.clone())
            .await
            .status,
        200,
        "the answer of GET is accepted by PUT"
    );
    assert_eq!(shop.get("/catalogue").await.body, document);
    assert_eq!(
        shop.get("/entitlements/tv").await.body,
        before,
        "with the same id"
    );
    assert_eq!(
        shop.send_json("DELETE", "/entitlements/tv", Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(
        shop.get("/products/com.example%2Fmonth").await.body["entitlements"],
        json!(["gold"])
    );
    assert_eq!(
        shop.send_json("DELETE", "/products/year", Value::Null)
            .await
            .status,
        200
    );
    for gone in ["/products/year", "/entitlements/tv"] {
        assert_eq!(shop.get(gone).await.status, 404);
        assert_eq!(
            shop.send_json("DELETE", gone, Value::Null).await.status,
            404
        );
    }
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let shop = Shop::open("dry").await;
    shop.service.seed(&["r1", "r2", "r3"]).await;
    shop.service
        .raw("UPDATE purchases SET term_sku = 'month' WHERE receipt_id <> 'r3'");
    let unmapped = shop.get("/catalogue/unmapped").await.body;
    assert_eq!(
        unmapped["items"],
        json!([{ "sku": "month", "purchases": 2 }])
    );
    let document = json!({ "entitlements": [{ "ref": "tv", "name": "TV" }], "products": [{ "sku": "month", "entitlements": ["tv"] }] });
    let changes = [
        ("PUT", "/catalogue", document, 2),
        (
            "PUT",
            "/entitlements/tv",
            json!({ "name": "Television" }),
            2,
        ),
        ("PUT", "/products/month", json!({ "entitlements": [] }), 2),
        ("PUT", "/products/year", json!({ "entitlements": [] }), 0),
        ("DELETE", "/entitlements/tv", Value::Null, 0),
        ("DELETE", "/products/month", Value::Null, 2),
    ];
    for (method, path, body, purchases) in changes {
        shop.service.raw("UPDATE purchases SET next_wake_at = NULL");
        let before = shop.get("/catalogue").await.body;
        let dry = shop
            .send_json(method, &format!("{path}?dry_run=true"), body.clone())
            .await;
        assert_eq!(
            (dry.status, &dry.body),
            (200, &json!({ "purchases": purchases })),
            "{method} {path}"
        );
        assert_eq!(
            (shop.get("/catalogue").await.body, shop.service.woken()),
            (before.clone(), 0),
            "{method} {path}"
        );
        let real = shop.send_json(method, path, body).await;
        assert_eq!(
            (&real.body, shop.service.woken()),
            (&json!({ "purchases": purchases }), purchases),
            "{method} {path}"
        );
        assert_ne!(shop.get("/catalogue").await.body, before, "{method} {path}");
    }
}

#[tokio::test]
async fn each_wrong_field_of_the_catalogue_is_named_with_its_place() {
    let shop = Shop::open("catalogue-fields").await;
    shop.send_json("PUT", "/entitlements/tv", json!({ "name": "TV" }))
        .await;
    let entitlement = ("PUT", "/entitlements/gold");
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": 1 }), "name"),
        (json!({ "name": "x".repeat(201) }), "name"),
        (json!({ "name": "n", "description": [] }), "description"),
        (json!({ "name": "n", "type": "x" }), "type"),
    ] {
        shop.refuses(entitlement, body, &[field]).await;
    }
    let price = |country: &str, currency: &str, price: &str| json!({ "entitlements": [], "prices": [{ "country": country, "currency": currency, "price": price }] });
    let dated = |since: Value, other: Value| {
        let price = |since| json!({ "currency": "EUR", "price": "1", "since": since });
        json!({ "entitlements": [], "prices": [price(since), price(other)] })
    };
    for (body, field) in [
        (json!({}), "entitlements"),
        (json!({ "entitlements": "tv" }), "entitlements"),
        (json!({ "entitlements": ["silver"] }), "entitlements"),
        (json!({ "entitlements": ["tv", "tv"] }), "entitlements"),
        (json!({ "entitlements": [], "prices": {} }), "prices"),
        (json!({ "entitlements": [], "prices": [1] }), "prices[0]"),
        (price("de", "EUR", "1"), "prices[0].country"),
        (price("DE", "euro", "1"), "prices[0].currency"),
        (price("DE", "EUR", "1,50"), "prices[0].price"),
        (price("DE", "EUR", "-1"), "prices[0].price"),
        (
            json!({ "entitlements": [], "prices": [{ "currency": "EUR", "price": 1.5 }] }),
            "prices[0].price",
        ),
        (
            json!({ "entitlements": [], "prices": [{ "currency": "EUR" }] }),
            "prices[0].price",
        ),
        (
            json!({ "entitlements": [], "prices": [{ "currency": "EUR", "price": "1" }, { "currency": "USD", "price": "1" }] }),
            "prices",
        ),
        (
            dated(json!("yesterday"), json!("2026-04-01")),
            "prices[0].since",
        ),
        (
            dated(json!("2026-02-30"), json!("2026-04-01")),
            "prices[0].since",
        ),
        (
            dated(json!(20_260_301), json!("2026-04-01")),
            "prices[0].since",
        ),
        (
            dated(json!("2026-03-01"), json!("2026-03-01T01:00:00+01:00")),
            "prices",
        ),
        (dated(json!(null), json!(null)), "prices"),
        (json!({ "entitlements": [], "price": [] }), "price"),
    ] {
        shop.refuses(("PUT", "/products/month"), body, &[field])
            .await;
    }
    shop.refuses(
        ("PUT", "/catalogue"),
        json!({}),
        &["entitlements", "products"],
    )
    .await;
    let twice = json!([{ "sku": "a", "entitlements": [] }, { "sku": "a", "entitlements": [] }]);
    shop.refuses(
        ("PUT", "/catalogue"),
        json!({ "entitlements": [], "products": twice }),
        &["products[1].sku"],
    )
    .await;
    let nameless = json!([{ "ref": "a", "name": "A" }, { "name": "B" }]);
    shop.refuses(
        ("PUT", "/catalogue"),
        json!({ "entitlements": nameless, "products": [] }),
        &["entitlements[1].ref"],
    )
    .await;
    let dry = "/products/month?dry_run=maybe";
    shop.refuses(("PUT", dry), json!({ "entitlements": [] }), &["dry_run"])
        .await;
}

#[tokio::test]
async fn rates_are_stored_and_each_wrong_one_is_named() {
    let shop = Shop::open("rates").await;
    let rate = |day: &str, currency: &str, usd: Value| json!({ "day": day, "currency": currency, "usd": usd });
    let rates = json!({ "rates": [rate("2026-01-31", "EUR", json!("1.0800")), rate("2026-02-01", "EUR", json!("1.1"))] });
    for _ in 0..2 {
        let stored = shop.send_json("PUT", "/rates", rates.clone()).await;
        assert_eq!((stored.status, &stored.body), (200, &json!({ "rates": 2 })));
    }
    let listed = shop.get("/rates?currency=EUR").await.body;
    assert_eq!(
        listed["items"],
        json!([
            rate("2026-01-31", "EUR", json!("1.08")),
            rate("2026-02-01", "EUR", json!("1.1"))
        ])
    );
    assert_eq!(
        shop.get("/rates?currency=GBP").await.body["items"],
        json!([])
    );
    for (wrong, field) in [
        (rate("2026-02-30", "EUR", json!("1")), "rates[1].day"),
        (rate("2026-2-3", "EUR", json!("1")), "rates[1].day"),
        (rate("2026-02-03", "eur", json!("1")), "rates[1].currency"),
        (rate("2026-02-03", "EUR", json!(1.1)), "rates[1].usd"),
        (rate("2026-02-03", "EUR", json!("0")), "rates[1].usd"),
        (rate("2026-02-03", "EUR", json!("-1")), "rates[1].usd"),
    ] {
        let all = json!({ "rates": [rate("2026-02-02", "EUR", json!("1")), wrong] });
        shop.refuses(("PUT", "/rates"), all, &[field]).await;
    }
    let many: Vec<Value> = (0..5001)
        .map(|_| rate("2026-02-02", "EUR", json!("1")))
        .collect();
    shop.refuses(("PUT", "/rates"), json!({ "rates": many }), &["rates"])
        .await;
    shop.refuses(("GET", "/rates"), Value::Null, &["currency"])
        .await;
    assert_eq!(
        shop.get("/rates?currency=EUR").await.body,
        listed,
        "what was refused changed nothing"
    );
}
