//! Checks the language of identifiers, names of tests and comments against lists of forbidden terms. The vocabulary is
//! in `workflows/domain/README.md`.

use std::collections::BTreeMap;
use std::path::Path;

/// Forbidden parts of identifiers: verbs of talking, and participles that fit any value.
const PARTS: &[&str] = &[
    "told", "tell", "tells", "telling", "untold", "said", "say", "says", "saying", "unsaid", "ask",
    "asks", "asked", "asking", "heard", "hear", "hears", "hearing", "spoken", "word", "words",
    "whom", "given", "kept", "made", "ended", "hasten", "hastens", "hastened", "tend", "tends",
    "tended", "tending", "recall", "recalled", "look", "looks", "looked", "reading", "readings",
];

/// Forbidden names in production code: metaphors in place of terms such as context, action, entry or acceptor.
const METAPHORS: &[&str] = &[
    "Chapter",
    "Circumstances",
    "Course",
    "Door",
    "Fate",
    "Handover",
    "Portrait",
    "Prompt",
    "Reception",
    "Sight",
    "Situation",
    "Stranger",
    "Stretch",
    "let_go",
];

/// Exceptions: identifiers that may have such a part.
const ALLOWED: &[Allowed] = &[
    Allowed {
        name: "look_up",
        reason: "the term for DNS and for keys",
    },
    Allowed {
        name: "lookups",
        reason: "the term for DNS and for keys",
    },
];

/// Forbidden terms in comments, and in texts of production code.
const TERMS: &[&str] = &[
    "told", "untold", "whom", "heard", "spoken", "unsaid", "hasten", "hastens", "hastened",
];

/// Forbidden terms in comments: sentences about people where a process, caller, session, condition or attack is meant.
const PEOPLE: &[&str] = &[
    "nobody",
    "somebody",
    "anybody",
    "everybody",
    "stranger",
    "strangers",
    "whoever",
];

/// Exceptions: files that may use these terms.
const ALLOWED_TERMS: &[Allowed] = &[Allowed {
    name: "tests/language.rs",
    reason: "this list",
}];

/// Forbidden beginnings of doc comments: they do not say what the item is.
const BEGINNINGS: &[&str] = &[
    "So many",
    "So long",
    "The same",
    "What became of",
    "What came of",
];

/// Maximum number of words of a doc comment that must name its subject.
const MAX_SHORT: usize = 5;

/// Forbidden first words of short doc comments: a reader of generated documents does not see what they refer to.
const VAGUE: &[&str] = &[
    "It", "Its", "They", "Their", "Them", "Those", "Which", "Whose", "Who",
];

/// Forbidden short doc comments, which say neither what, where nor when.
const EMPTY: &[&str] = &[
    "Why.",
    "When.",
    "How.",
    "How many.",
    "Since when.",
    "As of when.",
    "Of which app.",
    "The first.",
    "The last.",
];

/// Maximum length of a function's name.
const MAX_NAME: usize = 60;

/// The folders whose findings are counted, inner ones first.
const FOLDERS: &[&str] = &[
    "activities/protocols",
    "activities/storage",
    "activities",
    "api",
    "workflows/domain",
    "workflows",
    "tests",
];

struct Allowed {
    name: &'static str,
    #[expect(dead_code, reason = "read by people only")]
    reason: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Text,
    Comment,
}

/// A part of a source: code, one string literal, or one comment.
struct Region<'a> {
    kind: Kind,
    line: usize,
    text: &'a str,
}

