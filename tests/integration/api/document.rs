//! `/openapi.json` is complete: each route has examples, and each example matches its schema.

use super::edge::Service;
use jsonschema::Validator;
use serde_json::{Value, json};

fn validator(document: &Value, schema: &Value) -> Validator {
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::options()
        .should_validate_formats(true)
        .build(&whole)
        .expect("a schema")
}

/// Returns the schema that a `$ref` names, or the schema itself.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"]
        .as_str()
        .and_then(|path| document.pointer(path.trim_start_matches('#')))
        .unwrap_or(schema)
}

/// Returns all operations, by method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
        .collect()
}

#[tokio::test]
async fn every_json_body_has_examples_and_each_is_valid() {
    let service = Service::start("examples").await;
    let document = service.get("/openapi.json").await.body;
    let mut seen = 0;
    for (name, operation) in operations(&document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let schema = resolved(&document, schema);
        let all: Vec<&Value> = match schema["oneOf"].as_array() {
            Some(kinds) => kinds.iter().map(|kind| resolved(&document, kind)).collect(),
            None => vec![schema],
        };
        for one in all.into_iter().filter(|one| one["properties"].is_object()) {
            let examples = one["examples"]
                .as_array()
                .unwrap_or_else(|| panic!("{name} has no example"));
            for example in examples {
                seen += 1;
                if let Err(error) = validator(&document, one).validate(example) {
                    panic!("{name}: {example}: {error}");
                }
            }
        }
    }
    assert!(seen > 25, "{seen}");
}

