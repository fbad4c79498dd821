//! `/openapi.json` documents exactly the fields of a destination.

use super::{create, desk, desk_with_mail, mails, webhook};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const MAIL_SERVER: &str = "smtps://mail.example.com";

fn names(value: &Value) -> BTreeSet<String> {
    value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect()
}

fn properties(document: &Value, schema: &str) -> BTreeSet<String> {
    names(&document["components"]["schemas"][schema]["properties"])
}

#[tokio::test]
async fn shown_and_documented_fields_of_each_kind_agree() {
    let (service, list) = desk_with_mail("documented", MAIL_SERVER).await;
    let mut hook = webhook();
    hook["signature"] = json!("v1,v1a");
    hook["device_batch"] = json!(10);
    hook["device_receipts"] = json!(true);
    hook["secret_url"] = json!(true);
    hook["body"] = json!("slack");
    hook["enabled"] = json!(false);
    let mut analytics =
        json!({ "kind": "amplitude", "name": "analytics", "endpoint": "eu", "api_key": "c0ffee" });
    analytics["partner_id"] = json!("shop");
    // Without the key of a sandbox, an integration has a warning.
    let platforms = list.replace("destinations", "platforms");
    let platform = service.get(&platforms).await.body["items"][0]["id"].clone();
    let platform = format!("/v1/platforms/{}", platform.as_str().expect("an id"));
    let sandbox = json!({ "environment": "sandbox" });
    let changed = service.send_json("PATCH", &platform, &sandbox).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let document = service.get("/openapi.json").await.body;
    let (mut created, mut shown, mut listed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for body in [hook, analytics, mails()] {
        let body_kind = body["kind"].clone();
        let (path, destination) = create(&service, &list, &body).await;
        service
            .send_json("PATCH", &path, &json!({ "enabled": false }))
            .await;
        service
            .send_json("PATCH", &path, &json!({ "enabled": true }))
            .await;
        service
            .send_json("PATCH", &path, &json!({ "enabled": false }))
            .await;
        created.extend(names(&destination));
        if body_kind == "webhook" {
            service
                .send_json("POST", &format!("{path}/rotate-secret"), &Value::Null)
                .await;
        }
        let url =
            "UPDATE destinations SET settings = json_set(settings, '$.url', 'http://example.com/')";
        service.raw(&format!("{url} WHERE kind = 'webhook'"));
        shown.extend(names(&service.get(&path).await.body));
    }
    for item in service.get(&list).await.body["items"]
        .as_array()
        .expect("items")
    {
        listed.extend(names(item));
    }
    created.extend(["reason", "refusal", "old_secret_signs_until"].map(str::to_owned));
    assert_eq!(created, properties(&document, "CreatedDestination"));
    assert_eq!(shown, properties(&document, "DestinationDetail"));
    assert_eq!(listed, properties(&document, "Destination"));
    let health = service.get(&list).await.body["items"][0]["id"]
        .as_str()
        .map(|id| format!("/v1/destinations/{id}"));
    let health = service.get(&health.expect("an id")).await.body["health"].clone();
    assert_eq!(names(&health), properties(&document, "DestinationHealth"));
}

#[tokio::test]
async fn each_documented_field_of_a_change_is_known_to_one_kind() {
    let (service, list) = desk_with_mail("known", MAIL_SERVER).await;
    let analytics =
        json!({ "kind": "amplitude", "name": "analytics", "endpoint": "eu", "api_key": "c0ffee" });
    let document = service.get("/openapi.json").await.body;
    let documented = properties(&document, "DestinationPatch");
    let mut known = BTreeSet::new();
    for body in [webhook(), analytics, mails()] {
        let (path, _) = create(&service, &list, &body).await;
        for field in &documented {
            let answer = service
                .send_json("PATCH", &path, &json!({ field: {} }))
                .await;
            let complaint = answer.body["detail"].to_string();
            if !complaint.contains("no such field") {
                known.insert(field.clone());
            }
        }
    }
    assert_eq!(known, documented);
}

/// Returns whether a schema accepts null.
fn admits_null(document: &Value, schema: &Value) -> bool {
    let named = schema["$ref"]
        .as_str()
        .and_then(|path| document.pointer(path.trim_start_matches('#')));
    let schema = named.unwrap_or(schema);
    let mut alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let types = &schema["type"];
    types == "null"
        || types
            .as_array()
            .is_some_and(|types| types.contains(&json!("null")))
        || alternatives.any(|one| admits_null(document, one))
}

#[tokio::test]
async fn null_is_documented_where_it_resets_a_field() {
    let (service, list) = desk_with_mail("documented-null", MAIL_SERVER).await;
    let keys = json!({ "api_key": "c0ffee", "secret_key": "c0ffee", "sandbox_api_key": "5a17" });
    let mut analytics = json!({ "kind": "amplitude", "name": "analytics", "endpoint": "eu" });
    analytics
        .as_object_mut()
        .expect("an object")
        .extend(keys.as_object().cloned().expect("an object"));
    let document = service.get("/openapi.json").await.body;
    let schemas = &document["components"]["schemas"]["DestinationPatch"]["properties"];
    // For these fields null means the same as absence.
    let silent = ["name", "newest_only", "events", "enabled"];
    for field in names(schemas)
        .into_iter()
        .filter(|field| !silent.contains(&field.as_str()))
    {
        let mut is_taken = false;
        for mut body in [webhook(), analytics.clone(), mails()] {
            body["name"] = json!(format!("{} {field}", body["kind"]));
            let (path, _) = create(&service, &list, &body).await;
            is_taken |= service
                .send_json("PATCH", &path, &json!({ &field: null }))
                .await
                .status
                == 200;
            // An app may have only a few email destinations.
            assert_eq!(
                service
                    .send_json("DELETE", &path, &Value::Null)
                    .await
                    .status,
                204
            );
        }
        assert_eq!(
            admits_null(&document, &schemas[&field]),
            is_taken,
            "{field}"
        );
        let choices = &schemas[&field]["enum"];
        assert!(
            choices.is_null()
                || is_taken
                    == choices
                        .as_array()
                        .is_some_and(|all| all.contains(&Value::Null))
        );
    }
}

#[tokio::test]
async fn the_documented_bounds_of_an_integration_are_the_real_ones() {
    let (service, list) = desk("documented-bounds").await;
    let document = service.get("/openapi.json").await.body;
    let schemas = &document["components"]["schemas"]["NewAmplitude"]["properties"];
    for field in ["rate", "min_id_length", "prefix", "partner_id"] {
        let schema = &schemas[field];
        // An optional field may also be null.
        let schema = schema["anyOf"].get(0).unwrap_or(schema);
        let of_length = |length: &Value| {
            json!("p".repeat(usize::try_from(length.as_u64().expect("a length")).unwrap()))
        };
        let (least, most) = match field {
            "prefix" | "partner_id" => (
                of_length(&schema["minLength"]),
                of_length(&schema["maxLength"]),
            ),
            _ => (schema["minimum"].clone(), schema["maximum"].clone()),
        };
        let (under, over) = match most.as_i64() {
            Some(most) => (
                json!(least.as_i64().expect("a number") - 1),
                json!(most + 1),
            ),
            None => (
                json!(""),
                json!(format!("{}p", most.as_str().expect("a text"))),
            ),
        };
        for (value, status) in [(least, 201), (most, 201), (under, 400), (over, 400)] {
            let mut body = json!({ "kind": "amplitude", "name": format!("{field} {value}"), "endpoint": "eu", "api_key": "c0ffee" });
            body[field] = value.clone();
            assert_eq!(
                service.send_json("POST", &list, &body).await.status,
                status,
                "{field} {value}"
            );
        }
    }
}
