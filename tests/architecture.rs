//! Checks the source tree: where a store or destination may be named, and which code may use what. The submodules check
//! the dependencies, the form of the code and the documents.

mod dependencies;
mod documents;
mod forge;
mod form;
mod promises;
mod rooms;
mod telemetry;
mod templates;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

struct Source {
    /// Path relative to the root of the work tree.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the work tree")
}

/// Returns all Rust files of the work tree.
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

    /// Returns the source without the tests at the end of the file.
    fn without_tests(self) -> Self {
        let tests = "\n#[cfg(test)]\nmod tests {";
        let text = self.text.split(tests).next().unwrap_or_default();
        Self {
            text: text.to_owned(),
            ..self
        }
    }

    /// Returns the lines that are not comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Returns the code as one line.
    fn joined(&self) -> Joined {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let mut text = String::new();
        let mut lines = Vec::new();
        for (at, line) in self.code() {
            let line = line.trim();
            if text.ends_with(is_part) && line.starts_with(is_part) {
                text.push(' ');
            }
            lines.push((text.len(), at));
            text.push_str(line);
        }
        Joined { text, lines }
    }

    /// Returns the places that `wanted` finds in the code.
    fn places(&self, wanted: impl Fn(&str) -> Vec<usize>) -> Vec<String> {
        let code = self.joined();
        let found = wanted(&code.text).into_iter();
        let lines: BTreeSet<usize> = found.map(|at| code.line(at)).collect();
        let place = |at: usize| {
            let line = self.text.lines().nth(at - 1).unwrap_or_default();
            format!("{}:{at}: {}", self.path, line.trim())
        };
        lines.into_iter().map(place).collect()
    }
}

/// The code of a file as one line, without comments and indentation, so that a rule finds a call however rustfmt breaks
/// it.
struct Joined {
    text: String,
    /// The offset at which each line begins, and the line's number.
    lines: Vec<(usize, usize)>,
}

impl Joined {
    /// Returns the number of the line at an offset.
    fn line(&self, at: usize) -> usize {
        let begun = self.lines.partition_point(|(offset, _)| *offset <= at);
        self.lines[begun - 1].1
    }
}

/// Returns a function that finds each of these texts in code.
fn any_of<'a>(wanted: &'a [&'a str]) -> impl Fn(&str) -> Vec<usize> + 'a {
    move |code: &str| {
        let found = wanted.iter().flat_map(|text| code.match_indices(text));
        found.map(|(at, _)| at).collect()
    }
}

#[test]
fn a_rule_finds_what_is_broken_over_lines() {
    let text = "fn f() {\n    edge\n        // Why.\n        .store\n        .query(\n            \"done\",\n        );\n}\n";
    let source = Source {
        path: "a.rs".to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(source.places(any_of(&["edge.store"])), ["a.rs:2: edge"]);
    assert_eq!(
        source.places(any_of(&[".query(\"done\""])),
        ["a.rs:5: .query("]
    );
    assert_eq!(source.places(any_of(&["Why"])), [""; 0]);
}

/// Fails with all places, if there are any.
fn none(what: &str, places: impl IntoIterator<Item = String>) {
    let places: Vec<String> = places.into_iter().collect();
    assert!(places.is_empty(), "{what}:\n  {}", places.join("\n  "));
}

/// Returns the places that `wanted` finds in the code of files that are not `allowed`.
fn outside(allowed: impl Fn(&Source) -> bool, wanted: impl Fn(&str) -> Vec<usize>) -> Vec<String> {
    sources()
        .iter()
        .filter(|source| !allowed(source))
        .flat_map(|source| source.places(&wanted))
        .collect()
}

/// Returns whether the line contains `identifier` as a whole identifier.
fn has_identifier(line: &str, identifier: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(identifier).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + identifier.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

/// Returns the offsets at which code uses the database directly: a call on the edge's field `store`, or the type
/// `Store`.
fn uses_the_database(code: &str) -> Vec<usize> {
    let mut found = any_of(&[".store.", "edge.store"])(code);
    let is_part = |one: char| one.is_alphanumeric() || "_\"".contains(one);
    let types = code.match_indices("Store").map(|(at, _)| at);
    found.extend(types.filter(|at| {
        let (before, after) = (&code[..*at], &code[at + "Store".len()..]);
        !before.ends_with(is_part) && !after.starts_with(char::is_alphanumeric)
    }));
    found
}

#[test]
fn the_page_reads_and_changes_through_resources_alone() {
    for direct in [
        "let app = edge.store.app(id).await?;",
        "let store = &edge.store;",
        "use storage::{Role, Store};",
        "fn read(store: &storage::Store) {",
    ] {
        assert!(!uses_the_database(direct).is_empty(), "{direct}");
    }
    for other in [
        "let topics = edge.topics(&of.platform.store);",
        "use storage::{SilentStore, StoreName};",
        "(\"platform_type\", \"Store\"),",
    ] {
        assert!(uses_the_database(other).is_empty(), "{other}");
    }
    let is_other = |source: &Source| !source.path.starts_with("api/src/pages/");
    none(
        "a page shows what resources answer: read it there, where the API has it, too",
        outside(is_other, uses_the_database),
    );
}

/// Each store, with its names in code and texts. The headers of a company's cloud do not belong to its store.
const STORES: [(&str, &[&str]); 3] = [
    ("amazon", &["amazon", "Amazon", "AMAZON"]),
    ("apple", &["apple::", "\"apple\"", "App Store", "APPLE"]),
    (
        "google",
        &["google::", "\"google\"", "Google Play", "GOOGLE"],
    ),
];

#[test]
fn a_store_is_named_in_its_own_folders_only() {
    let lists = [
        "api/src/stores/mod.rs",
        "activities/protocols/src/stores/mod.rs",
        "workflows/domain/src/stores/mod.rs",
    ];
    let folders = std::fs::read_dir(root().join("api/src/stores")).expect("the stores");
    let folders = folders.filter_map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_name()?.to_str()?.to_owned();
        path.join("ingress.rs").exists().then_some(name)
    });
    let mut named: Vec<_> = folders.collect();
    named.sort();
    assert_eq!(named, STORES.map(|(name, _)| name), "stores with a folder");
    for (name, names) in STORES {
        let folder = format!("/stores/{name}/");
        let allowed = |source: &Source| {
            let path = source.path.as_str();
            source.is_test() || path.contains(&folder) || lists.contains(&path)
        };
        none(
            &format!("{name} is named outside its folders"),
            outside(allowed, any_of(names)),
        );
    }
}

/// The kinds of destinations whose names are also ordinary English words, or terms of a standard.
const ENGLISH: [&str; 2] = ["webhook", "email"];

/// Returns the names of a kind of destination in code and texts.
fn names_of_kind(name: &str) -> Vec<String> {
    let (first, rest) = name.split_at(1);
    let upper = format!("{}{rest}", first.to_uppercase());
    let mut names = vec![
        format!("destinations::{name}"),
        format!("{name}::kind"),
        format!("New{upper}"),
        format!("\"{upper}\""),
        format!("--kind {name}"),
    ];
    if ENGLISH.contains(&name) {
        names.push(format!("== \"{name}\""));
        names.push(format!("= \"{name}\","));
    } else {
        names.extend([name.to_owned(), upper, name.to_uppercase()]);
    }
    names
}

#[test]
fn a_kind_of_destination_is_named_in_its_own_folder_only() {
    // The first file lists the modules, the second the kinds.
    let lists = [
        "activities/protocols/src/destinations/mod.rs",
        "activities/protocols/src/destinations/kinds.rs",
    ];
    for kind in protocols::destinations::kinds() {
        let name = kind.name();
        let folder = format!("activities/protocols/src/destinations/{name}/");
        let allowed = |source: &Source| {
            let path = source.path.as_str();
            source.is_test() || path.starts_with(&folder) || lists.contains(&path)
        };
        let names = names_of_kind(name);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sources = sources().into_iter().map(Source::without_tests);
        let tables = verbs().into_iter();
        let found = sources
            .chain(tables)
            .filter(|source| !allowed(source))
            .flat_map(|source| source.places(any_of(&names)));
        none(&format!("{name} is named outside its folder"), found);
    }
}

/// Returns the tables of the command line's verbs.
fn verbs() -> Vec<Source> {
    let folder = "api/src/commands/verbs";
    let files = std::fs::read_dir(root().join(folder)).expect("the tables of the verbs");
    let table = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        Source {
            path: format!("{folder}/{name}"),
            text: std::fs::read_to_string(&path).expect("a table"),
        }
    };
    files.map(table).collect()
}

