//! Checks `promises.toml`: every test that it names exists, every invariant in a README has an entry, and each entry is
//! valid and unique. The program `executed` checks that a gate has executed these tests.

use super::dependencies::packages;
use super::{none, root, sources};
use std::collections::{BTreeMap, BTreeSet};
use system_tests::documents::{self, Document};
use system_tests::promises::{DATABASES, Executed, Gate, Promise, Promises, parse};

const FILE: &str = include_str!("promises.toml");
/// Binaries that are only executed by the gate `release`.
const RELEASE: [&str; 4] = ["fire", "hostile", "matrix", "production"];
/// The headings of sections whose entries are invariants.
const HEADINGS: [&str; 3] = ["The invariants", "Invariants", "What always holds"];
/// Minimum length, in bytes, of a sentence that represents an invariant of a README.
const MIN_SENTENCE: usize = 20;

type Files = BTreeMap<String, String>;

/// A module of a binary.
struct Module<'a> {
    path: &'a str,
    file: &'a str,
    /// Folder of the files of its child modules.
    folder: &'a str,
}

/// Adds the tests of a module, leaving out the modules of databases.
fn walk(files: &Files, module: &Module<'_>, found: &mut BTreeSet<String>) {
    let Some(text) = files.get(module.file) else {
        return;
    };
    let (mut inner, mut is_test) = (Vec::<(&str, usize)>::new(), false);
    for line in text.lines() {
        let code = line.trim_start();
        let indentation = line.len() - code.len();
        if code == "}" && inner.last().is_some_and(|(_, begun)| *begun == indentation) {
            inner.pop();
        }
        let path = |first: &str, between: &str, last: &str| {
            let parts = [first]
                .into_iter()
                .chain(inner.iter().map(|(name, _)| *name))
                .chain([last]);
            parts.collect::<Vec<_>>().join(between)
        };
        is_test |=
            code == "#[test]" || code.starts_with("#[tokio::test") || code.starts_with("story! {");
        if let Some(name) = after(code, "mod ").and_then(|name| name.strip_suffix(" {")) {
            inner.push((name, indentation));
        } else if let Some(name) = after(code, "mod ").and_then(|name| name.strip_suffix(';')) {
            let (child, folder) = (
                path(module.path, "::", name),
                path(module.folder, "/", name),
            );
            for file in [format!("{folder}.rs"), format!("{folder}/mod.rs")] {
                walk(
                    files,
                    &Module {
                        path: &child,
                        file: &file,
                        folder: &folder,
                    },
                    found,
                );
            }
        } else if let Some(name) = after(code, "fn ").filter(|_| is_test) {
            let end = name
                .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .unwrap_or(name.len());
            found.insert(path(module.path, "::", &name[..end]));
            is_test = false;
        }
    }
}

/// Returns the text after a keyword at the beginning of a line, ignoring visibility and `async`.
fn after<'a>(code: &'a str, keyword: &str) -> Option<&'a str> {
    let is_part = code.starts_with("pub(");
    let code = if is_part {
        code.split_once(") ")?.1
    } else {
        code.strip_prefix("pub ").unwrap_or(code)
    };
    code.strip_prefix("async ")
        .unwrap_or(code)
        .strip_prefix(keyword)
}

/// Returns the tests of all binaries of the work tree.
fn known() -> BTreeSet<String> {
    let files: Files = sources()
        .into_iter()
        .map(|source| (source.path, source.text))
        .collect();
    let mut found = BTreeSet::new();
    for package in packages() {
        for target in package["targets"].as_array().expect("targets") {
            let [name, path] =
                ["name", "src_path"].map(|field| target[field].as_str().expect("a text"));
            let file = path
                .strip_prefix(&format!("{}/", root().display()))
                .expect("a path in the work tree");
            let (folder, _) = file.rsplit_once('/').expect("a folder");
            walk(
                &files,
                &Module {
                    path: name,
                    file,
                    folder,
                },
                &mut found,
            );
        }
    }
    assert!(found.len() > 1000, "only {} tests were found", found.len());
    found
}

struct Invariant {
    place: String,
    /// Id of the invariant, such as `I1`, if the document names one.
    id: Option<String>,
    text: String,
}

/// Returns the text of a heading.
fn title(line: &str) -> &str {
    line.trim_start_matches('#').trim()
}

