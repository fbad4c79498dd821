//! Compatibility with the published and stored data of each release: the hashes of its files, events that its schemas
//! accept, and JSON that the current types read and store again.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use storage::JSON_COLUMNS;
use system_tests::documents::{self, Document};
use system_tests::folder::Folder;
use system_tests::{released, samples, stored};

/// The document with an example body of each kind of event.
const BODIES: &str = "activities/protocols/src/destinations/webhook/README.md";
/// Columns for which each release has samples.
const SAMPLED: [&str; 4] = [
    "purchases.purchase",
    "notifications.body",
    "events.body",
    "events.views",
];

#[test]
fn a_published_release_names_its_commit() {
    let changelog = documents::changelog();
    for version in released::published(&changelog) {
        let release = released::all()
            .into_iter()
            .find(|release| release.version == version);
        let is_this_one = version == env!("CARGO_PKG_VERSION");
        let commit = release.and_then(|release| release.commit());
        assert!(is_this_one || commit.is_some(), "{version}");
    }
}

#[test]
fn no_file_of_a_release_changes() {
    let (releases, changelog) = (released::all(), documents::changelog());
    for version in released::published(&changelog) {
        let release = releases.iter().find(|release| release.version == version);
        let release = release.unwrap_or_else(|| panic!("freeze-release was not run for {version}"));
        let changed = released::changed(documents::root(), &release.sums());
        assert!(changed.is_empty(), "{}", changed.join("\n"));
    }
}

#[test]
fn a_changed_or_deleted_file_of_a_release_is_noticed() {
    let root = Folder::new("released");
    let (migration, sample) = (
        "activities/storage/migrations/a.sql",
        "tests/released/0.1.0/samples/a.jsonl",
    );
    for path in [migration, sample] {
        let file = root.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, "").expect("a file");
    }
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let sums = format!("{empty}  {migration}\n{empty}  {sample}\n");
    assert!(released::changed(root.path(), &sums).is_empty());
    std::fs::write(root.path().join(migration), "ALTER TABLE notes").expect("a change");
    std::fs::remove_file(root.path().join(sample)).expect("a deletion");
    let changed = released::changed(root.path(), &sums);
    let wanted = [
        format!("{migration}: this migration is released: add a new one"),
        format!("{sample}: this file is of a release and stays as it is"),
    ];
    assert_eq!(changed, wanted);
}

#[test]
fn a_version_is_published_once_it_has_a_date() {
    let changelog = "# Changelog\n## [0.2.0] - unreleased\n## [0.1.0] - 2027-01-31\n### Added\n";
    assert_eq!(released::published(changelog), ["0.1.0"]);
}

#[test]
fn the_stored_json_of_each_release_is_readable() {
    let changelog = documents::changelog();
    let unstored = stored::unstored(&changelog);
    for release in released::all() {
        for column in &JSON_COLUMNS {
            let (name, samples) = (
                format!("{}.{}", column.table, column.column),
                release.samples(column),
            );
            let is_needed = SAMPLED.contains(&name.as_str());
            assert!(
                !is_needed || !samples.is_empty(),
                "{} has no samples of {name}",
                release.version
            );
            for sample in samples.lines() {
                let again = column.read_back(sample);
                let again = again.unwrap_or_else(|error| {
                    panic!("{name} of {}: {error}: {sample}", release.version)
                });
                let mut lost = lost(&serde_json::from_str(sample).expect("JSON"), &again, &name);
                lost.retain(|place| !stored::is_unstored(place, &unstored));
                let version = &release.version;
                assert!(
                    lost.is_empty(),
                    "not stored again of {version}: {}: {sample}",
                    lost.join(", ")
                );
            }
        }
    }
}

