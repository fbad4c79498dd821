//! The catalogue: a change is counted first, then made with its reason; mistakes stand at their fields.

use super::visitor::Visitor;
use crate::api::edge::{Service, TOKEN};
use serde_json::{Value, json};

async fn act_of(service: &Service, operation: &str) -> Value {
    service.get(&format!("/v1/acts?operation={operation}")).await.body["items"].clone()
}

#[tokio::test]
async fn a_change_of_the_catalogue_is_counted_first() {
    let service = Service::start("catalogue").await;
    let (app, _) = service.platform().await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a session");
    let only = visitor.get(&service, "/ui/catalogue").await;
    let page = format!("/ui/apps/{app}/catalogue");
    assert_eq!((only.status, only.header("location")), (303, page.as_str()));
    let entitlement = [("ref", "gold"), ("name", "Gold"), ("reason", "ticket 1")];
    let counted = visitor.post(&service, &format!("{page}/entitlement"), &entitlement).await;
    assert_eq!(counted.status, 200);
    assert!(counted.text.contains("This concerns 0 purchases"), "{}", counted.text);
    assert_eq!(service.get(&format!("/v1/apps/{app}/entitlements")).await.body["items"], json!([]), "not made yet");
    let confirmed: Vec<_> = entitlement.into_iter().chain([("confirmed", "yes")]).collect();
    let done = visitor.post(&service, &format!("{page}/entitlement"), &confirmed).await;
    assert_eq!((done.status, done.header("location")), (303, format!("{page}?settled=0").as_str()));
    let product = [
        ("sku", "com.example.gold"),
        ("entitlements", "gold"),
        ("prices", "* USD 4.99\nDE EUR 4.49 2026-03-01"),
        ("reason", "ticket 2"),
        ("confirmed", "yes"),
    ];
    assert_eq!(visitor.post(&service, &format!("{page}/product"), &product).await.status, 303);
    let stored = service.get(&format!("/v1/apps/{app}/products/com.example.gold")).await.body;
    let prices = json!([
        { "currency": "USD", "price": "4.99" },
        { "country": "DE", "currency": "EUR", "price": "4.49", "since": "2026-03-01" },
    ]);
    assert_eq!((&stored["entitlements"], &stored["prices"]), (&json!(["gold"]), &prices), "{stored}");
    let acts = act_of(&service, "product.set").await;
    assert_eq!((&acts[0]["reason"], &acts[1]), (&json!("ticket 2"), &Value::Null), "{acts}");
    let shown = visitor.get(&service, &format!("{page}/product?sku=com.example.gold")).await;
    assert!(shown.text.contains("DE EUR 4.49 2026-03-01"), "{}", shown.text);
    let again = visitor.post(&service, &format!("{page}/product"), &product).await;
    assert_eq!(again.status, 400, "a new product replaces none: {}", again.text);
    assert!(again.text.contains("it exists already"), "{}", again.text);
    let removal = [("sku", "com.example.gold"), ("reason", "ticket 3"), ("confirmed", "yes")];
    assert_eq!(visitor.post(&service, &format!("{page}/product-removal"), &removal).await.status, 303);
    assert_eq!(service.get(&format!("/v1/apps/{app}/products")).await.body["items"], json!([]));
}

#[tokio::test]
async fn a_wrong_product_names_the_line_of_its_price() {
    let service = Service::start("catalogue-mistakes").await;
    let (app, _) = service.platform().await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a session");
    let page = format!("/ui/apps/{app}/catalogue");
    let hostile = "\"'><script>alert(1)</script>";
    for (part, fields, expected) in [
        ("product", vec![("sku", "a"), ("prices", "* USD 1\nDE euro 2"), ("reason", "r")], "in line 2"),
        ("product", vec![("sku", "a"), ("prices", "* USD 1")], "why, in at most 1000 letters"),
        ("product", vec![("sku", ""), ("reason", "r")], "a text of at most 200 letters"),
        ("entitlement", vec![("ref", "a"), ("reason", "r")], "name"),
        ("whole", vec![("catalogue", "{"), ("reason", "r")], "a JSON object"),
        ("whole", vec![("catalogue", hostile), ("reason", "r")], "a JSON object"),
        ("whole", vec![("catalogue", "{\"products\":[]}"), ("reason", "r")], "entitlements"),
        (
            "whole",
            vec![("catalogue", "{\"products\":[],\"entitlements\":[]}"), ("based_on", "old"), ("reason", "r")],
            "somebody else changed it",
        ),
    ] {
        let fields: Vec<_> = fields.into_iter().chain([("confirmed", "yes")]).collect();
        let wrong = visitor.post(&service, &format!("{page}/{part}"), &fields).await;
        assert_eq!(wrong.status, 400, "{part} {fields:?}: {}", wrong.text);
        assert!(wrong.text.contains(expected) && wrong.text.contains("role=\"alert\""), "{expected}: {}", wrong.text);
        assert!(!wrong.text.contains("<script>alert"), "{}", wrong.text);
    }
    assert_eq!(service.get(&format!("/v1/apps/{app}/catalogue")).await.body["products"], json!([]));
}

#[tokio::test]
async fn an_alarm_is_acknowledged_with_a_note() {
    let service = Service::start("alarms").await;
    let (_, platform) = service.platform().await;
    service.store.alarm(Some(platform), "topic_pending", "a topic waits").await.expect("an alarm");
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a session");
    let id = service.get("/v1/alarms").await.body["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/ui/alarms/{id}/acknowledge");
    let wrong = visitor.post(&service, &path, &[]).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains(&format!("aria-describedby=\"wrong-{id}\"")), "{}", wrong.text);
    let done = visitor.post(&service, &path, &[("reason", "it is Amazon's")]).await;
    assert_eq!((done.status, done.header("location")), (303, "/ui/alarms"));
    let open = visitor.get(&service, "/ui/alarms").await;
    assert!(open.text.contains("No alarm is open"), "{}", open.text);
    let all = visitor.get(&service, "/ui/alarms?which=all").await;
    assert!(all.text.contains("it is Amazon&#39;s"), "{}", all.text);
    let acts = act_of(&service, "alarm.acknowledge").await;
    assert_eq!(acts[0]["reason"], "it is Amazon's", "{acts}");
}

#[tokio::test]
async fn filters_of_purchases_are_those_of_the_api() {
    let service = Service::start("purchase-filters").await;
    service.platform().await;
    service.seed(&["receipt-1", "receipt-2"]).await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a session");
    for query in ["held=true", "failing=true", "state=expired"] {
        let none = visitor.get(&service, &format!("/ui/purchases?{query}")).await;
        assert!(none.text.contains("No purchase fits"), "{query}: {}", none.text);
        assert!(none.text.contains(&format!("$SETTLE_URL/v1/purchases?{query}&#34;")), "{query}");
    }
    for (query, field) in [("state=sold", "state"), ("held=perhaps", "held"), ("platform_id=1", "platform_id")] {
        let wrong = visitor.get(&service, &format!("/ui/purchases?{query}")).await;
        assert_eq!(wrong.status, 400, "{query}");
        assert!(wrong.text.contains(field), "{query}: {}", wrong.text);
    }
}