/// Returns the entries of lists and tables under the headings of invariants.
fn invariants(document: &Document) -> Vec<Invariant> {
    let mut entries = Vec::<String>::new();
    let (mut is_inside, mut is_table) = (false, false);
    for line in document.prose() {
        if line.starts_with('#') {
            is_inside = HEADINGS.contains(&title(line));
        }
        let numbered = line
            .split_once(". ")
            .filter(|(number, _)| number.parse::<u8>().is_ok());
        let item = line
            .strip_prefix("- ")
            .or_else(|| line.strip_prefix("* "))
            .or(numbered.map(|(_, item)| item));
        if let Some(item) = item.filter(|_| is_inside) {
            entries.push(item.to_owned());
        } else if is_inside && line.starts_with('|') && is_table {
            entries.extend(
                (!line.starts_with("|--") && !line.starts_with("|---")).then(|| line.to_owned()),
            );
        } else if let Some(entry) = entries
            .last_mut()
            .filter(|_| is_inside && line.starts_with("  "))
        {
            entry.push(' ');
            entry.push_str(line.trim());
        }
        is_table = line.starts_with('|');
    }
    let invariant = |entry: &String| {
        let cells: Vec<&str> = entry
            .trim_matches('|')
            .split(" | ")
            .map(str::trim)
            .collect();
        let is_id = |cell: &str| {
            cell.strip_prefix('I')
                .is_some_and(|number| number.parse::<u8>().is_ok())
        };
        let id = cells
            .first()
            .filter(|cell| is_id(cell))
            .map(|id| (*id).to_owned());
        let text = if id.is_some() {
            cells.get(1)
        } else {
            cells.first()
        };
        Invariant {
            place: document.path.clone(),
            id,
            text: plain(text.unwrap_or(&"")),
        }
    };
    entries.iter().map(invariant).collect()
}

/// Returns a text without the markup of code, emphasis and links.
fn plain(text: &str) -> String {
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    let linked = parts.fold(first, |plain, part| {
        plain + part.split_once(')').map_or(part, |(_, rest)| rest)
    });
    linked.replace(['`', '[', '*'], "")
}

/// Returns whether an entry of the file represents an invariant: by its id, or by the beginning of its text.
fn is_listed(promises: &Promises, invariant: &Invariant) -> bool {
    let mut all = promises.values().flatten();
    match &invariant.id {
        Some(id) => all.any(|(listed, _)| listed == id),
        None => all.any(|(_, promise)| {
            promise.holds.len() >= MIN_SENTENCE
                && invariant.text.starts_with(&plain(&promise.holds))
        }),
    }
}

/// Returns the problems of one entry.
fn wrong(id: &str, promise: &Promise, known: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    if id.is_empty()
        || id
            .chars()
            .any(|letter| !letter.is_ascii_alphanumeric() && letter != '-')
    {
        found.push("is no id of letters, digits and hyphens".to_owned());
    }
    if promise.holds.trim().is_empty() {
        found.push("has no sentence".to_owned());
    }
    if promise.all_tests().next().is_none() {
        found.push("has no test".to_owned());
    }
    let is_known = |name: &String| {
        let story = DATABASES
            .iter()
            .find_map(|database| name.strip_suffix(&format!("::{database}")));
        known.contains(story.unwrap_or(name))
    };
    let unknown = promise.all_tests().filter(|name| !is_known(name));
    found.extend(unknown.map(|name| format!("names the test {name}, which does not exist")));
    let is_late = |name: &&String| {
        RELEASE
            .iter()
            .any(|binary| name.starts_with(&format!("{binary}::")))
    };
    let late = promise.tests(Gate::Run).iter().filter(is_late);
    found.extend(
        late.map(|name| format!("names {name} for the gate run, which does not execute it")),
    );
    found
}

/// Returns the problems of a file of promises.
fn findings(text: &str, known: &BTreeSet<String>, invariants: &[Invariant]) -> Vec<String> {
    let promises = match parse(text) {
        Ok(promises) => promises,
        Err(error) => return vec![error.to_string()],
    };
    let (mut found, mut ids) = (Vec::new(), BTreeSet::new());
    for (id, promise) in promises.values().flatten() {
        found.extend(
            wrong(id, promise, known)
                .into_iter()
                .map(|what| format!("{id} {what}")),
        );
        if !ids.insert(id) {
            found.push(format!("{id} is there twice"));
        }
    }
    let lines = text
        .lines()
        .filter(|line| line.ends_with(" }") && !line.starts_with('#'))
        .count();
    if lines != ids.len() {
        found.push(format!(
            "{} promises are on {lines} lines: each has one of its own",
            ids.len()
        ));
    }
    let unlisted = invariants
        .iter()
        .filter(|invariant| !is_listed(&promises, invariant));
    found.extend(
        unlisted.map(|one| format!("{}: no line begins this invariant: {}", one.place, one.text)),
    );
    found
}

#[test]
fn every_promise_names_tests_that_exist_and_every_invariant() {
    let invariants: Vec<Invariant> = documents::all().iter().flat_map(invariants).collect();
    assert!(
        invariants.len() > 80,
        "only {} invariants were found",
        invariants.len()
    );
    none(
        "promises.toml is wrong",
        findings(FILE, &known(), &invariants),
    );
}