/// Returns the places of values that are not stored again. Values equal to a default (null, false, zero or empty) do
/// not count.
fn lost(stored: &Value, again: &Value, place: &str) -> Vec<String> {
    match stored {
        Value::Object(fields) => {
            let of_field = |(name, field): (&String, &Value)| {
                lost(field, &again[name], &format!("{place}/{name}"))
            };
            fields.iter().flat_map(of_field).collect()
        }
        Value::Array(items) => {
            let place = format!("{place}/*");
            let others = again.as_array().map(Vec::as_slice).unwrap_or_default();
            // Compared in any order, since a set is ordered by its type.
            let nearest = |item: &Value| {
                let of_others = others.iter().map(|other| lost(item, other, &place));
                of_others
                    .min_by_key(Vec::len)
                    .unwrap_or_else(|| lost(item, &Value::Null, &place))
            };
            items.iter().flat_map(nearest).collect()
        }
        one if one == again || [json!(null), json!(false), json!(0), json!("")].contains(one) => {
            Vec::new()
        }
        _ => vec![place.to_owned()],
    }
}

#[test]
fn a_value_that_is_not_stored_again_is_noticed() {
    let sample =
        json!({ "a": 1, "b": null, "c": [{ "d": "x" }, { "d": "y" }], "e": [], "f": false });
    assert_eq!(
        lost(
            &sample,
            &json!({ "a": 1, "c": [{ "d": "y" }, { "d": "x" }] }),
            "t.c"
        ),
        [""; 0]
    );
    assert_eq!(
        lost(&sample, &json!({ "a": 2, "c": [{ "d": "y" }] }), "t.c"),
        ["t.c/a", "t.c/c/*/d"]
    );
    let column = JSON_COLUMNS
        .iter()
        .find(|column| column.table == "rechecks")
        .expect("a column");
    let renamed = json!({ "kind": "scheduled", "who": "me" });
    let again = column.read_back(&renamed.to_string()).expect("a cause");
    assert_eq!(
        lost(&renamed, &again, "rechecks.cause"),
        ["rechecks.cause/who"]
    );
}

#[test]
fn a_sample_has_something_that_none_before_it_has() {
    let texts = "{\"a\":1}\n{\"a\":2}\n{\"a\":null}\n{\"a\":\"active\"}\n{\"a\":\"expired\"}\n{\"a\":\"active\"}\n[]\n";
    let chosen = [
        "{\"a\":1}",
        "{\"a\":null}",
        "{\"a\":\"active\"}",
        "{\"a\":\"expired\"}",
        "[]",
    ];
    assert_eq!(samples::representative(texts), chosen);
}

#[test]
fn json_of_another_type_is_noticed() {
    let column = |table: &str| {
        JSON_COLUMNS
            .iter()
            .find(|column| column.table == table)
            .expect("a column")
    };
    assert!(column("rechecks").check("{\"kind\":\"scheduled\"}").is_ok());
    assert!(
        column("rechecks")
            .check("{\"kind\":\"of_the_future\"}")
            .is_err()
    );
    assert!(
        column("notifications").check("{}").is_ok()
            && column("notifications").check("{\"a\":1}").is_err()
    );
}

#[test]
fn the_events_of_today_are_those_of_each_release() {
    let today: Vec<_> = domain::schemas::all();
    for release in released::all() {
        let schemas = release.schemas();
        assert!(!schemas.is_empty(), "{} has no schemas", release.version);
        let mut broken = Vec::new();
        for (event_type, old) in &schemas {
            match today.iter().find(|(name, ..)| name == event_type) {
                Some((_, _, new)) => compare(old, new, event_type, &mut broken),
                None => broken.push(format!("{event_type} is gone")),
            }
        }
        assert!(
            broken.is_empty(),
            "not only additions since {}:\n{}",
            release.version,
            broken.join("\n")
        );
    }
    for block in Document::read(BODIES)
        .blocks()
        .into_iter()
        .filter(|block| block.language == "json")
    {
        let body: Value = serde_json::from_str(&block.lines.join("\n")).expect("a body");
        let event_type = ["/attributes/event_type", "/event_type"]
            .iter()
            .find_map(|place| body.pointer(place)?.as_str());
        for validator in event_type.into_iter().flat_map(released::validators) {
            validator
                .validate(&body)
                .unwrap_or_else(|error| panic!("{event_type:?}: {error}"));
        }
    }
}

