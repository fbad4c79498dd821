//! The catalogue: a change is counted first, then made with its reason; mistakes stand at their fields.

use super::visitor::Visitor;
use crate::api::edge::{Service, TOKEN};
use domain::DestinationId;
use serde_json::{Value, json};
use storage::About;
use system_tests::rows;

async fn entries_of(service: &Service, operation: &str) -> Value {
    service
        .get(&format!("/v1/audit-log?operation={operation}"))
        .await
        .body["items"]
        .clone()
}

#[tokio::test]
async fn a_change_of_the_catalogue_is_counted_first() {
    let service = Service::start("catalogue").await;
    let (app, _) = service.platform().await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let only = visitor.get(&service, "/ui/catalogue").await;
    let page = format!("/ui/apps/{app}/catalogue");
    assert_eq!((only.status, only.header("location")), (303, page.as_str()));
    let entitlement = [("ref", "gold"), ("name", "Gold"), ("reason", "ticket 1")];
    let counted = visitor
        .post(&service, &format!("{page}/entitlement"), &entitlement)
        .await;
    assert_eq!(counted.status, 200);
    assert!(
        counted.text.contains("This affects 0 purchases"),
        "{}",
        counted.text
    );
    assert_eq!(
        service
            .get(&format!("/v1/apps/{app}/entitlements"))
            .await
            .body["items"],
        json!([]),
        "not made yet"
    );
    let confirmed: Vec<_> = entitlement
        .into_iter()
        .chain([("confirmed", "yes")])
        .collect();
    let done = visitor
        .post(&service, &format!("{page}/entitlement"), &confirmed)
        .await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, format!("{page}?settled=0").as_str())
    );
    let product = [
        ("sku", "com.example.gold"),
        ("entitlements", "gold"),
        ("prices", "* USD 4.99\nDE EUR 4.49 2026-03-01"),
        ("reason", "ticket 2"),
        ("confirmed", "yes"),
    ];
    assert_eq!(
        visitor
            .post(&service, &format!("{page}/product"), &product)
            .await
            .status,
        303
    );
    let stored = service
        .get(&format!("/v1/apps/{app}/products/com.example.gold"))
        .await
        .body;
    let prices = json!([
        { "currency": "USD", "price": "4.99" },
        { "country": "DE", "currency": "EUR", "price": "4.49", "since": "2026-03-01" },
    ]);
    assert_eq!(
        (&stored["entitlements"], &stored["prices"]),
        (&json!(["gold"]), &prices),
        "{stored}"
    );
    let entries = entries_of(&service, "product.set").await;
    assert_eq!(
        (&entries[0]["reason"], &entries[1]),
        (&json!("ticket 2"), &Value::Null),
        "{entries}"
    );
    let shown = visitor
        .get(&service, &format!("{page}/product?sku=com.example.gold"))
        .await;
    assert!(
        shown.text.contains("DE EUR 4.49 2026-03-01"),
        "{}",
        shown.text
    );
    let again = visitor
        .post(&service, &format!("{page}/product"), &product)
        .await;
    assert_eq!(
        again.status, 409,
        "a new product replaces none: {}",
        again.text
    );
    assert!(again.text.contains("it already exists"), "{}", again.text);
    let based_on = based_on(&shown.text);
    let removal = [
        ("sku", "com.example.gold"),
        ("based_on", based_on.as_str()),
        ("reason", "ticket 3"),
    ];
    let counted_removal = visitor
        .post(&service, &format!("{page}/product-removal"), &removal)
        .await;
    assert!(
        counted_removal
            .text
            .contains("entitlements (gold) will be deleted"),
        "{}",
        counted_removal.text
    );
    let removal: Vec<_> = removal.into_iter().chain([("confirmed", "yes")]).collect();
    assert_eq!(
        visitor
            .post(&service, &format!("{page}/product-removal"), &removal)
            .await
            .status,
        303
    );
    assert_eq!(
        service.get(&format!("/v1/apps/{app}/products")).await.body["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_wrong_product_names_the_line_of_its_price() {
    let service = Service::start("catalogue-mistakes").await;
    let (app, _) = service.platform().await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let page = format!("/ui/apps/{app}/catalogue");
    let hostile = "\"'><script>alert(1)</script>";
    for (part, fields, expected) in [
        (
            "product",
            vec![
                ("sku", "a"),
                ("prices", "* USD 1\nDE euro 2"),
                ("reason", "r"),
            ],
            "in line 2",
        ),
        (
            "product",
            vec![("sku", "a"), ("prices", "* USD 1")],
            "a reason of at most 1000 characters",
        ),
        (
            "product",
            vec![("sku", ""), ("reason", "r")],
            "text of at most 200 characters",
        ),
        ("entitlement", vec![("ref", "a"), ("reason", "r")], "name"),
        (
            "whole",
            vec![("catalogue", "{"), ("reason", "r")],
            "a JSON object",
        ),
        (
            "whole",
            vec![("catalogue", hostile), ("reason", "r")],
            "a JSON object",
        ),
        (
            "whole",
            vec![("catalogue", "{\"products\":[]}"), ("reason", "r")],
            "entitlements",
        ),
    ] {
        let fields: Vec<_> = fields.into_iter().chain([("confirmed", "yes")]).collect();
        let wrong = visitor
            .post(&service, &format!("{page}/{part}"), &fields)
            .await;
        assert_eq!(wrong.status, 400, "{part} {fields:?}: {}", wrong.text);
        assert!(
            wrong.text.contains(expected) && wrong.text.contains("role=\"alert\""),
            "{expected}: {}",
            wrong.text
        );
        assert!(!wrong.text.contains("<script>alert"), "{}", wrong.text);
    }
    let old = [
        ("catalogue", "{\"products\":[],\"entitlements\":[]}"),
        ("based_on", "old"),
        ("reason", "r"),
    ];
    let stale = visitor.post(&service, &format!("{page}/whole"), &old).await;
    assert_eq!(stale.status, 409);
    assert!(
        stale.text.contains("someone else changed it") && stale.text.contains("value=\"r\""),
        "{}",
        stale.text
    );
    assert_eq!(
        based_on(&stale.text),
        "old",
        "sent again, it is still refused"
    );
    assert_eq!(
        service.get(&format!("/v1/apps/{app}/catalogue")).await.body["products"],
        json!([])
    );
}

/// What a form of a page is based on.
fn based_on(page: &str) -> String {
    let rest = page
        .split("name=\"based_on\" value=\"")
        .nth(1)
        .expect("a form of what exists");
    rest.split('"').next().expect("a value").to_owned()
}

#[tokio::test]
async fn of_two_forms_of_the_same_product_one_is_taken() {
    let service = Service::start("catalogue-race").await;
    let (app, _) = service.platform().await;
    let product = json!({ "name": "before", "entitlements": [] });
    let path = format!("/v1/apps/{app}/products/gold");
    assert_eq!(service.send_json("PUT", &path, &product).await.status, 200);
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let page = format!("/ui/apps/{app}/catalogue");
    let shown = visitor
        .get(&service, &format!("{page}/product?sku=gold"))
        .await;
    let based_on = based_on(&shown.text);
    let change = async |name: &str| {
        let fields = [
            ("sku", "gold"),
            ("name", name),
            ("based_on", &based_on),
            ("reason", "ticket 1"),
            ("confirmed", "yes"),
        ];
        visitor
            .post(&service, &format!("{page}/product"), &fields)
            .await
    };
    let (one, other) = tokio::join!(change("one"), change("other"));
    let (won, lost) = if one.status == 303 {
        ("one", other)
    } else {
        ("other", one)
    };
    assert_eq!(lost.status, 409, "{}", lost.text);
    assert!(
        lost.text.contains("someone else changed it") && lost.text.contains("ticket 1"),
        "{}",
        lost.text
    );
    assert_eq!(service.get(&path).await.body["name"], won);
    let removal = [
        ("sku", "gold"),
        ("based_on", &based_on),
        ("reason", "ticket 2"),
        ("confirmed", "yes"),
    ];
    let stale = visitor
        .post(&service, &format!("{page}/product-removal"), &removal)
        .await;
    assert_eq!(stale.status, 409, "{}", stale.text);
    assert!(
        stale.text.contains("value=\"ticket 2\"") && stale.text.contains(won),
        "{}",
        stale.text
    );
    assert_eq!(
        service.get(&path).await.body["name"],
        won,
        "it is still there"
    );
}

#[tokio::test]
async fn more_unmapped_products_than_fit_are_not_left_out_silently() {
    let service = Service::start("unmapped").await;
    let (app, platform) = service.platform().await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let page = format!("/ui/apps/{app}/catalogue");
    let empty = visitor.get(&service, &page).await.text;
    assert!(
        empty.contains("No products yet") && !empty.contains("Bought but not in the catalogue"),
        "{empty}"
    );
    for (from, until, has_more) in [(1, 1000, false), (1001, 1001, true)] {
        let purchases = rows::purchases(platform, &app)
            .numbered(from, until)
            .sql("collapse_key", "'k' || i");
        service.raw(
            &purchases
                .sql("receipt_id", "'r' || i")
                .sql("term_sku", "'sku' || i"),
        );
        let shown = visitor.get(&service, &page).await;
        assert_eq!(
            shown.text.contains("Only the 1000 most bought are shown."),
            has_more,
            "{until}"
        );
        let listed = service
            .get(&format!("/v1/apps/{app}/catalogue/unmapped"))
            .await;
        assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1000));
    }
}

