//! Checks the dashboard's templates: nothing in them can become a script, a style or a request to another server, and
//! they name no store and no kind of destination.

use super::{any_of, none, outside, root, sources};
use std::path::{Path, PathBuf};

const FOLDER: &str = "api/src/pages/templates";
/// Maximum number of lines of a template.
const MAX_LINES: usize = 200;

struct Template {
    path: String,
    text: String,
}

fn templates() -> Vec<Template> {
    let mut found = Vec::new();
    collect(&root().join(FOLDER), &mut found);
    assert!(
        found.len() > 15,
        "only {} templates were found",
        found.len()
    );
    found
}

fn collect(folder: &Path, found: &mut Vec<Template>) {
    for entry in std::fs::read_dir(folder).expect("a folder of templates") {
        let path: PathBuf = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            let text = std::fs::read_to_string(&path).expect("a template");
            found.push(Template {
                path: path
                    .strip_prefix(root())
                    .expect("a path here")
                    .display()
                    .to_string(),
                text,
            });
        }
    }
}

/// Returns the places of the lines that `wanted` matches.
fn places(wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = |template: &Template| {
        let lines = template
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| wanted(line));
        lines
            .map(|(at, line)| format!("{}:{}: {}", template.path, at + 1, line.trim()))
            .collect::<Vec<_>>()
    };
    templates().iter().flat_map(lines).collect()
}

/// Returns the names of the attributes in a line.
fn attributes(line: &str) -> Vec<&str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == ':';
    let ends = line.match_indices('=').map(|(at, _)| &line[..at]);
    ends.map(|before| &before[before.trim_end_matches(is_part).len()..])
        .collect()
}

/// Returns whether a line contains anything that a browser would run, or treat as a style.
fn is_alive(line: &str) -> bool {
    let is_active =
        |name: &&str| *name == "style" || name.starts_with("on") || name.starts_with("hx-on");
    let has_code = line.contains("<style") || line.contains("javascript:") || line.contains("js:");
    let scripts = line.split("<script").skip(1);
    has_code
        || attributes(line).iter().any(is_active)
        || scripts
            .into_iter()
            .any(|rest| !rest.starts_with(" src=\"{{") || !rest.contains("></script>"))
}

#[test]
fn no_template_has_a_script_or_a_style_of_its_own() {
    none("the policy of the page blocks these", places(is_alive));
}

#[test]
fn a_script_or_a_style_is_noticed() {
    for alive in [
        "<p style=\"x\">",
        "<p onclick=\"x()\">",
        "<p\tonload='x'>",
        "<script>x</script>",
        "<script src=\"{{ x }}\">x</script>",
        "<a href=\"javascript:x\">",
        "<p hx-on:click=\"x\">",
    ] {
        assert!(is_alive(alive), "{alive}");
    }
    for quiet in [
        "<script src=\"{{ script }}\" defer></script>",
        "<p class=\"on\">",
        "{% if a == b %}",
        "the style of it",
    ] {
        assert!(!is_alive(quiet), "{quiet}");
    }
}

#[test]
fn no_template_loads_or_leads_elsewhere_by_itself() {
    let is_foreign = |line: &str| {
        let urls = [
            "src=\"http",
            "href=\"http",
            "action=\"http",
            "src=\"//",
            "href=\"//",
            "url(",
        ];
        urls.iter().any(|url| line.contains(url))
    };
    none("these lead elsewhere", places(is_foreign));
}

#[test]
fn templates_escape_what_they_show() {
    none(
        "text is marked as safe in api/src/pages/parts.rs alone",
        places(|line| line.contains("|safe") || line.contains("| safe")),
    );
    none(
        "here too",
        outside(
            |source| source.path == "api/src/pages/parts.rs" || source.is_test(),
            any_of(&["HtmlSafe"]),
        ),
    );
}

#[test]
fn only_the_page_uses_templates() {
    let is_page = |path: &str| path.starts_with("api/src/pages/") || path.starts_with("tests/");
    none(
        "only api/src/pages renders HTML",
        outside(|source| is_page(&source.path), any_of(&["askama"])),
    );
}

#[test]
fn templates_name_no_store_and_no_kind_of_destination() {
    let names = |line: &str| {
        let line = line.to_lowercase();
        line.contains("amazon") || line.contains("amplitude") || line.contains("\"webhook\"")
    };
    none("these are named in their own folders", places(names));
}

#[test]
fn no_template_is_long() {
    let long = templates()
        .into_iter()
        .map(|template| (template.text.lines().count(), template.path));
    let long = long.filter(|(lines, _)| *lines > MAX_LINES);
    none(
        "split these",
        long.map(|(lines, path)| format!("{path}: {lines} lines")),
    );
}

#[test]
fn every_form_of_a_sign_in_carries_its_token() {
    let forms = |template: &Template| {
        let forms = template
            .text
            .split("<form")
            .skip(1)
            .filter(|form| form.contains("method=\"post\""));
        let forms = forms.map(|form| form.split("</form>").next().unwrap_or_default().to_owned());
        let path = template.path.clone();
        forms
            .map(move |form| (path.clone(), form))
            .collect::<Vec<_>>()
    };
    let all: Vec<_> = templates()
        .iter()
        .filter(|one| !one.path.contains("/sign_in/"))
        .flat_map(forms)
        .collect();
    assert!(all.len() >= 4, "{}", all.len());
    let bare = all
        .into_iter()
        .filter(|(_, form)| !form.contains("name=\"form_token\" value=\"{{ frame.token }}\""));
    none(
        "no form without the token of its sign-in",
        bare.map(|(path, form)| format!("{path}: {form}")),
    );
}

/// Templates whose notices contain links or lists, or are part of a card.
const OWN_NOTICES: [&str; 3] = [
    "connect/sample",
    "destinations/once",
    "destinations/progress",
];

#[test]
fn what_a_form_did_is_announced_by_one_template() {
    let own: Vec<_> = OWN_NOTICES
        .iter()
        .map(|name| format!("{FOLDER}/{name}.html:"))
        .collect();
    let is_outside = |place: &String| !own.iter().any(|path| place.starts_with(path));
    let drawn = places(|line| line.contains("notice good"));
    none(
        "use parts/notice.html and the table of api/src/pages/notice.rs",
        drawn.into_iter().filter(is_outside),
    );
    none(
        "the table is read there",
        outside(
            |source| source.path == "api/src/pages/notice.rs" || source.is_test(),
            any_of(&["query(\"done\""]),
        ),
    );
}

#[test]
fn tabs_have_one_type_and_one_template() {
    let is_outside = |place: &String| !place.starts_with("api/src/pages/templates/parts/tabs.html");
    let drawn = places(|line| line.contains("class=\"tabs"))
        .into_iter()
        .filter(is_outside);
    none(
        "these belong to api/src/pages/templates/parts/tabs.html",
        drawn,
    );
    none(
        "use that of parts.rs",
        outside(
            |source| source.path == "api/src/pages/parts.rs" || source.is_test(),
            any_of(&["struct Tab ", "struct Tab<", "struct Tab("]),
        ),
    );
}

#[test]
fn each_screen_has_its_files() {
    let pages = sources().into_iter().filter_map(|source| {
        let rest = source.path.strip_prefix("api/src/pages/")?.to_owned();
        rest.strip_suffix("/mod.rs").map(str::to_owned)
    });
    let missing = pages.filter(|name| {
        let has = |path: String| root().join(path).exists();
        !has(format!("api/src/pages/{name}/view.rs")) || !has(format!("{FOLDER}/{name}"))
    });
    none(
        "a screen has mod.rs, view.rs and a folder of templates",
        missing,
    );
}