/// Returns the kind and the end of the literal or comment at the beginning of `rest`, if there is one. `before` is the
/// character before `rest`.
fn end_of_region(rest: &str, before: Option<char>) -> Option<(Kind, usize)> {
    let closed = |from: usize, close: &str| {
        rest[from..]
            .find(close)
            .map_or(rest.len(), |at| from + at + close.len())
    };
    if rest.starts_with("//") {
        return Some((Kind::Comment, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((Kind::Comment, closed(2, "*/")));
    }
    if rest.starts_with('"') {
        return Some((Kind::Text, end_of_string(rest)));
    }
    if rest.starts_with('\'') {
        return end_of_character(rest).map(|end| (Kind::Text, end));
    }
    let is_inside_name = before.is_some_and(|last| last.is_alphanumeric() || last == '_');
    let raw = rest
        .strip_prefix(['b', 'c'])
        .unwrap_or(rest)
        .strip_prefix('r')
        .filter(|_| !is_inside_name)?;
    let quoted = raw.trim_start_matches('#');
    let hashes = raw.len() - quoted.len();
    let from = rest.len() - quoted.len() + 1;
    quoted.starts_with('"').then(|| {
        (
            Kind::Text,
            closed(from, &format!("\"{}", "#".repeat(hashes))),
        )
    })
}

/// Returns the end of a string literal with escapes.
fn end_of_string(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = character == '\\' && !is_escaped,
        }
    }
    rest.len()
}

/// Returns the end of a character literal; `None` for a lifetime.
fn end_of_character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        characters.next();
        return characters
            .find(|(_, character)| *character == '\'')
            .map(|(at, _)| at + 1);
    }
    characters
        .next()
        .filter(|(_, character)| *character == '\'')
        .map(|(at, _)| at + 1)
}

/// Returns all regions of a source, in order.
fn regions(text: &str) -> Vec<Region<'_>> {
    let mut found = Vec::new();
    let (mut at, mut start, mut line) = (0, 0, 1);
    while at < text.len() {
        let rest = &text[at..];
        let Some((kind, length)) = end_of_region(rest, text[..at].chars().next_back()) else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        for (kind, part) in [(Kind::Code, &text[start..at]), (kind, &rest[..length])] {
            found.push(Region {
                kind,
                line,
                text: part,
            });
            line += part.matches('\n').count();
        }
        at += length;
        start = at;
    }
    found.push(Region {
        kind: Kind::Code,
        line,
        text: &text[start..],
    });
    found
}

/// Returns the words of a region with their line numbers.
fn names(region: &Region<'_>) -> Vec<(usize, String)> {
    let lines = region.text.split('\n').enumerate();
    let of_line = |(number, text): (usize, &str)| {
        let names = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let names: Vec<_> = names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        names
            .into_iter()
            .map(move |name| (region.line + number, name))
    };
    lines.flat_map(of_line).collect()
}

/// Returns the lower-case parts of a name in snake case or camel case.
fn parts(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut parts = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let follows_small = at > 0 && letters[at - 1].is_lowercase();
        let ends_capitals = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if *letter == '_' || (letter.is_uppercase() && (follows_small || ends_capitals)) {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut().filter(|_| *letter != '_') {
            part.extend(letter.to_lowercase());
        }
    }
    parts
}

fn is_forbidden(name: &str) -> bool {
    let without = ALLOWED.iter().fold(name.to_owned(), |name, allowed| {
        name.replace(allowed.name, "")
    });
    parts(&without)
        .iter()
        .any(|part| PARTS.contains(&part.as_str()))
}

/// Returns whether a line of a doc comment is a short sentence that does not name its subject.
fn is_vague(line: &str) -> bool {
    let line = line.trim();
    let is_short = line.split_whitespace().count() <= MAX_SHORT && line.ends_with('.');
    let first = line.split_whitespace().next().unwrap_or_default();
    is_short && (VAGUE.contains(&first) || EMPTY.contains(&line))
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests")
}