#[tokio::test]
async fn a_missing_product_is_added_together_with_its_entitlement() {
    let service = Service::start("catalogue-missing").await;
    let (app, platform) = service.platform().await;
    let detail = "`radio.monthly` is not in the catalogue, so customers who bought it get no access: add it, without \
                  entitlements if it gives none on purpose; `settle product set --help`";
    service
        .store
        .alarm(Some(platform), "product_unlisted", detail)
        .await
        .expect("an alarm");
    let bought = rows::purchases(platform, &app)
        .numbered(1, 3)
        .sql("collapse_key", "'k' || i");
    let bought = bought
        .sql("receipt_id", "'r' || i")
        .text("term_sku", "radio.monthly");
    service.raw(&bought.text("environment", "production"));
    let open = async || service.get("/v1/alarms?open=true").await.body["items"].clone();
    assert_eq!(open().await[0]["customers"], 3);
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let add = format!("<a href=\"/ui/apps/{app}/catalogue/product?sku=radio.monthly\">Add it</a>");
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
    for page in ["/ui/", "/ui/alarms"] {
        let shown = visitor.get(&service, page).await.text;
        assert!(
            shown.contains("Affected now: 3 customers.") && shown.contains(&add),
            "{page}: {shown}"
        );
        let shown = agent.get(&service, page).await.text;
        assert!(
            shown.contains("Affected now: 3 customers.") && !shown.contains("Add it"),
            "{page}: {shown}"
        );
    }
    let page = format!("/ui/apps/{app}/catalogue");
    let form = visitor
        .get(&service, &format!("{page}/product?sku=radio.monthly"))
        .await
        .text;
    assert!(
        form.contains("name=\"new_entitlement\"") && form.contains("value=\"radio.monthly\""),
        "{form}"
    );
    let long = "x".repeat(201);
    let send = async |fields: &[(&str, &str)]| {
        let all: Vec<_> = [("reason", "ticket 1")]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        visitor
            .post(&service, &format!("{page}/product"), &all)
            .await
    };
    for (wrong, expected) in [
        (
            ("new_entitlement", long.as_str()),
            "text of at most 200 characters",
        ),
        (("new_entitlement", "null"), "id=\"wrong-new\""),
    ] {
        let refused = send(&[("sku", "radio.monthly"), wrong]).await;
        assert_eq!(refused.status, 400, "{wrong:?}: {}", refused.text);
        assert!(
            refused.text.contains(expected),
            "{wrong:?}: {}",
            refused.text
        );
    }
    let fields = [
        ("sku", "radio.monthly"),
        ("new_entitlement", "premium"),
        ("new_entitlement_name", "Premium access"),
    ];
    let counted = send(&fields).await.text;
    for part in [
        "The entitlement premium will be added",
        "This affects 3 purchases",
    ] {
        assert!(counted.contains(part), "{part}: {counted}");
    }
    assert_eq!(
        service
            .get(&format!("/v1/apps/{app}/entitlements"))
            .await
            .body["items"],
        json!([]),
        "not made yet"
    );
    let confirmed: Vec<_> = fields.into_iter().chain([("confirmed", "yes")]).collect();
    let done = send(&confirmed).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let stored = service.get(&format!("/v1/apps/{app}/catalogue")).await.body;
    assert_eq!(
        stored["products"][0]["entitlements"],
        json!(["premium"]),
        "{stored}"
    );
    assert_eq!(
        stored["entitlements"][0]["name"], "Premium access",
        "{stored}"
    );
    let entries = entries_of(&service, "product.set").await;
    assert_eq!(
        entries[0]["after"]["entitlements"]["premium"]["name"], "Premium access",
        "{entries}"
    );
    assert_eq!(open().await, json!([]), "the alarm closed itself");
    let twice = send(&[("sku", "radio.yearly"), ("new_entitlement", "premium")]).await;
    assert_eq!(twice.status, 400, "{}", twice.text);
    assert!(
        twice.text.contains("exists, so choose it above"),
        "{}",
        twice.text
    );
    assert!(twice.text.contains("value=\"premium\""), "{}", twice.text);
}

