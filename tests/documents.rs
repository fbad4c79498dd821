//! Checks the Markdown documents: links resolve, no sentence occurs twice, examples are valid, the first page is short,
//! and each document is a page of the book.

use super::{Source, has_identifier, none, sources};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use system_tests::documents::{self, Document, OPERATORS};

const FIRST: &str = "README.md";
/// Maximum number of lines on the first page.
const FIRST_LINES: usize = 150;
/// Maximum number of tables on the first page.
const FIRST_TABLES: usize = 2;
/// The program that builds the book, with the list of its pages.
const BOOK: &str = ".ci/book";
/// The document that lists what a change affects.
const PLACES: &str = "CONTRIBUTING.md";
/// The document with an example body of each kind of event.
const BODIES: &str = "activities/protocols/src/destinations/webhook/README.md";
/// Minimum length, in bytes, of a sentence that must not be in two documents.
const MIN_SENTENCE: usize = 40;
/// Forbidden terms in documents: verbs of talking.
const VAGUE: &[&str] = &["told", "said", "asked", "heard", "whom", "word", "words"];

/// Returns a line of prose without its inline code.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Returns the anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let letters = heading
        .trim()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    letters
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect::<String>()
        .to_lowercase()
}

fn anchors(document: &Document) -> BTreeSet<String> {
    let mut found = BTreeMap::<String, usize>::new();
    let headings = document.prose().filter_map(|line| line.strip_prefix('#'));
    let numbered = headings.map(|heading| {
        let anchor = anchor(heading.trim_start_matches('#'));
        let earlier = found.entry(anchor.clone()).or_default();
        *earlier += 1;
        if *earlier == 1 {
            anchor
        } else {
            format!("{anchor}-{}", *earlier - 1)
        }
    });
    numbered.collect()
}

/// Returns a document's link targets, without web addresses.
fn links(document: &Document) -> Vec<String> {
    let prose = document.prose().collect::<Vec<_>>().join("\n");
    let targets = prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target.to_owned())
        .filter(|target| !target.contains("://"))
        .collect()
}

/// Returns the path of a link's target from the root of the work tree; `None` if it is outside the work tree.
fn resolved(document: &Document, path: &str) -> Option<PathBuf> {
    if path.is_empty() {
        return Some(PathBuf::from(&document.path));
    }
    let mut resolved = Path::new(&document.path).parent()?.to_owned();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => resolved.pop().then_some(())?,
            other => resolved.push(other),
        }
    }
    Some(resolved)
}

/// Returns whether a link leads to a file or folder of the work tree and, with an anchor, to a heading of a document.
fn is_alive(document: &Document, link: &str) -> bool {
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let Some(path) = resolved(document, path).filter(|path| documents::root().join(path).exists())
    else {
        return false;
    };
    fragment.is_empty() || anchors(&Document::read(&path.display().to_string())).contains(fragment)
}

#[test]
fn every_relative_link_and_anchor_resolves() {
    let documents = documents::all();
    let dead = documents.iter().flat_map(|document| {
        let links = links(document)
            .into_iter()
            .filter(|link| !is_alive(document, link));
        links.map(|link| format!("{}: {link}", document.path))
    });
    none("these links are dead", dead);
    let count: usize = documents.iter().map(|document| links(document).len()).sum();
    assert!(count > 40, "only {count} links were found");
}

#[test]
fn each_request_of_a_device_in_an_example_has_its_secret() {
    let documents = documents::all();
    let examples = documents
        .iter()
        .flat_map(|document| document.text.split("```").skip(1).step_by(2));
    let of_devices: Vec<&str> = examples
        .filter(|text| text.contains("curl") && text.contains("/v1/device/"))
        .collect();
    assert!(of_devices.len() >= 3, "{of_devices:?}");
    let without = of_devices
        .into_iter()
        .filter(|text| !text.contains("Settle-Device-Secret:"));
    none(
        "these show a request without the proof of its device",
        without.map(str::to_owned),
    );
}

/// Returns the names of text files after an `@`, from which commands read secrets.
fn secret_files(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let names = text.split('@').skip(1).map(move |rest| {
        rest.split(|letter| !is_part(letter))
            .next()
            .unwrap_or_default()
    });
    names.filter(|name| name.ends_with(".txt"))
}