/// Returns the findings of a file: line number and description.
fn findings(path: &str, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut last_comment, mut follows_fn) = (None, false);
    for region in regions(text) {
        if region.kind == Kind::Code {
            for (line, name) in names(&region) {
                let is_metaphor = !is_test(path) && METAPHORS.contains(&name.as_str());
                if is_forbidden(&name) || is_metaphor {
                    found.push((line, format!("the identifier `{name}`")));
                }
                if follows_fn && name.chars().count() > MAX_NAME {
                    found.push((
                        line,
                        format!("a name of {} characters: `{name}`", name.chars().count()),
                    ));
                }
                follows_fn = name == "fn";
            }
            continue;
        }
        let is_comment = region.kind == Kind::Comment;
        let is_checked = is_comment || !is_test(path);
        if is_checked && !ALLOWED_TERMS.iter().any(|allowed| allowed.name == path) {
            let is_refused =
                |name: &str| TERMS.contains(&name) || (is_comment && PEOPLE.contains(&name));
            let terms = names(&region)
                .into_iter()
                .filter(|(_, name)| is_refused(&name.to_lowercase()));
            found.extend(terms.map(|(line, name)| (line, format!("the term \"{name}\""))));
        }
        if is_comment {
            let doc = region
                .text
                .strip_prefix("///")
                .or_else(|| region.text.strip_prefix("//!"));
            let is_first = last_comment.is_none_or(|last: usize| last + 1 != region.line);
            let beginning = doc.and_then(|doc| {
                BEGINNINGS
                    .iter()
                    .find(|begin| doc.trim_start().starts_with(**begin))
            });
            if let Some(beginning) = beginning.filter(|_| is_first) {
                found.push((
                    region.line,
                    format!("a doc comment that begins with \"{beginning}\""),
                ));
            }
            if is_first && doc.is_some_and(is_vague) {
                found.push((
                    region.line,
                    format!(
                        "a short doc comment that does not name its subject: {}",
                        region.text
                    ),
                ));
            }
            last_comment = Some(region.line);
        }
    }
    found
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the work tree") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root)
                .expect("a path in the work tree")
                .display()
                .to_string();
            found.insert(
                name,
                std::fs::read_to_string(&path).expect("a file of Rust"),
            );
        }
    }
}

#[test]
fn the_code_uses_the_vocabulary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the work tree");
    let mut sources = BTreeMap::new();
    for package in ["activities", "api", "tests", "workflows"] {
        collect(root, &root.join(package), &mut sources);
    }
    assert!(
        sources.len() > 50,
        "only {} files were found",
        sources.len()
    );
    let (mut counts, mut places) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for (path, text) in &sources {
        let found = findings(path, text);
        let folder = FOLDERS
            .iter()
            .find(|folder| path.starts_with(**folder))
            .expect("a known folder");
        *counts.entry(folder).or_default() += found.len();
        places.extend(
            found
                .into_iter()
                .map(|(line, what)| format!("{path}:{line}: {what}")),
        );
    }
    for (folder, count) in &counts {
        println!("{folder}: {count}");
    }
    assert!(
        places.is_empty(),
        "use the vocabulary:\n  {}\n{counts:#?}",
        places.join("\n  ")
    );
}

fn check(path: &str, text: &str, expected: &[usize]) {
    let found = findings(path, text);
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, expected, "{found:?}");
}

#[test]
fn a_forbidden_identifier_is_noticed() {
    check(
        "api/src/a.rs",
        "struct WasTold;\nlet x = TOLD_AT;\nlet told = 1;\nlet asHTTPWord = 1;",
        &[1, 2, 3, 4],
    );
    check(
        "tests/a.rs",
        "fn f<'a>(x: &'a str, c: char) { c == '\"'; tell() }",
        &[1],
    );
}

#[test]
fn a_metaphor_is_noticed_in_production_code() {
    check(
        "api/src/a.rs",
        "struct Door;\nfn let_go() {}\nstruct Doorway;",
        &[1, 2],
    );
    check("tests/a.rs", "struct Door;", &[]);
}

#[test]
fn a_term_with_a_forbidden_part_inside_is_allowed() {
    check(
        "api/src/a.rs",
        "let (password, extend, keyword) = look_up(lookup);",
        &[],
    );
}

#[test]
fn literals_are_not_identifiers() {
    check(
        "tests/a.rs",
        "let a = \"told \\\" said\";\nlet b = r#\"SELECT \"told\"\"#;\nlet c = br\"told\";",
        &[],
    );
}

