//! The catalogue and the exchange rates.

use super::Shop;
use serde_json::{Value, json};

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