#[test]
fn every_heading_of_invariants_is_used() {
    let documents = documents::all();
    let is_used = |heading: &&str| {
        documents
            .iter()
            .flat_map(Document::prose)
            .any(|line| line.starts_with('#') && title(line) == *heading)
    };
    let unused: Vec<_> = HEADINGS
        .into_iter()
        .filter(|heading| !is_used(heading))
        .map(str::to_owned)
        .collect();
    none("no document has this heading of invariants", unused);
}

/// Checks the findings about a file of promises, given two existing tests.
fn check(text: &str, invariants: &[Invariant], expected: &[&str]) {
    let known = ["e2e::storm::a_test", "integration::storage::a_story"]
        .map(str::to_owned)
        .into();
    assert_eq!(findings(text, &known, invariants), expected, "{text}");
}

#[test]
fn a_promise_with_an_unknown_test_is_noticed() {
    check(
        "[a]\nx = { holds = \"X.\", run = [\"e2e::storm::a_test\", \"integration::storage::a_story\"] }",
        &[],
        &[],
    );
    check(
        "[a]\nx = { holds = \"X.\", run = [\"integration::storage::a_story::on_postgres\"] }",
        &[],
        &[],
    );
    let expected = ["x names the test e2e::storm::another, which does not exist"];
    check(
        "[a]\nx = { holds = \"X.\", run = [\"e2e::storm::another\"] }",
        &[],
        &expected,
    );
    let expected = ["x names the test storm::a_test, which does not exist"];
    check(
        "[a]\nx = { holds = \"X.\", release = [\"storm::a_test\"] }",
        &[],
        &expected,
    );
}

#[test]
fn a_promise_without_a_test_or_a_sentence_is_noticed() {
    check("[a]\nx = { holds = \"X.\" }", &[], &["x has no test"]);
    check(
        "[a]\nx = { holds = \" \", run = [\"e2e::storm::a_test\"] }",
        &[],
        &["x has no sentence"],
    );
    let twice = "[a]\nx = { holds = \"X.\", run = [\"e2e::storm::a_test\"] }\n";
    let twice = format!("{twice}{}", twice.replace("[a]", "[b]"));
    check(
        &twice,
        &[],
        &[
            "x is there twice",
            "1 promises are on 2 lines: each has one of its own",
        ],
    );
    assert!(
        parse("[a]\nx = { holds = \"X.\", tests = [] }").is_err(),
        "a mistyped field"
    );
}

#[test]
fn a_test_of_a_release_for_every_push_is_noticed() {
    let known = ["hostile::a_test"].map(str::to_owned).into();
    let found = findings(
        "[a]\nx = { holds = \"X.\", run = [\"hostile::a_test\"] }",
        &known,
        &[],
    );
    assert_eq!(
        found,
        ["x names hostile::a_test for the gate run, which does not execute it"]
    );
    assert!(
        findings(
            "[a]\nx = { holds = \"X.\", release = [\"hostile::a_test\"] }",
            &known,
            &[]
        )
        .is_empty()
    );
}

#[test]
fn an_invariant_without_a_line_is_noticed() {
    let text = "# Map\n- no invariant\n## Invariants\n\n| | |\n|---|---|\n| I1 | first | x |\n| `Second` one here: why | y |\n\n\
                * A [third](x.md) one,\n  over two lines.\n1. **A fourth** one of them.\n## Other\n* no invariant\n";
    let document = Document {
        path: "README.md".to_owned(),
        text: text.to_owned(),
    };
    let invariants = invariants(&document);
    let texts: Vec<&str> = invariants.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "first",
            "Second one here: why",
            "A third one, over two lines.",
            "A fourth one of them."
        ]
    );
    let line = |id: &str, holds: &str| {
        format!("{id} = {{ holds = \"{holds}\", run = [\"e2e::storm::a_test\"] }}\n")
    };
    let all = [
        ("I1", "Any"),
        ("a", "`Second` one here: why"),
        ("b", "A third one, over two"),
        ("c", "A fourth one of them"),
    ];
    let file = |lines: &[(&str, &str)]| {
        format!(
            "[a]\n{}",
            lines
                .iter()
                .map(|(id, text)| line(id, text))
                .collect::<String>()
        )
    };
    check(&file(&all), &invariants, &[]);
    check(
        &file(&all[1..]),
        &invariants,
        &["README.md: no line begins this invariant: first"],
    );
    check(
        &file(&all[..3]),
        &invariants,
        &["README.md: no line begins this invariant: A fourth one of them."],
    );
}

