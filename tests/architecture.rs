//! Checks the source tree: which package may depend on which, where a store or a destination may be named, and the form
//! of the code and of the documents.

mod documents;
mod forge;
mod promises;
mod rooms;
mod telemetry;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Direct dependencies that `domain` may have: crates for values and their serialisation.
const DOMAIN: &[&str] = &[
    "jiff",
    "rust_decimal",
    "schemars",
    "serde",
    "serde_json",
    "serde_json_canonicalizer",
    "sha2",
    "thiserror",
    "unicode-normalization",
    "uuid",
];

/// Direct dependencies that `workflows` may have. None of them can do I/O; `fail` does nothing outside tests.
const WORKFLOWS: &[&str] = &[
    "domain",
    "fail",
    "serde",
    "serde_json",
    "temporalio-common-wasm",
    "temporalio-macros",
    "temporalio-protos",
    "temporalio-workflow",
];

/// Direct dependencies that `protocols` may have: crates for values, their serialisation and signatures, and `storage`.
const PROTOCOLS: &[&str] = &[
    "base64",
    "domain",
    "httpdate",
    "ipnet",
    "lettre",
    "percent-encoding",
    "ring",
    "schemars",
    "secrecy",
    "serde",
    "serde_json",
    "storage",
    "thiserror",
    "url",
];

/// Packages that may not come back: one TLS stack (rustls) and one provider of ciphers (ring), and no other library in C
/// than SQLite's and ring's own.
const BANNED: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-src",
    "openssl-sys",
    "pq-src",
    "pq-sys",
];

/// Types with a meaning in each command, and those with more than four meanings, which should become fewer.
const MANY_MEANINGS: &[(&str, usize)] = &[
    ("Answer", 8),
    ("Choice", 5),
    ("Config", 6),
    ("Key", 6),
    ("Kind", 5),
    ("Next", 5),
    ("Options", usize::MAX),
    ("Request", 5),
    ("Settings", 7),
    ("Start", 7),
    ("State", 7),
    ("Step", 9),
    ("Subject", 5),
    ("Verb", usize::MAX),
];

/// Maximum number of lines of a file.
const MAX_LINES: usize = 1000;

/// Maximum length of a line of a comment, from its marker on: rustfmt wraps none.
const MAX_COMMENT: usize = 130;

struct Source {
    /// Relative to the root of the work tree.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the work tree")
}

/// All Rust files of the work tree.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for package in ["activities", "api", "tests", "workflows"] {
        collect(&root().join(package), &mut found);
    }
    assert!(found.len() > 50, "only {} files were found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the work tree") {
        let path: PathBuf = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a file of Rust");
            let path = path
                .strip_prefix(root())
                .expect("a path in the work tree")
                .display()
                .to_string();
            found.push(Source { path, text });
        }
    }
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests")
    }

    /// Lines that are no comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The places of the lines of code that `wanted` matches.
    fn places(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.code().filter(|(_, line)| wanted(line));
        lines
            .map(|(at, line)| format!("{}:{at}: {}", self.path, line.trim()))
            .collect()
    }
}

/// Fails with all places, unless there are none.
fn none(what: &str, places: impl IntoIterator<Item = String>) {
    let places: Vec<String> = places.into_iter().collect();
    assert!(places.is_empty(), "{what}:\n  {}", places.join("\n  "));
}

/// Every line of code that `wanted` matches, in files that are not `allowed`.
fn outside(allowed: impl Fn(&Source) -> bool, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    sources()
        .iter()
        .filter(|source| !allowed(source))
        .flat_map(|source| source.places(&wanted))
        .collect()
}

/// Whether the line contains `identifier` as a whole identifier.
fn has_identifier(line: &str, identifier: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(identifier).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + identifier.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

/// Whether a parameter of the line is a tuple that names its parts: each of them is a parameter.
fn takes_a_tuple(line: &str) -> bool {
    line.match_indices("): (").any(|(end, _)| {
        let (before, names) = line[..end].rsplit_once('(').unwrap_or_default();
        let is_list = names.contains(", ")
            && names
                .chars()
                .all(|one| one.is_ascii_lowercase() || "_, ".contains(one));
        is_list && (before.trim().is_empty() || before.contains("fn "))
    })
}

#[test]
fn parameters_are_no_tuples() {
    assert!(
        takes_a_tuple("fn find((url, app): (&Url, Option<AppId>), rules: &Rules) {"),
        "a tuple is noticed"
    );
    assert!(
        takes_a_tuple("        (key, overlap): (SecretString, Duration),"),
        "also on a line of its own"
    );
    let of_tests = |source: &Source| source.path.starts_with("tests/");
    none("these are parameters", outside(of_tests, takes_a_tuple));
}

/// The name of the type that a line declares.
fn declared(line: &str) -> Option<&str> {
    let line = line
        .trim_start()
        .trim_start_matches("pub(crate) ")
        .trim_start_matches("pub(super) ");
    let line = line.trim_start_matches("pub ");
    let name = line
        .strip_prefix("struct ")
        .or_else(|| line.strip_prefix("enum "))?;
    name.split(|one: char| !one.is_alphanumeric()).next()
}

#[test]
fn the_name_of_a_type_has_few_meanings() {
    assert_eq!(
        declared("    pub(crate) struct Row<'a>(&'a str);"),
        Some("Row")
    );
    assert_eq!(declared("let structure = 1;"), None);
    let mut meanings: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for name in source.code().filter_map(|(_, line)| declared(line)) {
            *meanings.entry(name.to_owned()).or_default() += 1;
        }
    }
    let most = |name: &str| {
        MANY_MEANINGS
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(4, |(_, most)| *most)
    };
    let surplus = meanings.iter().filter(|(name, count)| **count > most(name));
    none(
        "these have too many meanings",
        surplus.map(|(name, count)| format!("{name}: {count}")),
    );
}

