//! The catalogue: the page first shows how many customers a change affects, then applies it with a reason; errors are
//! shown at their fields.

use super::visitor::Visitor;
use crate::api::edge::{Service, TOKEN};
use domain::PlatformId;
use serde_json::{Value, json};
use system_tests::rows;

pub async fn entries_of(service: &Service, operation: &str) -> Value {
    service
        .get(&format!("/v1/audit-log?operation={operation}"))
        .await
        .body["items"]
        .clone()
}

/// Adds an entitlement with the form: the number of affected customers is shown first, then the change is confirmed.
async fn add_entitlement(service: &Service, visitor: &Visitor, app: &str, page: &str) {
    let entitlement = [("ref", "gold"), ("name", "Gold"), ("reason", "ticket 1")];
    let counted = visitor
        .post(service, &format!("{page}/entitlement"), &entitlement)
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
        .post(service, &format!("{page}/entitlement"), &confirmed)
        .await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, format!("{page}?settled=0").as_str())
    );
}

#[tokio::test]
async fn a_change_of_the_catalogue_is_counted_first() {
    let service = Service::start("catalogue").await;
    let (app, _) = service.platform().await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let only = visitor.get(&service, "/ui/catalogue").await;
    let page = format!("/ui/apps/{app}/catalogue");
    assert_eq!((only.status, only.header("location")), (303, page.as_str()));
    add_entitlement(&service, &visitor, &app, &page).await;
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
            "a reason: it is required",
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

/// Returns the value of `based_on` in a form of a page.
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

/// Checks that every role sees how many customers the alarm affects, and that only roles that may add the product see
/// the link.
async fn check_alarm(service: &Service, visitor: &Visitor, app: &str) {
    let add = format!("<a href=\"/ui/apps/{app}/catalogue/product?sku=radio.monthly\">Add it</a>");
    let support = service
        .send_json(
            "POST",
            "/v1/keys",
            &json!({ "name": "agent", "role": "support" }),
        )
        .await
        .body;
    let agent = Visitor::with_key(service, support["key"].as_str().expect("a key"))
        .await
        .expect("a sign-in");
    for page in ["/ui/", "/ui/alarms"] {
        let shown = visitor.get(service, page).await.text;
        assert!(
            shown.contains("Affected now: 3 customers.") && shown.contains(&add),
            "{page}: {shown}"
        );
        let shown = agent.get(service, page).await.text;
        assert!(
            shown.contains("Affected now: 3 customers.") && !shown.contains("Add it"),
            "{page}: {shown}"
        );
    }
}

/// Creates the alarm about three customers who bought a product that is not in the catalogue.
async fn unlisted_product(service: &Service, app: &str, platform: PlatformId) {
    let detail = "`radio.monthly` is not in the catalogue, so customers who bought it get no access: add it, without \
                  entitlements if it gives none on purpose; `settle product set --help`";
    service
        .store
        .alarm(Some(platform), "product_unlisted", detail)
        .await
        .expect("an alarm");
    let bought = rows::purchases(platform, app)
        .numbered(1, 3)
        .sql("collapse_key", "'k' || i");
    let bought = bought
        .sql("receipt_id", "'r' || i")
        .text("term_sku", "radio.monthly");
    service.raw(&bought.text("environment", "production"));
}

#[tokio::test]
async fn a_missing_product_is_added_together_with_its_entitlement() {
    let service = Service::start("catalogue-missing").await;
    let (app, platform) = service.platform().await;
    unlisted_product(&service, &app, platform).await;
    let open = async || service.get("/v1/alarms?open=true").await.body["items"].clone();
    assert_eq!(open().await[0]["customers"], 3);
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    check_alarm(&service, &visitor, &app).await;
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