/// Returns the entries of a keyword that is a list or a single value.
fn entries(schema: &Value, name: &str) -> BTreeSet<String> {
    match &schema[name] {
        Value::Array(items) => items.iter().map(Value::to_string).collect(),
        Value::Null => BTreeSet::new(),
        one => [one.to_string()].into(),
    }
}

/// Returns the schemas that a schema combines; the schema itself if it combines none.
fn combined<'a>(schema: &'a Value, combination: &str) -> Vec<&'a Value> {
    schema[combination]
        .as_array()
        .map_or_else(|| vec![schema], |all| all.iter().collect())
}

/// Returns whether the old schema allows everything that the new one allows.
fn is_within(old: &Value, new: &Value) -> bool {
    let mut broken = Vec::new();
    compare(old, new, "", &mut broken);
    broken.is_empty()
}

/// Adds everything that an event may lack or contain according to the new schema, but not according to the old one.
pub fn compare(old: &Value, new: &Value, place: &str, broken: &mut Vec<String>) {
    let optional = &entries(old, "required") - &entries(new, "required");
    broken.extend(
        optional
            .iter()
            .map(|name| format!("{place}: {name} is not required any more")),
    );
    for limit in [
        "type",
        "enum",
        "const",
        "$ref",
        "format",
        "pattern",
        "minimum",
        "maximum",
        "additionalProperties",
        "minItems",
        "maxItems",
    ] {
        let (allowed, possible) = (entries(old, limit), entries(new, limit));
        if !allowed.is_empty() && (possible.is_empty() || !possible.is_subset(&allowed)) {
            broken.push(format!(
                "{place}: {limit} was {allowed:?}, and is {possible:?}"
            ));
        }
    }
    for choice in ["anyOf", "oneOf"]
        .into_iter()
        .filter(|choice| old[choice].is_array())
    {
        let allowed = combined(old, choice);
        let others = combined(new, choice)
            .into_iter()
            .filter(|new| !allowed.iter().any(|old| is_within(old, new)));
        broken.extend(others.map(|new| format!("{place}: {choice} did not allow {new}")));
    }
    for old in old["allOf"].as_array().into_iter().flatten() {
        if !combined(new, "allOf").iter().any(|new| is_within(old, new)) {
            broken.push(format!("{place}: allOf had {old}"));
        }
    }
    let none = Map::new();
    for part in ["properties", "$defs"] {
        for (name, inner) in old[part].as_object().unwrap_or(&none) {
            match new[part].get(name) {
                Some(new) => compare(inner, new, &format!("{place}/{name}"), broken),
                None if part == "$defs" => broken.push(format!("{place}: no type {name} any more")),
                None => broken.push(format!("{place}/{name} is gone")),
            }
        }
    }
    compare_items(old, new, place, broken);
}