/// The packages of the work tree, by `cargo metadata`.
fn packages() -> Vec<serde_json::Value> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root())
        .output();
    let metadata: serde_json::Value =
        serde_json::from_slice(&cargo.expect("cargo metadata").stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The names of a package's direct dependencies, without those of tests.
fn dependencies(package: &str) -> BTreeSet<String> {
    let packages = packages();
    let package = packages
        .iter()
        .find(|found| found["name"] == package)
        .expect("the package");
    let all = package["dependencies"]
        .as_array()
        .expect("dependencies")
        .iter()
        .filter(|one| one["kind"].is_null());
    all.filter_map(|one| one["name"].as_str().map(str::to_owned))
        .collect()
}

fn check_dependencies(package: &str, allowed: &[&str]) {
    let surplus = dependencies(package)
        .into_iter()
        .filter(|name| !allowed.contains(&name.as_str()));
    none(&format!("`{package}` may not depend on these"), surplus);
}

#[test]
fn domain_depends_on_values_only() {
    check_dependencies("domain", DOMAIN);
}

#[test]
fn workflows_depend_on_nothing_that_can_do_io() {
    check_dependencies("workflows", WORKFLOWS);
}

#[test]
fn protocols_depend_on_nothing_that_sends() {
    check_dependencies("protocols", PROTOCOLS);
}

#[test]
fn openssl_and_libpq_are_not_built() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let names = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    none(
        "these packages may not be used",
        names
            .filter(|name| BANNED.contains(name))
            .map(str::to_owned),
    );
}

#[test]
fn fail_points_are_compiled_into_tests_only() {
    let names = |features: &serde_json::Value| features.to_string().contains("fail");
    for package in packages() {
        let default = &package["features"]["default"];
        assert!(
            !names(default),
            "{} has fail points by default: {default}",
            package["name"]
        );
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let is_tests = package["name"] == "system-tests" && dependency["kind"] == "dev";
            let requested = names(&dependency["features"]);
            assert!(
                is_tests || !requested,
                "{} asks for them: {dependency}",
                package["name"]
            );
            let has_fixtures = dependency["features"].to_string().contains("fixtures");
            assert!(
                dependency["kind"] == "dev" || !has_fixtures,
                "{} has fixtures: {dependency}",
                package["name"]
            );
        }
    }
}

#[test]
fn storage_knows_neither_the_engine_nor_http() {
    let is_foreign = |name: &String| {
        name.starts_with("temporalio")
            || ["api", "axum", "reqwest", "anyhow"].contains(&name.as_str())
    };
    none(
        "`storage` may not depend on these",
        dependencies("storage").into_iter().filter(is_foreign),
    );
}

#[test]
fn only_the_commands_know_the_activities() {
    let allowed = |source: &Source| {
        !source.path.starts_with("api/") || source.path.starts_with("api/src/commands/")
    };
    none(
        "only api/src/commands may use the activities",
        outside(allowed, |line| line.contains("activities::")),
    );
}

#[test]
fn a_store_is_named_in_its_own_folders_only() {
    let lists = [
        "api/src/stores/mod.rs",
        "activities/protocols/src/stores/mod.rs",
    ];
    let allowed = |source: &Source| {
        let path = source.path.as_str();
        source.is_test()
            || path.contains("/stores/amazon/")
            || path.starts_with("api/src/commands/")
            || lists.contains(&path)
    };
    none(
        "this store is named outside its folders",
        outside(allowed, |line| line.to_lowercase().contains("amazon")),
    );
}

#[test]
fn a_destination_is_named_in_its_own_folder_only() {
    let allowed = |source: &Source| {
        let path = source.path.as_str();
        source.is_test()
            || path.starts_with("activities/protocols/src/destinations/")
            || path.starts_with("api/src/config/")
            || path.starts_with("api/src/commands/")
    };
    // `webhook` alone is also ordinary English and the beginning of standard headers.
    let is_named =
        |line: &str| line.contains("\"webhook\"") || line.to_lowercase().contains("amplitude");
    none(
        "this kind is named outside its folder",
        outside(allowed, is_named),
    );
}

