//! Forms: they show exactly the fields that requests accept, and the Amplitude form has its own documented order and
//! names.

use super::edge::Service;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Returns the schema that a `$ref` or a non-null alternative names.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let schema = alternatives
        .find(|one| one["type"] != "null")
        .unwrap_or(schema);
    schema["$ref"]
        .as_str()
        .and_then(|path| document.pointer(path.trim_start_matches('#')))
        .unwrap_or(schema)
}

/// Returns the fields of a schema by path; an object with fields is represented by its fields.
fn paths<'a>(document: &'a Value, schema: &'a Value, place: &str) -> BTreeMap<String, &'a Value> {
    let mut found = BTreeMap::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let (path, inner) = (format!("{place}{name}"), resolved(document, property));
        if inner["properties"].is_object() {
            found.extend(paths(document, inner, &format!("{path}.")));
        } else {
            found.insert(path, property);
        }
    }
    found
}

/// Beginning of the names of the fields that only one store has. No schema describes them.
const OWN: &str = "store_settings.";

/// Fields of a request that a store with fields of its own does not use.
const OF_OTHER_STORES: [&str; 3] = ["shared_secret", "topic_arn", "unknown_receipts"];

/// Fields that only some of the stores with fields of their own have.
const OF_SOME_STORES: [&str; 2] = ["environment", "product_ref"];

fn check(document: &Value, form: &Value, schema: &str, kind_field: &str) {
    let schema = &document["components"]["schemas"][schema];
    let mut expected = paths(document, schema, "");
    expected.remove(kind_field);
    // A confirmation, which the page requests only when needed, and the fields of other stores.
    expected.remove("no_older_process");
    expected.remove("store_settings");
    let fields = form["fields"].as_array().expect("fields");
    let names: Vec<&str> = fields
        .iter()
        .map(|field| field["name"].as_str().expect("a name"))
        .collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(once.len(), names.len(), "each field once: {names:?}");
    let (own, common): (BTreeSet<&str>, BTreeSet<&str>) =
        once.iter().partition(|name| name.starts_with(OWN));
    if !own.is_empty() {
        expected.retain(|name, _| {
            let is_optional = OF_SOME_STORES.contains(&name.as_str());
            !OF_OTHER_STORES.contains(&name.as_str())
                && (!is_optional || common.contains(name.as_str()))
        });
    }
    assert_eq!(
        common,
        expected.keys().map(String::as_str).collect(),
        "all fields of the request and no other"
    );
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for field in fields {
        let name = field["name"].as_str().expect("a name");
        let property = expected.get(name).copied().unwrap_or(&Value::Null);
        assert!(
            field["secret"] == json!(property["writeOnly"] == true) || own.contains(name),
            "{field}"
        );
        assert_eq!(
            field["secret"] == true,
            field["input"] == "password",
            "{field}"
        );
        assert_eq!(
            field["required"],
            json!(required.contains(&json!(name))),
            "{field}"
        );
        assert!(
            field["label"]
                .as_str()
                .is_some_and(|label| !label.is_empty()),
            "{field}"
        );
        assert!(
            field["help"]
                .as_str()
                .is_some_and(|help| help.ends_with('.')),
            "{field}"
        );
        let values: Vec<&Value> = field["choices"]
            .as_array()
            .expect("choices")
            .iter()
            .map(|one| &one["value"])
            .collect();
        let inner = resolved(document, property);
        if let Some(choices) = inner["enum"].as_array() {
            let choices: Vec<&Value> = choices.iter().filter(|one| !one.is_null()).collect();
            assert_eq!(values, choices, "{field}");
            let labels = field["choices"].as_array().into_iter().flatten();
            assert!(
                labels.into_iter().all(|one| one["label"] != one["value"]),
                "each choice has a label: {field}"
            );
        }
        if field["input"] == "select" {
            assert!(values.len() > 1, "{field}");
        }
    }
}