#[tokio::test]
async fn an_alarm_is_acknowledged_with_a_note() {
    let service = Service::start("alarms").await;
    let (_, platform) = service.platform().await;
    service
        .store
        .alarm(Some(platform), "topic_pending", "a topic waits")
        .await
        .expect("an alarm");
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let id = service.get("/v1/alarms").await.body["items"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/ui/alarms/{id}/acknowledge");
    let wrong = visitor.post(&service, &path, &[]).await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong
            .text
            .contains(&format!("aria-describedby=\"wrong-{id}\"")),
        "{}",
        wrong.text
    );
    assert!(
        wrong
            .text
            .contains(&format!("/ui/connect/platforms/{platform}/topics")),
        "{}",
        wrong.text
    );
    let done = visitor
        .post(&service, &path, &[("reason", "it is Amazon's")])
        .await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/ui/alarms?done=acknowledge")
    );
    let open = visitor.get(&service, "/ui/alarms").await;
    assert!(open.text.contains("No open alarms"), "{}", open.text);
    let all = visitor.get(&service, "/ui/alarms?which=all").await;
    assert!(all.text.contains("it is Amazon&#39;s"), "{}", all.text);
    let entries = entries_of(&service, "alarm.acknowledge").await;
    assert_eq!(entries[0]["reason"], "it is Amazon's", "{entries}");
}