#[tokio::test]
async fn every_answer_has_an_example_and_it_is_valid() {
    let service = Service::start("answers").await;
    let document = service.get("/openapi.json").await.body;
    let (mut seen, mut wrong) = (0, Vec::new());
    for (name, operation) in operations(&document) {
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            let Some(content) = answer["content"].get("application/json") else {
                continue;
            };
            seen += 1;
            if let Err(error) =
                validator(&document, &content["schema"]).validate(&content["example"])
            {
                wrong.push(format!(
                    "{name} {status}: at {}: {error}: {}",
                    error.instance_path, content["example"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 50, "{seen}");
}

#[tokio::test]
async fn every_operation_has_a_summary_and_more_than_one_answer() {
    let service = Service::start("says").await;
    let document = service.get("/openapi.json").await.body;
    for (name, operation) in operations(&document) {
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|text| text.ends_with('.')),
            "{name}"
        );
        assert!(
            operation["responses"]
                .as_object()
                .is_some_and(|answers| answers.len() > 1),
            "{name}: {operation}"
        );
    }
}

#[tokio::test]
async fn each_route_names_the_address_that_serves_it() {
    const PUBLIC: &str = "https://settle.example.com/base";
    let documents = async |variables: &[(&str, &str)]| {
        let service = Service::with("servers", variables).await;
        let device = service.get("/openapi/device.json").await.body;
        assert_eq!(device["servers"][0]["url"], PUBLIC, "{variables:?}");
        service.get("/openapi.json").await.body
    };
    let document = documents(&[("SETTLE_ADMIN_LISTEN", "127.0.0.1:9000")]).await;
    assert_eq!(document["servers"][0]["url"], "http://127.0.0.1:9000");
    let public = [
        "/livez",
        "/openapi/device.json",
        "/v1/stores/",
        "/v1/device/",
        "/api/v1/events/schema/",
    ];
    for (name, operation) in operations(&document) {
        let is_public = public.iter().any(|path| name.contains(path));
        let expected = if is_public {
            json!(PUBLIC)
        } else {
            Value::Null
        };
        assert_eq!(operation["servers"][0]["url"], expected, "{name}");
    }
    let document = documents(&[("SETTLE_ADMIN_LISTEN", "0.0.0.0:9000")]).await;
    assert_eq!(
        document["servers"][0]["url"], "/",
        "no client can call 0.0.0.0"
    );
    let document = documents(&[("SETTLE_ADMIN_ON_LISTEN", "true")]).await;
    assert_eq!(document["servers"][0]["url"], PUBLIC);
    assert!(
        operations(&document)
            .iter()
            .all(|(_, operation)| operation["servers"].is_null()),
        "one address"
    );
}

#[tokio::test]
async fn a_valid_request_is_refused_by_a_rule_that_the_document_names() {
    let service = Service::start("rules").await;
    let (app, platform) = service.platform().await;
    let document = service.get("/openapi.json").await.body;
    let of_app = |path: &str| {
        (
            format!("/v1/apps/{app}/{path}"),
            format!("/v1/apps/{{app_id}}/{path}"),
        )
    };
    let of_all = |path: &str| (format!("/v1/{path}"), format!("/v1/{path}"));
    let product = json!({ "sku": "year", "entitlements": [] });
    let hook = json!({ "kind": "webhook", "name": "hook", "url": "https://example.com/hook", "events": ["odd"] });
    let named = json!({ "external_id": "anna", "app_user_id": "u1", "receipt_id": "r1" });
    let fire = json!({ "name": "fire", "store": "amazon", "package_name": "com.example.a", "topic_arn": "arn" });
    let erased =
        json!({ "by": "anna", "reason": "ticket", "external_id": "anna", "app_user_id": "u1" });
    let of_platform = (
        format!("/v1/platforms/{platform}"),
        "/v1/platforms/{platform_id}".to_owned(),
    );
    let refused = [
        (
            "post",
            of_all("keys"),
            json!({ "name": "k", "role": "read", "expires_at": "2020-01-01T00:00:00Z" }),
        ),
        (
            "post",
            of_all("sign-in-links"),
            json!({ "name": "(anna)", "role": "metrics" }),
        ),
        (
            "post",
            of_all("resends"),
            json!({ "all": true, "failed": true }),
        ),
        ("post", of_app("destinations"), hook),
        ("post", of_app("platforms"), fire),
        (
            "patch",
            of_platform,
            json!({ "window_seconds": 60, "max_wait_seconds": 1 }),
        ),
        ("post", of_app("customers/erase"), erased),
        (
            "post",
            of_app("customers/move"),
            json!({ "from": {}, "external_id": "anna", "reason": "ticket" }),
        ),
        ("put", of_app("customers"), named),
        (
            "put",
            of_app("catalogue"),
            json!({ "entitlements": [], "products": [product, product] }),
        ),
        (
            "put",
            of_app("rates"),
            json!({ "rates": [{ "day": "2026-01-31", "currency": "USD", "usd": "1" }] }),
        ),
    ];
    for (method, (path, template), body) in refused {
        let schema = &document["paths"][&template][method]["requestBody"]["content"]["application/json"]
            ["schema"];
        assert!(
            validator(&document, schema).is_valid(&body),
            "{path}: {body}"
        );
        let answer = service
            .send_json(&method.to_uppercase(), &path, &body)
            .await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert!(!answer.wrong_fields().is_empty(), "{path}: {}", answer.body);
        for field in answer.wrong_fields() {
            assert!(
                has_rule(&document, schema, field),
                "{path}: `{field}` has no rule: {}",
                answer.body
            );
        }
    }
}

/// Returns whether an error's field has an `x-rule` in a schema or in one of its alternatives.
fn has_rule(document: &Value, schema: &Value, field: &str) -> bool {
    let has_own = !schema["x-rule"].is_null();
    let schema = resolved(document, schema);
    let has_own = has_own || !schema["x-rule"].is_null();
    let alternatives = ["anyOf", "oneOf"]
        .into_iter()
        .filter_map(|name| schema[name].as_array())
        .flatten();
    let mut within = alternatives.chain(schema.get("items"));
    if field.is_empty() && has_own || within.any(|one| has_rule(document, one, field)) {
        return true;
    }
    let (name, rest) = field.split_once('.').unwrap_or((field, ""));
    let name = name.split('[').next().unwrap_or_default();
    match schema["properties"].get(name) {
        Some(property) => has_rule(document, property, rest),
        None => name == "body" && has_own,
    }
}
