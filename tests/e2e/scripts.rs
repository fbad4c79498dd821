//! Checks that every documented command for the Temporal CLI is run by a test in this folder.

use std::path::Path;
use system_tests::documents;

/// A documented command that a test runs: the one that contains both texts.
struct Part {
    about: &'static str,
    text: String,
}

/// Returns the string literals among the arguments of each call that begins with `call`.
fn calls(source: &str, call: &str) -> Vec<Vec<String>> {
    source.split(call).skip(1).map(texts).collect()
}

/// Returns the string literals up to the end of a call.
fn texts(arguments: &str) -> Vec<String> {
    let (mut texts, mut text, mut is_escaped) = (Vec::new(), None::<String>, false);
    for letter in arguments.chars() {
        match (text.as_mut(), letter) {
            (Some(inside), _) if is_escaped => {
                inside.push(letter);
                is_escaped = false;
            }
            (Some(_), '\\') => is_escaped = true,
            (Some(_), '"') => texts.extend(text.take()),
            (Some(inside), _) => inside.push(letter),
            (None, '"') => text = Some(String::new()),
            (None, ')') => break,
            (None, _) => {}
        }
    }
    texts
}

/// Returns the documented commands that a source of this folder runs, through `World::by_script` and the functions of
/// `admin.rs`.
fn parts(source: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for call in [".by_script(", ".by_script_with("] {
        let first = calls(source, call)
            .into_iter()
            .filter_map(|texts| texts.into_iter().next());
        parts.extend(first.map(|text| Part {
            about: "DESTINATION_ID",
            text,
        }));
    }
    for call in ["act(&world, by,", "act(&world, By::Script,"] {
        let last = calls(source, call)
            .into_iter()
            .filter_map(|mut texts| texts.pop());
        parts.extend(last.map(|action| Part {
            about: "COLLAPSE_KEY",
            text: format!("--signal-name {action} "),
        }));
    }
    let run_lines = calls(source, "run_documented(&world,")
        .into_iter()
        .filter_map(|mut texts| texts.pop());
    parts.extend(run_lines.map(|text| Part {
        about: "COLLAPSE_KEY",
        text,
    }));
    parts
}

#[test]
fn every_documented_operator_line_is_run_by_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let files = std::fs::read_dir(folder)
        .expect("this folder")
        .map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.is_file() && !path.ends_with("scripts.rs"));
    let parts: Vec<Part> = files
        .flat_map(|path| parts(&std::fs::read_to_string(path).expect("a source")))
        .collect();
    let lines = documents::operators_lines();
    let is_run = |line: &String| {
        parts
            .iter()
            .any(|part| line.contains(part.about) && line.contains(&part.text))
    };
    let missing: Vec<&String> = lines.iter().filter(|line| !is_run(line)).collect();
    assert!(
        !lines.is_empty() && missing.is_empty(),
        "no test runs these documented lines: {missing:#?}"
    );
}

#[test]
fn quotes_of_a_call_are_parsed() {
    let source =
        r#"world.by_script("\"reason\":\"done\"").await; act(&world, by, "held", "hold").await;"#;
    let read: Vec<String> = parts(source).into_iter().map(|part| part.text).collect();
    assert_eq!(read, ["\"reason\":\"done\"", "--signal-name hold "]);
}