#[test]
fn secrets_of_the_examples_are_ignored_by_git() {
    let ignored = std::fs::read_to_string(documents::root().join(".gitignore")).expect("a file");
    let is_ignored = |name: &str| {
        ignored
            .lines()
            .any(|line| line.strip_prefix('/') == Some(name))
    };
    let documents = documents::all().into_iter().map(|document| document.text);
    let texts: Vec<String> = documents
        .chain(sources().into_iter().map(|source| source.text))
        .collect();
    let names: BTreeSet<&str> = texts.iter().flat_map(|text| secret_files(text)).collect();
    assert!(
        names.contains("shared-secret.txt") && names.contains("webhook-secret.txt"),
        "{names:?}"
    );
    none(
        ".gitignore does not name these",
        names
            .into_iter()
            .filter(|name| !is_ignored(name))
            .map(str::to_owned),
    );
}

#[test]
fn a_dead_link_is_noticed() {
    let document = Document {
        path: "api/README.md".to_owned(),
        text: "# One `two`, three\n## A\n## A\n".to_owned(),
    };
    assert_eq!(
        anchors(&document),
        ["a", "a-1", "one-two-three"].map(str::to_owned).into()
    );
    for alive in [
        "../README.md",
        "../README.md#the-map",
        "src",
        "../tests/README.md#the-matrix",
    ] {
        assert!(is_alive(&document, alive), "{alive}");
    }
    for dead in [
        "../READMEE.md",
        "../README.md#the-mapp",
        "../../README.md",
        "../../../README.md",
    ] {
        assert!(!is_alive(&document, dead), "{dead}");
    }
}

/// Returns the sentences of a document. Paragraphs, entries of lists and cells of tables are divided into sentences.
fn sentences(document: &Document) -> BTreeSet<String> {
    let mut text = String::new();
    for line in document.prose() {
        let line = line.trim();
        let begins = line.is_empty() || line.starts_with(['*', '-', '|', '#']);
        text.push_str(if begins { "\n" } else { " " });
        text.push_str(&line.replace(" | ", "\n"));
    }
    let sentences = text
        .split(['\n', ';', ':'])
        .flat_map(|part| part.split(". "));
    let plain = sentences.map(|sentence| {
        sentence
            .trim_matches(|letter| " *-|#.".contains(letter))
            .to_owned()
    });
    plain
        .filter(|sentence| sentence.len() >= MIN_SENTENCE)
        .collect()
}

#[test]
fn no_sentence_is_in_two_documents() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for document in documents::all() {
        for sentence in sentences(&document) {
            places
                .entry(sentence)
                .or_default()
                .push(document.path.clone());
        }
    }
    assert!(
        places.len() > 500,
        "only {} sentences were found",
        places.len()
    );
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
    none(
        "these are written twice",
        twice.map(|(text, places)| format!("{places:?}: {text}")),
    );
}

#[test]
fn a_sentence_is_found_in_a_table_and_over_two_lines() {
    let text = "* This sentence of a list goes on\n  over two lines. Short.\n\n| a | this cell has a sentence that is long enough |\n";
    let document = Document {
        path: String::new(),
        text: text.to_owned(),
    };
    let wanted = [
        "This sentence of a list goes on over two lines",
        "this cell has a sentence that is long enough",
    ];
    assert_eq!(sentences(&document), wanted.map(str::to_owned).into());
}

#[test]
fn the_first_page_is_short() {
    let first = Document::read(FIRST);
    let lines = first.text.lines().count();
    assert!(lines <= FIRST_LINES, "{lines} lines");
    let tables = first.prose().filter(|line| line.starts_with("|--")).count();
    assert!(tables <= FIRST_TABLES, "{tables} tables");
}

#[test]
fn the_first_page_leads_to_every_readme() {
    let (mut found, mut next) = (BTreeSet::new(), vec![FIRST.to_owned()]);
    while let Some(path) = next.pop() {
        if found.insert(path.clone()) {
            let document = Document::read(&path);
            let targets = links(&document)
                .into_iter()
                .filter_map(|link| resolved(&document, link.split('#').next()?));
            next.extend(
                targets
                    .map(|path| path.display().to_string())
                    .filter(|path| path.ends_with(".md")),
            );
        }
    }
    let lost = documents::all()
        .into_iter()
        .map(|document| document.path)
        .filter(|path| !found.contains(path));
    none("no link leads here", lost);
}