#[test]
fn tests_are_found_in_modules_and_macros() {
    let files = [
        (
            "a/lib.rs",
            "pub(crate) mod b;\nmod c;\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn one() {}\n\n    fn no_test() {}\n}\n",
        ),
        (
            "a/b.rs",
            "mod d;\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn two() {}\n",
        ),
        (
            "a/b/d.rs",
            "proptest! {\n    #[test]\n    fn three(a in 0..1) {}\n}\n",
        ),
        (
            "a/c/mod.rs",
            "story! {\n    /// A story.\n    async fn four(world: World) {}\n}\n",
        ),
    ];
    let files = files
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into();
    let mut found = BTreeSet::new();
    walk(
        &files,
        &Module {
            path: "x",
            file: "a/lib.rs",
            folder: "a",
        },
        &mut found,
    );
    assert_eq!(
        found,
        ["x::b::d::three", "x::b::two", "x::c::four", "x::tests::one"]
            .map(str::to_owned)
            .into()
    );
}

/// Returns what a log of the binary `e2e` lacks for three promises, and the log's totals.
fn executed(log: &str) -> (Vec<String>, (u64, u64)) {
    let promises = "[a]\nx = { holds = \"X.\", run = [\"e2e::storm::a_test\"] }\n\
                    y = { holds = \"Y.\", run = [\"e2e::a_story\"] }\nz = { holds = \"Z.\", release = [\"e2e::later\"] }";
    let mut executed = Executed::default();
    executed.read("e2e", log);
    (
        executed.findings(&parse(promises).expect("promises"), Gate::Run),
        executed.sums(),
    )
}

const STORY: &str = "test a_story::on_sqlite ... ok\ntest a_story::on_postgres ... ok\n";
const RESULT: &str = "\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

#[test]
fn an_unexecuted_promise_is_noticed() {
    let well = (Vec::new(), (3, 0));
    assert_eq!(
        executed(&format!("test storm::a_test ... ok\n{STORY}{RESULT}")),
        well
    );
    let lacks = |log: &str, name: &str, id: &str| {
        let (found, _) = executed(&format!("{log}{RESULT}"));
        assert_eq!(
            found,
            [format!("{name}, which proves {id}, was not executed")],
            "{log}"
        );
    };
    lacks(STORY, "e2e::storm::a_test", "x");
    lacks(
        &format!("test a_test ... ok\n{STORY}"),
        "e2e::storm::a_test",
        "x",
    );
    lacks(
        "test storm::a_test ... ok\ntest a_story::on_sqlite ... ok\n",
        "e2e::a_story",
        "y",
    );
    let elsewhere = "     Running tests/trust/main.rs (target/debug/deps/trust-0123456789abcdef)\ntest storm::a_test ... ok\n";
    lacks(
        &format!("{STORY}{RESULT}{elsewhere}"),
        "e2e::storm::a_test",
        "x",
    );
}

#[test]
fn an_ignored_or_failed_test_is_noticed() {
    let first = |log: &str| executed(log).0.into_iter().next().unwrap_or_default();
    let ignored = "e2e::other was ignored: a test that cannot run must fail";
    let well = format!("test storm::a_test ... ok\n{STORY}");
    assert_eq!(
        first(&format!("{well}test other ... ignored\n{RESULT}")),
        ignored
    );
    assert_eq!(
        first(&format!(
            "{well}test other ... ignored, needs a server\n{RESULT}"
        )),
        ignored
    );
    assert_eq!(
        first(&format!("{well}test other ... FAILED\n{RESULT}")),
        "e2e::other failed"
    );
    assert_eq!(first(&well), "e2e failed", "the end is missing");
    let skipped = RESULT.replace("0 ignored", "2 ignored");
    assert_eq!(
        first(&format!("{well}{skipped}")),
        "2 tests were ignored: a test that cannot run must fail"
    );
}

#[test]
fn a_result_is_found_behind_what_a_test_prints() {
    let well = (Vec::new(), (3, 0));
    for result in [
        "test storm::a_test ... \u{1b}[32mok\u{1b}[m\n",
        "test storm::a_test ... all is well\nok\n",
        "test storm::a_test ... FAILED at first\n12 of 12 ok\nno end of a line: ok\n",
        "printed by another test storm::a_test ... ok\n",
        "test storm::a_test - should panic ... ok\n",
    ] {
        assert_eq!(
            executed(&format!("{result}{STORY}{RESULT}")),
            well,
            "{result}"
        );
        assert_eq!(
            executed(&format!("{STORY}{result}{RESULT}")),
            well,
            "{result}"
        );
    }
    let (found, _) = executed(&format!(
        "test storm::a_test ... it is ok\nFAILED\n{STORY}\nfailures:\n    it_is_ok\n{RESULT}"
    ));
    assert_eq!(found[0], "e2e::storm::a_test failed");
}
