//! Checks each of settle's answers against `/openapi.json`: status, media type and body. An undocumented field fails
//! the test.

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The OpenAPI document, changed so that objects may only have documented fields, and platforms any store, since tests
/// add stores.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = api::openapi::document(api::routes::routes());
    close(&mut document);
    let store = &mut document["components"]["schemas"]["Platform"]["properties"]["store"];
    store
        .as_object_mut()
        .and_then(|store| store.remove("enum"))
        .expect("the stores of a platform");
    document
});

#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    pub method: &'a str,
    /// Path of the request, with or without a query.
    pub path: &'a str,
    pub status: u16,
    pub media: &'a str,
    /// Response body: JSON, or a string.
    pub body: &'a Value,
}

static IS_OTHER_BUILD: AtomicBool = AtomicBool::new(false);

/// Checks no further answer, for measurements that also run another build, whose answers have other fields.
pub fn leave_out_for_another_build() {
    IS_OTHER_BUILD.store(true, Ordering::Relaxed);
}

/// Checks one answer against the document.
///
/// # Panics
/// When the answer is not as documented.
pub fn check(answered: Answered<'_>) {
    if IS_OTHER_BUILD.load(Ordering::Relaxed) {
        return;
    }
    let Answered {
        method,
        path,
        status,
        media,
        body,
    } = answered;
    let shown = format!("{method} {path} answered {status} ({media}): {body}");
    let operation = operation(method, path);
    let answers = operation.map(|operation| &operation["responses"]);
    let documented = answers.and_then(|answers| answers.get(status.to_string()));
    let documented = documented.filter(|answer| answer["$ref"].is_null());
    let problem = (status >= 400).then(|| &DOCUMENT["components"]["responses"]["Problem"]);
    let answer = documented
        .or(problem)
        .unwrap_or_else(|| panic!("this status is not documented: {shown}"));
    let Some(content) = answer["content"].as_object() else {
        assert_eq!(body, "", "no body is documented: {shown}");
        return;
    };
    let kind = media.split(';').next().unwrap_or_default();
    let schema = content
        .get(kind)
        .unwrap_or_else(|| panic!("this media type is not documented: {shown}"));
    if let Err(error) = validator(&schema["schema"]).validate(body) {
        panic!(
            "{shown} is not as it is documented: at `{}`: {error}",
            error.instance_path
        );
    }
}

/// Returns the documented operation for a path. If several templates match, the one with the fewest parameters counts.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let names: Vec<&str> = template.split('/').collect();
        let all = names
            .iter()
            .zip(&parts)
            .all(|(name, part)| name == part || name.starts_with('{') && !part.is_empty());
        all && names.len() == parts.len()
    };
    let paths = DOCUMENT["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .filter(|(template, _)| fits(template));
    let (_, found) = paths.min_by_key(|(template, _)| template.matches('{').count())?;
    found.get(method.to_lowercase())
}

fn validator(schema: &Value) -> Arc<Validator> {
    static KNOWN: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let whole = json!({ "allOf": [schema], "components": DOCUMENT["components"] });
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(
            options
                .build(&whole)
                .unwrap_or_else(|error| panic!("{schema} is no schema: {error}")),
        )
    };
    known.entry(schema.to_string()).or_insert_with(make).clone()
}

fn close(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_open = |fields: &Map<String, Value>| {
                fields.get("properties").is_some_and(Value::is_object)
                    && !fields.contains_key("additionalProperties")
            };
            if is_open(fields) {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Answered, check};
    use serde_json::{Value, json};
    use std::panic::catch_unwind;

    fn is_refused(path: &str, status: u16, body: &Value) -> bool {
        let media = if status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        let body = body.clone();
        catch_unwind(|| {
            check(Answered {
                method: "GET",
                path,
                status,
                media,
                body: &body,
            })
        })
        .is_err()
    }

    #[test]
    fn an_answer_that_is_not_as_it_is_documented_is_noticed() {
        let app = json!({ "id": "6b275a67-0bbb-4f3a-99b9-6600bf711993", "name": "reader", "created_at": "2026-01-31T12:00:00Z" });
        let path = "/v1/apps/6b275a67-0bbb-4f3a-99b9-6600bf711993";
        assert!(!is_refused(path, 200, &app));
        for (field, value) in [
            ("name", json!(1)),
            ("id", json!("x")),
            ("created_at", Value::Null),
            ("more", json!(1)),
        ] {
            let mut wrong = app.clone();
            wrong[field] = value;
            assert!(is_refused(path, 200, &wrong), "{field}");
        }
        assert!(is_refused(path, 202, &app), "the status");
        assert!(is_refused(path, 404, &app), "no problem");
        let problem = json!({ "type": "urn:x", "title": "t", "status": 404, "detail": "d" });
        assert!(!is_refused(path, 404, &problem) && !is_refused("/nothing", 404, &problem));
    }
}
