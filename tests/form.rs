//! Checks the form of the code: sizes, names, lints, and leftovers.

use super::{Source, any_of, has_identifier, none, outside, root, sources};
use std::collections::BTreeMap;

/// Maximum number of types with the same name in production code.
const MAX_MEANINGS: usize = 4;

/// Conventional names of siblings, each used with its module: in commands, kinds of destinations, stores, packages and
/// workflows.
const CONVENTIONAL: [&str; 4] = ["Config", "Options", "Settings", "Start"];

/// Maximum number of lines of a file.
const MAX_LINES: usize = 650;

/// Maximum length of a comment line from its marker on, which rustfmt does not wrap.
const MAX_COMMENT: usize = 130;

/// Returns the offsets of parameters that are tuples with named parts: each part should be a parameter.
fn tuples(code: &str) -> Vec<usize> {
    let begin = |end: usize| {
        let begin = code[..end].rfind('(')?;
        let names = &code[begin + 1..end];
        let is_list = names.contains(',')
            && names
                .chars()
                .all(|one| one.is_ascii_lowercase() || "_, ".contains(one));
        let is_parameter = code[..begin].trim_end().ends_with(['(', ',']);
        (is_list && is_parameter).then_some(begin)
    };
    let ends = code.match_indices("): (");
    ends.filter_map(|(end, _)| begin(end)).collect()
}

#[test]
fn parameters_are_no_tuples() {
    for tuple in [
        "fn find((url, app): (&Url, Option<AppId>), rules: &Rules) {",
        "fn rotate(&self,(key, overlap): (SecretString, Duration),) {",
        "fn rotate(&self,(key,overlap,): (SecretString, Duration),) {",
    ] {
        assert_eq!(tuples(tuple).len(), 1, "{tuple}");
    }
    assert!(tuples("let (url, app): (&Url, AppId) = one;").is_empty());
    let of_tests = |source: &Source| source.path.starts_with("tests/");
    none("these are parameters", outside(of_tests, tuples));
}

/// Returns the name of the type, trait or alias that a line declares. An indented alias belongs to a trait.
fn declared(line: &str) -> Option<&str> {
    let item = line
        .trim_start()
        .trim_start_matches("pub(crate) ")
        .trim_start_matches("pub(super) ")
        .trim_start_matches("pub ");
    let name = item
        .strip_prefix("struct ")
        .or_else(|| item.strip_prefix("enum "))
        .or_else(|| item.strip_prefix("trait "))
        .or_else(|| {
            item.strip_prefix("type ")
                .filter(|_| !line.starts_with(' '))
        })?;
    name.split(|one: char| !one.is_alphanumeric())
        .next()
        .filter(|name| name.starts_with(char::is_uppercase))
}

#[test]
fn the_name_of_a_type_has_few_meanings() {
    for (line, name) in [
        ("    pub(crate) struct Row<'a>(&'a str);", Some("Row")),
        ("pub type Row<'a> = &'a str;", Some("Row")),
        ("    type Row = String;", None),
        ("let structure = 1;", None),
    ] {
        assert_eq!(declared(line), name, "{line}");
    }
    let mut meanings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (at, line) in source.code() {
            if let Some(name) = declared(line).filter(|name| !CONVENTIONAL.contains(name)) {
                let place = format!("{}:{at}", source.path);
                meanings.entry(name.to_owned()).or_default().push(place);
            }
        }
    }
    let surplus = meanings
        .iter()
        .filter(|(_, places)| places.len() > MAX_MEANINGS);
    none(
        "these have too many meanings",
        surplus.map(|(name, places)| format!("{name}: {}", places.join(", "))),
    );
}

#[test]
fn no_file_is_long() {
    let long = sources()
        .into_iter()
        .map(|source| (source.text.lines().count(), source.path))
        .filter(|(lines, _)| *lines > MAX_LINES);
    none(
        "split these by reasons to change",
        long.map(|(lines, path)| format!("{path}: {lines} lines")),
    );
}

#[test]
fn no_line_of_a_comment_is_long() {
    let is_long = |line: &str| line.starts_with("//") && line.chars().count() > MAX_COMMENT;
    let long = sources().into_iter().flat_map(|source| {
        let lines = source
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| is_long(line.trim_start()));
        lines
            .map(|(at, _)| format!("{}:{}", source.path, at + 1))
            .collect::<Vec<_>>()
    });
    none("wrap these at 120 columns", long);
}

#[test]
fn a_lint_is_never_switched_off_without_an_expectation() {
    none(
        "write expect with a reason",
        outside(
            |_| false,
            any_of(&[concat!("#[al", "low("), concat!("#![al", "low(")]),
        ),
    );
}

#[test]
fn no_file_has_a_meaningless_name() {
    let vague = [
        "util", "utils", "helper", "helpers", "common", "types", "models", "manager", "service",
        "misc",
    ];
    let is_vague = |path: &str| path.split(['/', '.']).any(|part| vague.contains(&part));
    none(
        "name these after what they hold",
        sources()
            .into_iter()
            .map(|source| source.path)
            .filter(|path| is_vague(path)),
    );
}

#[test]
fn no_test_is_skipped() {
    none(
        "a test that cannot run must fail",
        outside(|_| false, any_of(&[concat!("#[ign", "ore")])),
    );
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("unimple", "mented!"),
        concat!("to", "do!("),
    ];
    let has_mark = |line: &&str| marks.iter().any(|mark| has_identifier(line, mark));
    // This file only declares activities, and the SDK's macro requires bodies.
    let sources = sources()
        .into_iter()
        .filter(|source| source.path != "workflows/src/activities.rs");
    let places = sources.flat_map(|source| {
        let lines: Vec<String> = source
            .text
            .lines()
            .filter(has_mark)
            .map(|line| format!("{}: {line}", source.path))
            .collect();
        lines
    });
    none("finish these", places);
}

#[test]
fn code_that_decides_may_not_panic() {
    for file in ["workflows/src/lib.rs", "workflows/domain/src/lib.rs"] {
        let text = std::fs::read_to_string(root().join(file)).expect(file);
        let lints = [
            "clippy::unwrap_used",
            "clippy::expect_used",
            "clippy::indexing_slicing",
            "clippy::panic",
        ];
        none(
            &format!("{file} does not deny these"),
            lints
                .iter()
                .filter(|lint| !text.contains(*lint))
                .map(ToString::to_string),
        );
    }
}

#[test]
fn every_package_shows_its_readme_as_its_documentation() {
    let all = [
        "activities",
        "activities/protocols",
        "activities/storage",
        "activities/traces",
        "api",
        "workflows",
        "workflows/domain",
    ];
    for package in all {
        let text = std::fs::read_to_string(root().join(package).join("src/lib.rs")).expect(package);
        assert!(
            text.contains("include_str!(\"../README.md\")"),
            "{package} does not include its README"
        );
    }
}
