//! The latest release can read the JSON that this version stores, so that an installation can be downgraded to it.

use crate::released::compare;
use serde_json::{Value, json};
use storage::JSON_COLUMNS;
use system_tests::released::Release;
use system_tests::{documents, released, stored};

/// Returns what a release cannot read, or misses, in the JSON that a version stores. A release ignores unknown fields
/// of an object; a removed type is detected where it was used. Fields in `unstored` may be missing.
fn unreadable(
    of_release: &Value,
    of_version: &Value,
    column: &str,
    unstored: &[&str],
) -> Vec<String> {
    let mut broken = Vec::new();
    compare(of_release, of_version, column, &mut broken);
    let is_excused = |one: &String| {
        one.strip_suffix(" is gone")
            .is_some_and(|field| unstored.contains(&field))
    };
    broken.retain(|one| !one.contains(": no type ") && !is_excused(one));
    broken
}

#[test]
fn the_latest_release_reads_the_json_of_this_version() {
    let (latest, mut today) = (Release::latest(), stored::schemas());
    let of_release = latest.stored();
    let changelog = documents::changelog();
    for value in stored::of_new_stores(&changelog, &latest.version) {
        let (column, path) = value.split_once('/').expect("a column and a place");
        let path: Vec<&str> = path.split('/').collect();
        let is_known = today
            .get_mut(column)
            .is_some_and(|schema| stored::remove(schema, &path));
        assert!(is_known, "the changelog has {value}, and no type has it");
    }
    let is_published = released::published(&changelog).contains(&latest.version.as_str());
    let is_frozen =
        of_release.contains_key("purchases.purchase") && of_release.contains_key(stored::ENUMS);
    assert!(
        is_frozen || !is_published,
        "freeze-release was not run for {}",
        latest.version
    );
    let unstored = stored::unstored(&changelog);
    for (column, old) in of_release {
        let broken = today
            .get(&column)
            .map(|new| unreadable(&old, new, &column, &unstored))
            .unwrap_or_default();
        assert!(
            broken.is_empty(),
            "{} does not read (see `Going back` in VERSIONS.md):\n{}",
            latest.version,
            broken.join("\n")
        );
    }
}

/// Enums that statements compute, and that no table contains.
const COMPUTED: [&str; 3] = ["FoundKind", "ShownState", "WaitingFor"];

/// Returns the names of the enums declared as stored in a source: after `stored! {`, or in a macro's list.
fn declared(source: &str) -> Vec<&str> {
    let after = |text: &'static str| source.split(text).skip(1);
    let stored =
        after("stored! {").filter_map(|rest| rest.split_once("enum ")?.1.split_whitespace().next());
    let of_domain = after("\ndomain_enum!(").filter_map(|rest| rest.split_whitespace().next());
    let named = after("\nnamed_columns!(")
        .filter_map(|rest| rest.split_once(')'))
        .flat_map(|(list, _)| list.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty());
    stored.chain(of_domain).chain(named).collect()
}

#[test]
fn every_enum_that_is_stored_as_text_is_listed() {
    let mut found: Vec<String> = Vec::new();
    let mut folders = vec![documents::root().join("activities/storage/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                folders.push(entry);
            } else if let Ok(source) = std::fs::read_to_string(&entry) {
                found.extend(declared(&source).into_iter().map(str::to_owned));
            }
        }
    }
    found.retain(|name| !COMPUTED.contains(&name.as_str()));
    found.sort();
    let listed: Vec<&str> = storage::stored_enums()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(found, listed);
}

#[test]
fn a_value_that_the_latest_release_does_not_read_is_noticed() {
    let life =
        |values: &[&str]| json!({ "$defs": { "Life": { "type": "string", "enum": values } } });
    let old = life(&["running", "over"]);
    let check = |new: &Value, expected: &str| {
        let broken = unreadable(&old, new, "purchases.purchase", &[]);
        assert!(
            broken.len() == 1 && broken[0].starts_with(expected),
            "{broken:?}"
        );
    };
    check(
        &life(&["running", "over", "halted"]),
        "purchases.purchase/Life: enum was",
    );
    let other = json!({ "$defs": { "Life": { "type": "object", "enum": ["running"] } } });
    check(&other, "purchases.purchase/Life: type was");
    assert!(unreadable(&old, &life(&["running"]), "purchases.purchase", &[]).is_empty());
    assert!(
        unreadable(&old, &json!({}), "purchases.purchase", &[]).is_empty(),
        "nothing has that type"
    );
    let (required, optional) = (
        json!({ "required": ["at"], "properties": { "at": {} } }),
        json!({ "properties": {} }),
    );
    let broken = unreadable(&required, &optional, "a.b", &["a.b/at"]);
    assert_eq!(broken, ["a.b: \"at\" is not required any more"]);
    assert!(
        unreadable(&optional, &required, "a.b", &[]).is_empty(),
        "it ignores a field that it does not know"
    );
}