/// Applies [`compare`] to the items of a list, or to those of a tuple in order.
fn compare_items(old: &Value, new: &Value, place: &str, broken: &mut Vec<String>) {
    if old["items"].is_object() {
        compare(&old["items"], &new["items"], &format!("{place}/*"), broken);
    }
    let Some(tuple) = old["prefixItems"].as_array() else {
        return;
    };
    let items = new["prefixItems"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if items.len() != tuple.len() {
        return broken.push(format!(
            "{place}: a tuple had {} items, and has {}",
            tuple.len(),
            items.len()
        ));
    }
    for (index, (old, new)) in tuple.iter().zip(items).enumerate() {
        compare(old, new, &format!("{place}/{index}"), broken);
    }
}

#[test]
fn a_schema_that_is_not_only_extended_is_noticed() {
    let old = json!({
        "required": ["a"],
        "properties": { "a": { "type": ["string", "null"] }, "b": { "items": { "enum": ["x", "y"] } } },
    });
    let check = |new: &Value, expected: &[&str]| {
        let mut broken = Vec::new();
        compare(&old, new, "event", &mut broken);
        assert_eq!(broken.len(), expected.len(), "{broken:?}");
        broken
            .iter()
            .zip(expected)
            .for_each(|(found, part)| assert!(found.contains(part), "{found}"));
    };
    let (a, b) = (
        json!({ "type": "string" }),
        json!({ "items": { "enum": ["x"] } }),
    );
    let extended = json!({ "required": ["a", "c"], "properties": { "a": a, "b": b, "c": {} } });
    check(&extended, &[]);
    check(
        &json!({ "properties": { "a": a, "b": b } }),
        &["\"a\" is not required"],
    );
    check(
        &json!({ "required": ["a"], "properties": { "a": { "type": "number" }, "b": b } }),
        &["event/a: type"],
    );
    check(
        &json!({ "required": ["a"], "properties": { "a": a } }),
        &["event/b is gone"],
    );
    let other = json!({ "items": { "enum": ["x", "z"] } });
    check(
        &json!({ "required": ["a"], "properties": { "a": a, "b": other } }),
        &["event/b/*: enum"],
    );
}

#[test]
fn a_changed_limit_or_alternative_is_noticed() {
    let reference = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let (one, other, nothing) = (
        reference("One"),
        reference("Other"),
        json!({ "type": "null" }),
    );
    let (time, day) = (
        json!({ "format": "date-time" }),
        json!({ "format": "date" }),
    );
    let hex = json!({ "pattern": "^[0-9a-f]{64}$", "type": "string" });
    let (closed, open) = (json!({ "additionalProperties": false }), json!({}));
    for (old, new, part) in [
        (&one, &other, "$ref was"),
        (&time, &day, "format was"),
        (&time, &open, "format was"),
        (&hex, &json!({ "type": "string" }), "pattern was"),
        (
            &json!({ "minimum": 1 }),
            &json!({ "minimum": 0 }),
            "minimum was",
        ),
        (&closed, &open, "additionalProperties was"),
        (
            &json!({ "anyOf": [one, nothing] }),
            &json!({ "anyOf": [other, nothing] }),
            "anyOf did not allow",
        ),
        (
            &json!({ "oneOf": [one] }),
            &json!({ "oneOf": [one, nothing] }),
            "oneOf did not allow",
        ),
        (
            &json!({ "anyOf": [one, nothing] }),
            &open,
            "anyOf did not allow",
        ),
        (
            &json!({ "allOf": [one, time] }),
            &json!({ "allOf": [one] }),
            "allOf had",
        ),
        (
            &json!({ "prefixItems": [time, open] }),
            &json!({ "prefixItems": [open, time] }),
            "event/0: format was",
        ),
        (
            &json!({ "prefixItems": [time, open] }),
            &json!({ "prefixItems": [time] }),
            "a tuple had 2 items, and has 1",
        ),
        (
            &json!({ "minItems": 2 }),
            &json!({ "minItems": 1 }),
            "minItems was",
        ),
        (&json!({ "maxItems": 2 }), &open, "maxItems was"),
    ] {
        let mut broken = Vec::new();
        compare(old, new, "event", &mut broken);
        assert!(
            broken.len() == 1 && broken[0].contains(part),
            "{old} {new}: {broken:?}"
        );
        assert!(is_within(old, old), "{old}");
    }
    assert!(
        is_within(&json!({ "anyOf": [one, nothing] }), &one),
        "only one of them is left"
    );
    assert!(is_within(
        &json!({ "oneOf": [one, nothing] }),
        &json!({ "oneOf": [nothing] })
    ));
    assert!(is_within(
        &one,
        &json!({ "allOf": [one, time], "$ref": one["$ref"] })
    ));
}