#[tokio::test]
async fn nobody_acknowledges_an_alarm_that_they_did_not_see() {
    let service = Service::start("alarm-seen").await;
    let (app, platform) = service.platform().await;
    let raise = async || {
        service
            .store
            .alarm(Some(platform), "odd", "it waits")
            .await
            .expect("an alarm")
    };
    raise().await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let read = async || service.get("/v1/alarms").await.body["items"][0].clone();
    let alarm = read().await;
    assert_eq!(alarm["app_id"], app, "{alarm}");
    let text = |name: &str| alarm[name].as_str().expect("a text").to_owned();
    let path = format!("/ui/alarms/{}/acknowledge", text("id"));
    let post = async |seen: &str, note: &str| {
        visitor
            .post(&service, &path, &[("last_at", seen), ("reason", note)])
            .await
    };
    raise().await;
    let refused = post(&text("last_at"), "I saw one").await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    for part in [
        "raised again",
        "value=\"I saw one\"",
        "role=\"alert\"",
        "2 times since <time",
        "; latest: <time",
    ] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    assert_eq!(read().await["acknowledged_at"], Value::Null);
    let now = read().await["last_at"].as_str().expect("a time").to_owned();
    assert_eq!(post(&now, "I saw both").await.status, 303);
    let late = post(&now, "me too").await;
    assert_eq!(
        late.status, 409,
        "it is not in the list of open ones, and shown all the same"
    );
    assert!(
        late.text.contains("admin token already acknowledged it"),
        "{}",
        late.text
    );
    assert_eq!(read().await["note"], "I saw both");
    let long = post(&now, &"字".repeat(900)).await;
    assert_eq!(long.status, 400, "{}", long.text);
    let body = json!({ "note": "by the API", "last_at": text("last_at") });
    let by_api = service
        .send_json(
            "POST",
            &format!("/v1/alarms/{}/acknowledge", text("id")),
            &body,
        )
        .await;
    assert_eq!(by_api.status, 409, "{}", by_api.body);
}