#[test]
fn a_field_that_is_no_longer_stored_is_noticed() {
    let stage = |fields: &Value| json!({ "$defs": { "Stage": { "properties": fields } } });
    let (old, new) = (
        stage(&json!({ "terms": {}, "sku": {} })),
        stage(&json!({ "terms": {}, "product": {} })),
    );
    let gone = "purchases.purchase/Stage/sku";
    assert_eq!(
        unreadable(&old, &new, "purchases.purchase", &[]),
        [format!("{gone} is gone")]
    );
    let changelog = format!(
        "### Stored values\n- `{gone}`: no longer stored.\n- `a.b/C/d`: written from 0.3.0.\n"
    );
    let unstored = stored::unstored(&changelog);
    assert_eq!(unstored, [gone]);
    assert!(
        unreadable(&old, &new, "purchases.purchase", &unstored).is_empty(),
        "the changelog has it"
    );
    for (place, expected) in [
        ("purchases.purchase/verified/stage/sku", true),
        ("purchases.purchase/verified/stage/sku/name", true),
        ("purchases.purchase/verified/stage/terms", false),
        ("purchases.causes/stage/sku", false),
    ] {
        assert_eq!(stored::is_unstored(place, &unstored), expected, "{place}");
    }
}

#[test]
fn a_value_may_be_read_a_release_before_it_is_written() {
    let changelog =
        "## [0.2.0] - unreleased\n### Stored values\n- `a.b/Life/halted`: written from 0.3.0.\n";
    assert_eq!(stored::unwritten(changelog, "0.2.0"), ["a.b/Life/halted"]);
    assert!(stored::unwritten(changelog, "0.3.0").is_empty());
    assert!(stored::unwritten(changelog, "0.10.0").is_empty());
    let life = json!({ "oneOf": [{ "enum": ["running"] }, { "properties": { "ended": {} } }] });
    let schema = json!({ "properties": { "lives": { "items": { "$ref": "#/$defs/Life" } } }, "$defs": { "Life": life } });
    for (value, expected) in [("running", true), ("ended", true), ("halted", false)] {
        let mut schema = schema.clone();
        assert_eq!(
            stored::remove(&mut schema, &["Life", value]),
            expected,
            "{value}"
        );
        assert!(!schema.to_string().contains(value), "{value}: {schema}");
    }
}

#[test]
fn a_value_of_new_stores_is_compared_from_the_next_release_on() {
    let changelog =
        "## [0.2.0] - unreleased\n### Stored values\n- `a.b/Life/halted`: of stores since 0.2.0.\n";
    assert_eq!(
        stored::of_new_stores(changelog, "0.1.1"),
        ["a.b/Life/halted"]
    );
    assert!(stored::of_new_stores(changelog, "0.2.0").is_empty());
    assert!(
        stored::unwritten(changelog, "0.1.1").is_empty(),
        "this version stores it"
    );
}

#[test]
fn documentation_of_a_variant_is_no_change() {
    let plain = json!({ "type": "string", "enum": ["running", "over"] });
    let documented = json!({ "title": "Life", "oneOf": [
        { "type": "string", "enum": ["running"] },
        { "description": "It ended.", "type": "string", "const": "over" },
    ] });
    assert_eq!(stored::normal(&documented), plain);
    let named = json!({ "properties": { "title": { "description": "Of a field." } } });
    assert_eq!(
        stored::normal(&named),
        json!({ "properties": { "title": {} } })
    );
}

#[test]
fn the_samples_of_a_release_are_valid_for_its_schemas() {
    for release in released::all() {
        let schemas = release.stored();
        for column in &JSON_COLUMNS {
            let Some(schema) = schemas.get(&stored::name(column)) else {
                continue;
            };
            let validator = stored::validator(schema);
            for sample in release
                .samples(column)
                .lines()
                .filter(|sample| *sample != "{}")
            {
                let value = serde_json::from_str(sample).expect("JSON");
                let error = validator
                    .iter_errors(&value)
                    .next()
                    .map(|error| error.to_string());
                assert_eq!(
                    error,
                    None,
                    "{} of {}: {sample}",
                    stored::name(column),
                    release.version
                );
            }
        }
    }
}