#[test]
fn every_document_is_a_page_of_the_book() {
    let program = std::fs::read_to_string(documents::root().join(BOOK)).expect("the program");
    let pages: BTreeSet<&str> = program
        .lines()
        .map(str::trim)
        .filter(|line| line.ends_with(".md"))
        .collect();
    let documents = documents::all();
    let documents: BTreeSet<&str> = documents
        .iter()
        .map(|document| document.path.as_str())
        .collect();
    none(
        "no part of the book has these",
        documents.difference(&pages).map(ToString::to_string),
    );
    none(
        "the book has these, which do not exist",
        pages.difference(&documents).map(ToString::to_string),
    );
}

/// Returns whether a document's title is followed by a sentence.
fn begins_with_a_sentence(document: &Document) -> bool {
    let mut lines = document.text.lines().filter(|line| !line.is_empty());
    let has_title = lines.next().is_some_and(|line| line.starts_with("# "));
    has_title
        && lines
            .next()
            .is_some_and(|line| line.starts_with(char::is_alphabetic))
}

#[test]
fn every_document_begins_with_its_purpose() {
    let documents = documents::all();
    let others = documents
        .iter()
        .filter(|document| !begins_with_a_sentence(document));
    none(
        "begin these with what they help to do",
        others.map(|document| document.path.clone()),
    );
    for begin in [
        "## A part\nText",
        "* an entry",
        "`code` first",
        "| a | table |",
    ] {
        let document = Document {
            path: String::new(),
            text: format!("# Title\n\n{begin}\n"),
        };
        assert!(!begins_with_a_sentence(&document), "{begin}");
    }
}

/// Returns whether a text in inline code is a command, a file, a folder or an identifier of the sources. In paths,
/// `NAME` and `KIND` stand for any store and kind of destination.
fn is_known(code: &str, sources: &[Source]) -> bool {
    if code.contains(' ') || code.starts_with('-') {
        return true;
    }
    if code.contains(['/', '.']) {
        let path = code.replace("NAME", "amazon").replace("KIND", "email");
        let end = format!("/{path}");
        return documents::root().join(&path).exists()
            || sources.iter().any(|source| source.path.ends_with(&end));
    }
    let last = code.rsplit("::").next().unwrap_or_default();
    sources
        .iter()
        .any(|source| has_identifier(&source.text, last))
}

#[test]
fn the_places_of_a_change_exist() {
    let (document, sources) = (Document::read(PLACES), sources());
    let prose = document.prose().collect::<Vec<_>>().join("\n");
    let codes: BTreeSet<&str> = prose.split('`').skip(1).step_by(2).collect();
    assert!(codes.len() > 50, "{codes:?}");
    none(
        "these do not exist",
        codes
            .into_iter()
            .filter(|code| !is_known(code, &sources))
            .map(str::to_owned),
    );
    for unknown in [
        "api/src/stores/NAME/nothing.rs",
        "nothing.rs",
        "Store::no_such_function",
    ] {
        assert!(!is_known(unknown, &[]), "{unknown}");
    }
}

#[test]
fn every_line_for_the_temporal_cli_is_among_the_tested_ones() {
    let mut untested = Vec::new();
    for document in documents::all() {
        let is_listed = OPERATORS.contains(&document.path.as_str());
        let blocks = document
            .blocks()
            .into_iter()
            .filter(|block| !(is_listed && block.is_tested));
        let lines = blocks
            .flat_map(|block| block.lines)
            .filter(|line| line.starts_with("temporal "));
        untested.extend(lines.map(|line| format!("{}: {line}", document.path)));
    }
    none(
        "mark these as tested and put their document on the list of tests/harness/documents.rs",
        untested,
    );
    assert!(!documents::operators_lines().is_empty());
}

/// Returns the mistake in a documented command that writes or restores a backup, if any.
fn unsafe_backup(line: &str) -> Option<&'static str> {
    let writes = ["pg_dump --", "VACUUM INTO", "cp settle-data/"]
        .iter()
        .any(|command| line.contains(command));
    if writes && !line.contains("umask 077") {
        return Some("others can read the backup");
    }
    let stops = ["--single-transaction", "--exit-on-error"]
        .iter()
        .all(|flag| line.contains(flag));
    (line.contains("pg_restore --") && !stops)
        .then_some("it goes on after an error, in a database that is in use")
}

