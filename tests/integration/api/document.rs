//! `/openapi.json` is complete: each route has examples, and each example matches its schema.

use super::edge::Service;
use jsonschema::Validator;
use serde_json::{Value, json};

fn validator(document: &Value, schema: &Value) -> Validator {
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::options().should_validate_formats(true).build(&whole).expect("a schema")
}

/// The schema that a `$ref` names, or the schema itself.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"].as_str().and_then(|path| document.pointer(path.trim_start_matches('#'))).unwrap_or(schema)
}

/// All operations, by method and path.
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
            let examples = one["examples"].as_array().unwrap_or_else(|| panic!("{name} has no example"));
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
            let Some(content) = answer["content"].get("application/json") else { continue };
            seen += 1;
            if let Err(error) = validator(&document, &content["schema"]).validate(&content["example"]) {
                wrong.push(format!("{name} {status}: at {}: {error}: {}", error.instance_path, content["example"]));
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
        assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
        assert!(operation["responses"].as_object().is_some_and(|answers| answers.len() > 1), "{name}: {operation}");
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
    let public = ["/livez", "/openapi/device.json", "/v1/stores/", "/v1/device/", "/api/v1/events/schema/"];
    for (name, operation) in operations(&document) {
        let is_public = public.iter().any(|path| name.contains(path));
        let expected = if is_public { json!(PUBLIC) } else { Value::Null };
        assert_eq!(operation["servers"][0]["url"], expected, "{name}");
    }
    let document = documents(&[("SETTLE_ADMIN_LISTEN", "0.0.0.0:9000")]).await;
    assert_eq!(document["servers"][0]["url"], "/", "no client can call 0.0.0.0");
    let document = documents(&[("SETTLE_ADMIN_ON_LISTEN", "true")]).await;
    assert_eq!(document["servers"][0]["url"], PUBLIC);
    assert!(operations(&document).iter().all(|(_, operation)| operation["servers"].is_null()), "one address");
}