#[tokio::test]
async fn an_alarm_of_a_destination_is_of_its_app() {
    let service = Service::start("alarm-app").await;
    let (app, _) = service.platform().await;
    let hook = json!({ "kind": "webhook", "name": "billing", "url": "https://example.com/hooks" });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await
        .body;
    let id: DestinationId = hook["id"].as_str().expect("an id").parse().expect("an id");
    let about = About::Destination(id);
    service
        .store
        .alarm(about, "destination", "billing: it is disabled")
        .await
        .expect("an alarm");
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await
        .body["id"]
        .clone();
    for (of, name, is_shown) in [(json!(app), "own", true), (other, "other", false)] {
        let body = json!({ "name": name, "role": "support", "app_id": of });
        let key = service.send_json("POST", "/v1/keys", &body).await.body["key"]
            .as_str()
            .expect("a key")
            .to_owned();
        let visitor = Visitor::with_key(&service, &key).await.expect("a sign-in");
        let page = visitor.get(&service, "/ui/alarms").await;
        assert_eq!(
            page.text
                .contains(&format!("href=\"/ui/destinations/{id}\"")),
            is_shown,
            "{name}: {}",
            page.text
        );
        let alarm = service.get("/v1/alarms").await.body["items"][0]["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let path = format!("/ui/alarms/{alarm}/acknowledge");
        let answer = visitor.post(&service, &path, &[("reason", "I know")]).await;
        assert_eq!(
            answer.status,
            if is_shown { 303 } else { 404 },
            "{name}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn filters_of_purchases_are_those_of_the_api() {
    let service = Service::start("purchase-filters").await;
    service.platform().await;
    service.seed(&["receipt-1", "receipt-2"]).await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    for query in ["held=true", "failing=true", "state=expired"] {
        let none = visitor
            .get(&service, &format!("/ui/purchases?{query}"))
            .await;
        assert!(
            none.text.contains("No purchases match"),
            "{query}: {}",
            none.text
        );
        assert!(
            none.text
                .contains(&format!("$SETTLE_URL/v1/purchases?{query}&#34;")),
            "{query}"
        );
    }
    for (query, field) in [
        ("state=sold", "state"),
        ("held=perhaps", "held"),
        ("platform_id=1", "platform_id"),
    ] {
        let wrong = visitor
            .get(&service, &format!("/ui/purchases?{query}"))
            .await;
        assert_eq!(wrong.status, 400, "{query}");
        assert!(wrong.text.contains(field), "{query}: {}", wrong.text);
    }
}