#[tokio::test]
async fn forms_show_exactly_what_requests_take() {
    let service = Service::start("forms").await;
    let document = service.get("/openapi.json").await.body;
    let kinds = service.get("/v1/destinations/kinds").await.body;
    let kinds = kinds["items"].as_array().expect("kinds");
    let offered: BTreeSet<&str> = kinds
        .iter()
        .map(|form| form["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(offered, BTreeSet::from(["amplitude", "email", "webhook"]));
    for form in kinds {
        let (first, rest) = form["name"].as_str().expect("a name").split_at(1);
        check(
            &document,
            form,
            &format!("New{}{rest}", first.to_uppercase()),
            "kind",
        );
    }
    let stores = service.get("/v1/stores").await.body;
    for form in stores["items"].as_array().expect("stores") {
        check(&document, form, "NewPlatform", "store");
        let guide = form["guide"].as_array().expect("a guide");
        let first = guide[0]["text"].as_str().expect("a text");
        assert!(
            form["name"] != "amazon" || first.contains("amazon.auto_confirm_accounts"),
            "{first}"
        );
        assert!(
            guide.iter().any(|step| step["copy"] == "notification_url"),
            "{form}"
        );
        assert!(
            guide.len() > 4
                && guide.iter().all(|step| step["text"]
                    .as_str()
                    .is_some_and(|text| text.ends_with('.')))
        );
    }
}

#[tokio::test]
async fn each_credential_of_a_store_is_a_secret_field() {
    let service = Service::start("secret-fields").await;
    let stores = service.get("/v1/stores").await.body;
    for form in stores["items"].as_array().expect("stores") {
        let fields = form["fields"].as_array().expect("fields");
        let secrets: Vec<&str> = fields
            .iter()
            .filter(|field| field["secret"] == true)
            .filter_map(|field| field["name"].as_str())
            .collect();
        let expected = match form["name"].as_str() {
            Some("amazon") => "shared_secret",
            Some("google") => "store_settings.service_account",
            Some("apple") => "store_settings.private_key",
            other => panic!("which field is the credential of {other:?}?"),
        };
        assert_eq!(secrets, [expected]);
    }
}

#[tokio::test]
async fn the_analytics_form_has_the_documented_order_and_names() {
    let service = Service::start("amplitude-form").await;
    let kinds = service.get("/v1/destinations/kinds").await.body;
    let form = kinds["items"]
        .as_array()
        .expect("kinds")
        .iter()
        .find(|form| form["name"] == "amplitude")
        .expect("it");
    let fields = form["fields"].as_array().expect("fields");
    let shown: Vec<&str> = fields
        .iter()
        .filter(|field| field["group"].is_null())
        .map(|field| field["label"].as_str().expect("a label"))
        .collect();
    let documented = [
        "Enable Integration",
        "Name",
        "URL",
        "API Key",
        "User ID",
        "Events",
    ];
    assert_eq!(
        shown,
        [&documented[..], &["Sandbox API Key", "Secret Key"]].concat()
    );
    let folded: Vec<&str> = fields
        .iter()
        .skip(shown.len())
        .map(|field| field["name"].as_str().expect("a name"))
        .take(4)
        .collect();
    assert_eq!(
        folded,
        [
            "without_external_id",
            "min_id_length",
            "prefix",
            "partner_id"
        ]
    );
    let events = fields
        .iter()
        .find(|field| field["name"] == "events")
        .expect("events");
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for choice in events["choices"]
        .as_array()
        .expect("choices")
        .iter()
        .filter(|one| one["is_offered"] == true)
    {
        *groups
            .entry(choice["group"].as_str().expect("a group"))
            .or_default() += 1;
        assert!(
            choice["help"]
                .as_str()
                .is_some_and(|help| help.ends_with('.')),
            "{choice}"
        );
    }
    assert_eq!(
        groups,
        BTreeMap::from([("device", 2), ("journey", 3), ("subscription", 8)])
    );
    let all = events["choices"].as_array().expect("choices").len();
    assert!(
        all > 20,
        "the others are there for who looks for them: {all}"
    );
}

#[tokio::test]
async fn what_a_form_names_can_be_sent() {
    let service = Service::start("filled").await;
    let (app, _) = service.platform().await;
    let filled = [
        json!({ "kind": "amplitude", "enabled": true, "name": "analytics", "endpoint": "standard", "api_key": "c0ffee",
            "user_id": "external_id", "events": ["user.subscription.renewed", "device.impression"] }),
        json!({ "kind": "webhook", "name": "hook", "url": "https://example.com/hook", "events": ["purchase.updated"] }),
    ];
    for body in filled {
        let answer = service
            .send_json("POST", &format!("/v1/apps/{app}/destinations"), &body)
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
}

#[tokio::test]
async fn the_index_of_schemas_has_groups_and_sentences() {
    let service = Service::start("index").await;
    let index = service
        .send("GET", "/api/v1/events/schema/", None, Vec::new())
        .await
        .body;
    for event in index["events"].as_array().expect("events") {
        assert!(
            event["summary"]
                .as_str()
                .is_some_and(|text| text.ends_with('.')),
            "{event}"
        );
        assert!(
            event["group"]
                .as_str()
                .is_some_and(|group| !group.is_empty()),
            "{event}"
        );
    }
}