#[test]
fn a_kind_of_destination_is_found_where_it_is_named() {
    let names = names_of_kind("pigeon");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = |text: &str| !any_of(&names)(text).is_empty();
    for text in [
        "kind == \"pigeon\"",
        "PIGEON_URL",
        "NewPigeon",
        "--kind pigeon",
    ] {
        assert!(found(text), "{text}");
    }
    let names = names_of_kind("email");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let english = any_of(&names)("mailbox.email; \"an email\"; [\"email\", \"id\"]");
    assert!(english.is_empty(), "{english:?}");
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
        outside(allowed, any_of(&["reqwest::"])),
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
        outside(allowed, any_of(calls))
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
fn tests_wait_for_conditions_and_never_just_sleep() {
    // The second file delays data on purpose, like a network.
    let exceptions = ["tests/harness/wait.rs", "tests/harness/distance.rs"];
    let allowed = |source: &Source| !source.is_test() || exceptions.contains(&source.path.as_str());
    let sleeps = [
        concat!("thread::sl", "eep"),
        concat!("time::sl", "eep("),
        concat!("park_time", "out"),
    ];
    none("use harness/wait.rs", outside(allowed, any_of(&sleeps)));
}

/// Tests of durability, overlapping transactions, kills at every fail point, and delivery at scale. All others may use
/// a PostgreSQL that does not wait for the disk: its committed data survives a `kill -9` of settle nevertheless.
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
    let story = concat!("story", "! {");
    let synced = [
        concat!("story", "! { synced"),
        concat!("story", "! {synced"),
    ];
    let waits = [
        concat!("Backend::Synced", "Postgres"),
        concat!("World::synced_", "postgres"),
        concat!("Fsync", "::On"),
        synced[0],
        synced[1],
    ];
    let waits_not = |code: &str| {
        let is_synced = |at: &usize| synced.iter().any(|form| code[*at..].starts_with(form));
        let mut found = any_of(&[story])(code);
        found.retain(|at| !is_synced(at));
        found.extend(any_of(&["Backend::Postgres"])(code));
        found
    };
    let files = sources().into_iter().filter(is_test);
    let found: Vec<String> = files
        .filter(|source| !source.places(any_of(&waits)).is_empty())
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
    let sources = sources();
    let source = sources
        .iter()
        .find(|source| source.path == "activities/src/lib.rs");
    let source = source.expect("the activities").joined().text;
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
