//! A part of the OpenAPI document: the routes with one kind of access, and only the schemas that they refer to, so that
//! client generators produce nothing else.

use super::operations;
use crate::route::{Access, Route};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Kinds of components that are omitted if nothing refers to them.
const REFERRED: [&str; 2] = ["responses", "schemas"];

/// Returns the part of a whole document that contains the routes with this access.
pub fn of(whole: &Value, routes: &[Route], access: Access) -> Value {
    let wanted: BTreeSet<_> = routes
        .iter()
        .filter(|route| route.access == access)
        .map(|one| (one.path, one.method.to_lowercase()))
        .collect();
    let mut paths = Map::new();
    for (path, method) in wanted {
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[&method] = whole["paths"][path][&method].clone();
    }
    let mut part = whole.clone();
    part["paths"] = Value::Object(paths);
    // All routes with the same access have the same security scheme, which applies to the whole part.
    let security = security(&part["paths"]);
    let names: BTreeSet<String> = security
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .cloned()
        .collect();
    part["security"] = json!([security]);
    retain(&mut part, "securitySchemes", &names);
    let tags = operations::tags(part["paths"].as_object().into_iter().flat_map(Map::keys));
    part["tags"] = tags;
    let found = reachable(whole, &part["paths"]);
    for kind in REFERRED {
        let prefix = format!("#/components/{kind}/");
        let names = found
            .iter()
            .filter_map(|path| path.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect();
        retain(&mut part, kind, &names);
    }
    part
}

/// Returns the security requirement of the first operation.
fn security(paths: &Value) -> Value {
    let mut operations = paths
        .as_object()
        .into_iter()
        .flat_map(Map::values)
        .filter_map(Value::as_object);
    let first = operations.find_map(|methods| methods.values().next());
    first.map_or_else(|| json!({}), |operation| operation["security"][0].clone())
}

/// Removes all components of a kind except the named ones.
fn retain(document: &mut Value, kind: &str, names: &BTreeSet<String>) {
    if let Some(components) = document["components"][kind].as_object_mut() {
        components.retain(|name, _| names.contains(name));
    }
}

/// Returns all references that are reachable from a value.
fn reachable(whole: &Value, value: &Value) -> BTreeSet<String> {
    let (mut found, mut next) = (BTreeSet::new(), vec![value]);
    while let Some(value) = next.pop() {
        if let Some(reference) = value["$ref"].as_str()
            && found.insert(reference.to_owned())
        {
            next.extend(whole.pointer(reference.trim_start_matches('#')));
        }
        match value {
            Value::Object(fields) => next.extend(fields.values()),
            Value::Array(items) => next.extend(items),
            _ => {}
        }
    }
    found
}