#[test]
fn a_forbidden_term_is_noticed_in_comments_and_production_texts() {
    check(
        "tests/a.rs",
        "// it was told so\nlet a = \"told\"; // told_revision",
        &[1],
    );
    check("api/src/a.rs", "let a = \"nobody\n was told\";", &[2]);
    check(
        "tests/a.rs",
        "// Whoever waits for it.\nlet a = \"nobody\";",
        &[1],
    );
    check("api/src/tests.rs", "let a = \"told\";", &[]);
}

#[test]
fn a_beginning_of_a_doc_comment_is_noticed() {
    check(
        "tests/a.rs",
        "/// So many rows.\nconst A: u8 = 1;\n/// A row.\n/// The same row.\nconst B: u8 = 1;",
        &[1],
    );
}

#[test]
fn a_short_doc_comment_without_its_subject_is_noticed() {
    check(
        "api/src/a.rs",
        "/// Its id.\nid: u8,\n/// How many.\nn: u8,\n/// Its name, unique among the keys.\nb: u8,",
        &[1, 3],
    );
    check(
        "api/src/a.rs",
        "/// Id of the key.\nid: u8,\n/// A row.\n/// Its id.\nn: u8,\n// Its id.\n/// When the window ends.",
        &[],
    );
}

#[test]
fn a_long_name_of_a_test_is_noticed() {
    let name = "a".repeat(61);
    check("tests/a.rs", &format!("#[test]\nfn {name}() {{}}"), &[2]);
    check("tests/a.rs", &format!("fn {}() {{}}", &name[1..]), &[]);
}

/// Things for which documents use `latest`; `newest` is only used for orders (`newest first`).
const LATEST: [&str; 8] = [
    "state",
    "states",
    "event",
    "events",
    "revision",
    "purchase",
    "payment",
    "`purchase.updated`",
];

/// Returns whether a line has `newest` before one of them.
fn names_the_newest(line: &str) -> bool {
    let line = line.to_lowercase();
    line.split("newest ").skip(1).any(|rest| {
        let noun = rest
            .split(|letter: char| letter == ' ' || ",;:)\"".contains(letter))
            .next()
            .unwrap_or_default();
        LATEST.contains(&noun.trim_end_matches('.'))
    })
}

/// Returns the numbers of the lines in which `newest` precedes one of them, even if the noun begins the next line.
fn newest_lines(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let is_found = |at: &usize| {
        let line = lines[*at].trim_end_matches([' ', '\\']);
        let next = lines.get(at + 1).copied().unwrap_or_default();
        let next = next.trim_start_matches([' ', '/', '!', '#', '*']);
        let is_broken = line.to_lowercase().ends_with("newest");
        names_the_newest(line) || (is_broken && names_the_newest(&format!("newest {next}")))
    };
    (0..lines.len()).filter(is_found).map(|at| at + 1).collect()
}

#[test]
fn what_came_last_is_the_latest_everywhere() {
    assert_eq!(
        newest_lines("/// Sends the newest\n/// state.\nlet a = \"the newest \\\n    one\";"),
        [1]
    );
    assert!(
        names_the_newest("Send the newest state, once") && names_the_newest("the newest events.")
    );
    assert!(!names_the_newest("Events, newest first") && !names_the_newest("the latest state"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the work tree");
    let (mut folders, mut read, mut places) = (vec![root.join("api/src")], 0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let ending = path
                .extension()
                .and_then(|ending| ending.to_str())
                .unwrap_or_default()
                .to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if ["rs", "html", "toml", "md"].contains(&ending.as_str()) {
                read += 1;
                let text = std::fs::read_to_string(&path).expect("a text");
                let found = newest_lines(&text).into_iter();
                places.extend(found.map(|at| format!("{}:{at}", path.display())));
            }
        }
    }
    assert!(read > 100, "only {read} files were found");
    assert!(
        places.is_empty(),
        "people read `latest`:\n  {}",
        places.join("\n  ")
    );
}