#[test]
fn backups_are_closed_to_others_and_restored_as_a_whole() {
    let documents = documents::all();
    let blocks = documents.iter().flat_map(|document| {
        document
            .blocks()
            .into_iter()
            .map(move |block| (document, block))
    });
    let lines: Vec<(String, String)> = blocks
        .flat_map(|(document, block)| {
            block
                .lines
                .into_iter()
                .map(|line| (document.path.clone(), line))
        })
        .collect();
    let wrong = lines
        .iter()
        .filter_map(|(path, line)| Some(format!("{path}: {}: {line}", unsafe_backup(line)?)));
    none("these commands are not safe", wrong.collect::<Vec<_>>());
    for command in ["pg_dump --", "pg_restore --", "VACUUM INTO"] {
        assert!(
            lines.iter().any(|(_, line)| line.contains(command)),
            "no line has {command}"
        );
    }
}

#[test]
fn documents_name_things_without_verbs_of_talking() {
    let mut places = Vec::new();
    for document in &documents::all() {
        for line in document.prose() {
            let plain = without_code(line).to_lowercase();
            let mut terms = plain.split(|letter: char| !letter.is_alphanumeric());
            if terms.any(|term| VAGUE.contains(&term)) {
                places.push(format!("{}: {line}", document.path));
            }
        }
    }
    none("name what is meant", places);
}

#[test]
fn every_setting_of_the_environment_is_documented() {
    let code = documents::settings();
    let names: Vec<&str> = code
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| text.starts_with("SETTLE_"))
        .collect();
    assert!(names.len() > 10, "only {names:?}");
    let table = Document::read("api/src/config/README.md").text;
    let missing = names
        .into_iter()
        .filter(|name| !table.contains(&format!("`{name}`")));
    none(
        "these settings are not documented",
        missing.map(str::to_owned),
    );
}

/// Returns the example bodies of events in [`BODIES`].
fn bodies() -> Vec<Value> {
    let blocks = Document::read(BODIES)
        .blocks()
        .into_iter()
        .filter(|block| block.language == "json");
    blocks
        .map(|block| serde_json::from_str(&block.lines.join("\n")).expect("a body"))
        .collect()
}

/// Returns the type of an event, according to the documented rule.
fn event_type(body: &Value) -> &str {
    let places = ["/attributes/event_type", "/event_type", "/type"];
    places
        .iter()
        .find_map(|place| body.pointer(place)?.as_str())
        .expect("a type")
}

#[test]
fn an_event_body_of_each_kind_is_documented_and_valid() {
    let schemas = domain::schemas::all();
    let kind = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let mut missing: BTreeSet<String> = schemas.iter().map(|(name, ..)| kind(name)).collect();
    for body in bodies() {
        let name = event_type(&body);
        missing.remove(&kind(name));
        let Some((.., schema)) = schemas.iter().find(|(known, ..)| *known == name) else {
            assert_eq!(name, "test");
            continue;
        };
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(schema)
            .expect("a schema");
        let wrong = validator.iter_errors(&body).map(|error| error.to_string());
        none(&format!("the body of {name} is not valid"), wrong);
        none(
            &format!("the body of {name} has not all fields"),
            absent(schema, &body),
        );
    }
    assert!(missing.is_empty(), "no body of {missing:?}");
}

/// Returns the properties of a schema, and of its `attributes` and `data`, that a body lacks, without those that depend
/// on a setting.
fn absent(schema: &Value, body: &Value) -> Vec<String> {
    let names = |schema: &Value| -> Vec<String> {
        let properties = schema["properties"].as_object();
        let usual = properties.into_iter().flatten().filter(|(_, property)| {
            ["x-setting", "x-left-out"]
                .iter()
                .all(|mark| property.get(mark).is_none())
        });
        usual.map(|(name, _)| name.clone()).collect()
    };
    let mut absent: Vec<String> = names(schema)
        .into_iter()
        .filter(|name| body.get(name).is_none())
        .collect();
    for part in ["attributes", "data"] {
        let reference = schema["properties"][part]["$ref"]
            .as_str()
            .unwrap_or_default();
        let inner = reference
            .strip_prefix('#')
            .and_then(|place| schema.pointer(place));
        let inner = inner.unwrap_or(&schema["properties"][part]);
        absent.extend(
            names(inner)
                .into_iter()
                .filter(|name| body[part].get(name).is_none()),
        );
    }
    absent
}

#[test]
fn the_documented_digest_is_that_of_the_documented_record() {
    let body = bodies()
        .into_iter()
        .find(|body| event_type(body) == "purchase.updated")
        .expect("a record");
    assert_eq!(
        body["attributes"]["state_digest"],
        domain::event::state_digest(&body["data"])
    );
}