#[test]
fn only_the_places_for_it_send_over_the_network() {
    let allowed = |source: &Source| {
        let path = source.path.as_str();
        source.is_test()
            || path.starts_with("activities/src/http")
            || path.ends_with("/fetch.rs")
            || path == "activities/traces/src/send.rs"
            || path.starts_with("api/src/commands/")
    };
    none(
        "only activities/src/http, a store's fetch.rs and the exporter of traces send",
        outside(allowed, |line| line.contains("reqwest::")),
    );
}

#[test]
fn the_api_reads_clock_and_environment_in_one_place_each() {
    let callers = |path: &str, calls: &[&str]| {
        let allowed = |source: &Source| {
            source.is_test()
                || !source.path.starts_with("api/src/")
                || source.path.starts_with(path)
        };
        outside(allowed, |line| calls.iter().any(|call| line.contains(call)))
    };
    let clock = [
        "SystemTime::now",
        "Timestamp::now",
        "SystemRandom",
        "Uuid::new_v4",
    ];
    none(
        "only api/src/clock.rs reads the clock and creates random values",
        callers("api/src/clock.rs", &clock),
    );
    none(
        "only api/src/config reads the environment",
        callers("api/src/config/", &["env::var"]),
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
            |line| {
                line.contains(concat!("#[al", "low(")) || line.contains(concat!("#![al", "low("))
            },
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
fn tests_wait_for_conditions_and_never_just_sleep() {
    // The second one delays what it carries, as a network does.
    let exceptions = ["tests/harness/wait.rs", "tests/harness/distance.rs"];
    let allowed = |source: &Source| !source.is_test() || exceptions.contains(&source.path.as_str());
    let sleeps = [
        concat!("thread::sl", "eep"),
        concat!("time::sl", "eep("),
        concat!("park_time", "out"),
    ];
    none(
        "use harness/wait.rs",
        outside(allowed, |line| {
            sleeps.iter().any(|sleep| line.contains(sleep))
        }),
    );
}

/// Tests of what must be on the disk, of transactions that overlap, of a kill at every fail point, and of delivery at
/// scale. All others may use a PostgreSQL that does not wait for the disk: what it has committed outlives a `kill -9` of
/// settle all the same.
const SYNCED: [&str; 11] = [
    "tests/chaos/site/mod.rs",
    "tests/chaos/site/servers.rs",
    "tests/e2e/kills.rs",
    "tests/integration/harness_postgres.rs",
    "tests/integration/storage/epochs.rs",
    "tests/integration/storage/overlapping/mod.rs",
    "tests/trust/chance.rs",
    "tests/trust/devices.rs",
    "tests/trust/hanging.rs",
    "tests/trust/limits.rs",
    "tests/trust/outage.rs",
];

#[test]
fn what_proves_durability_waits_for_the_disk() {
    let is_test = |source: &Source| {
        let path = &source.path;
        path.starts_with("tests/")
            && !path.starts_with("tests/harness/")
            && !path.ends_with("/world.rs")
    };
    let waits = |line: &str| {
        let forms = [
            concat!("Backend::Synced", "Postgres"),
            concat!("World::synced_", "postgres"),
            concat!("Fsync", "::On"),
            concat!("story! { ", "synced"),
        ];
        forms.iter().any(|form| line.contains(form))
    };
    let waits_not = |line: &str| line.contains("Backend::Postgres") || line.trim() == "story! {";
    let files = sources().into_iter().filter(is_test);
    let found: Vec<String> = files
        .filter(|source| source.code().any(|(_, line)| waits(line)))
        .map(|source| source.path)
        .collect();
    let expected: BTreeSet<&str> = SYNCED.into_iter().collect();
    assert_eq!(
        found.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        expected
    );
    none(
        "these must wait for the disk",
        outside(|source| !expected.contains(source.path.as_str()), waits_not),
    );
}

#[test]
fn every_activity_notes_its_failures() {
    let source =
        std::fs::read_to_string(root().join("activities/src/lib.rs")).expect("the activities");
    // In one line, however rustfmt breaks it.
    let source: String = source.lines().map(str::trim).collect();
    let activities: Vec<&str> = source.split("#[activity(").skip(1).collect();
    assert!(
        activities.len() >= 14,
        "only {} activities were found",
        activities.len()
    );
    let silent = activities
        .iter()
        .filter(|activity| !activity.contains(".noting(&ctx,"));
    none(
        "these fail unseen",
        silent.map(|activity| activity.chars().take(120).collect::<String>()),
    );
}

#[test]
fn no_test_is_skipped() {
    none(
        "a test that cannot run must fail",
        outside(
            |_| false,
            |line| line.trim_start().starts_with(concat!("#[ign", "ore")),
        ),
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
    // That file only declares activities, and the SDK's macro requires bodies.
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
