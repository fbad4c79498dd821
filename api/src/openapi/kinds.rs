//! Adds the fields of each kind to the schemas of destinations.

use super::limits::{NULL_IS_REFUSED, RULE};
use crate::extract::admit_null;
use protocols::destinations::KindSchemas;
use serde_json::{Map, Value, json};

/// Adds the fields of each kind to the schemas of requests and responses.
pub fn add(
    kinds: &[KindSchemas],
    requests: &mut Map<String, Value>,
    responses: &mut Map<String, Value>,
) {
    if let Some(common) = requests.remove("NewDestination") {
        for kind in kinds {
            requests.insert(name_of(kind), created(common.clone(), kind));
        }
        let reference = |kind| json!({ "$ref": format!("#/components/schemas/{}", name_of(kind)) });
        let all = kinds.iter().map(reference);
        let mapping = kinds
            .iter()
            .map(|kind| (kind.kind.to_owned(), reference(kind)["$ref"].clone()));
        let mapping: Map<String, Value> = mapping.collect();
        let discriminator = json!({ "propertyName": "kind", "mapping": mapping });
        let union = json!({ "oneOf": all.collect::<Vec<_>>(), "discriminator": discriminator });
        requests.insert("NewDestination".to_owned(), union);
    }
    for kind in kinds {
        let named = |(name, mut field): (String, Value)| {
            field[RULE] = json!(format!(
                "{} The rules for a new destination also apply.",
                only_of(kinds, &name)
            ));
            (name, field)
        };
        extend(
            requests.get_mut("DestinationPatch"),
            &changed(kind).into_iter().map(named).collect(),
        );
        if kind.created.contains_key("secret") {
            let secret = json!({ "type": "string", "description": "Signing secret; returned in this response only." });
            extend(
                responses.get_mut("CreatedDestination"),
                &Map::from_iter([("secret".to_owned(), secret)]),
            );
        }
    }
    let names: Vec<&str> = kinds.iter().map(|kind| kind.kind).collect();
    for name in ["Destination", "DestinationDetail", "CreatedDestination"] {
        let Some(schema) = responses.get_mut(name) else {
            continue;
        };
        for kind in kinds {
            extend(Some(&mut *schema), &kind.shown);
        }
        schema["properties"]["kind"]["enum"] = json!(names);
        schema
            .as_object_mut()
            .and_then(|schema| schema.remove("additionalProperties"));
    }
}

/// Returns a sentence on the kinds that a field is limited to.
fn only_of(kinds: &[KindSchemas], field: &str) -> String {
    let takers = kinds
        .iter()
        .filter(|kind| kind.changeable().contains(&field));
    let names: Vec<String> = takers.map(|kind| format!("`{}`", kind.kind)).collect();
    format!("Only for destinations of the kind {}.", names.join(" or "))
}

fn name_of(kind: &KindSchemas) -> String {
    request_of(kind.kind)
}

/// Returns the name of the schema of a new destination of a kind: `New` and the kind's name.
pub fn request_of(kind: &str) -> String {
    let (first, rest) = kind.split_at(1);
    format!("New{}{rest}", first.to_uppercase())
}

/// Returns the schema of a new destination of one kind.
fn created(mut common: Value, kind: &KindSchemas) -> Value {
    common["properties"]["kind"] = json!({ "type": "string", "const": kind.kind });
    extend(Some(&mut common), &kind.created);
    if let Some(required) = common["required"].as_array_mut() {
        required.extend(kind.required.iter().map(|name| json!(name)));
    }
    common["examples"] = json!([kind.example]);
    common["description"] = json!(format!("A new destination of the kind `{}`.", kind.kind));
    common
}

/// Returns a kind's fields for changes. Null restores the default of an optional field.
fn changed(kind: &KindSchemas) -> Map<String, Value> {
    let fields = kind.changeable().into_iter().filter(|name| *name != "rate");
    let field = |name: &str| {
        let mut field = kind.created[name].clone();
        if kind.required.contains(&name) {
            field[NULL_IS_REFUSED] = json!(true);
        } else {
            admit_null(&mut field);
        }
        (name.to_owned(), field)
    };
    fields.map(field).collect()
}

/// Adds fields to the properties of a schema.
fn extend(schema: Option<&mut Value>, fields: &Map<String, Value>) {
    if let Some(properties) = schema.and_then(|schema| schema["properties"].as_object_mut()) {
        properties.extend(fields.clone());
    }
}
