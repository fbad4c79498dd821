//! Checks the imports between rooms, which are the top-level folders and files of `activities/storage/src`,
//! `activities/protocols/src` and `api/src`: each imports only from those below it, as do the files of the customers'
//! page. Folders that are crates are not rooms. In storage and its database, an import cycle contains at most two
//! files, and destinations have no cycle.
//!
//! Imports are read from the sources: `use` lines, paths that begin with `crate`, `super` or `self`, and the child
//! modules that a file uses. Unit tests are left out.

use super::{none, sources};
use std::collections::{BTreeMap, BTreeSet};

/// A crate with its rooms, bottom-up: each imports only from earlier ones.
struct House {
    path: &'static str,
    rooms: &'static [&'static str],
    /// Folders in the crate that are separate crates.
    crates: &'static [&'static str],
}

const STORAGE: House = House {
    path: "activities/storage/src/",
    rooms: &[
        "store",
        "settings",
        "events",
        "purchases",
        "inbox",
        "devices",
        "settling",
        "people",
        "delivery",
        "redelivery",
        "reports",
        "admin",
        "fixtures",
    ],
    crates: &["db/"],
};
const DATABASE: House = House {
    path: "activities/storage/src/db/",
    rooms: &[],
    crates: &[],
};
const PROTOCOLS: House = House {
    path: "activities/protocols/src/",
    rooms: &[
        "address",
        "http",
        "smtp",
        "wire",
        "outgoing",
        "form",
        "stores",
        "destinations",
    ],
    crates: &[],
};
const API: House = House {
    path: "api/src/",
    rooms: &[
        "clock",
        "times",
        "sizes",
        "near",
        "shell",
        "flags",
        "error",
        "operation",
        "answer",
        "metrics",
        "lookups",
        "figures",
        "signs",
        "counting",
        "silence",
        "workers",
        "checking",
        "setting",
        "dispatch",
        "stores",
        "config",
        "tools",
        "telemetry",
        "devices",
        "listener",
        "keyring",
        "edge",
        "extract",
        "keys",
        "route",
        "openapi",
        "resources",
        "fixtures",
        "routes",
        "router",
    ],
    crates: &["commands/", "pages/"],
};
const PAGES: House = House {
    path: "api/src/pages/",
    rooms: &[],
    crates: &[],
};
/// The files of the customers' page, bottom-up.
const CUSTOMERS: [&str; 14] = [
    "address",
    "record",
    "statement",
    "list",
    "transfers",
    "environment",
    "day",
    "forms",
    "view",
    "page",
    "find",
    "merge",
    "moving",
    "changes",
];
/// Maximum number of files in an import cycle.
const MAX_CYCLE: usize = 2;

/// The path of a module from the crate's root.
type Module = Vec<String>;
type Arrows = BTreeMap<Module, BTreeSet<Module>>;

/// Returns the code of each module, without comments and its own tests.
fn modules(house: &House) -> BTreeMap<Module, String> {
    let is_test = |path: &str| path.ends_with("tests.rs") || path.contains("/tests/");
    let sources = sources()
        .into_iter()
        .filter(|source| !is_test(&source.path));
    let module = |source: super::Source| {
        let path = source
            .path
            .strip_prefix(house.path)?
            .strip_suffix(".rs")?
            .to_owned();
        if house.crates.iter().any(|folder| path.starts_with(folder)) {
            return None;
        }
        let path = if ["lib", "mod"].contains(&path.as_str()) {
            String::new()
        } else {
            path.trim_end_matches("/mod").to_owned()
        };
        let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
        let code = code.join("\n");
        let code = code
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default()
            .to_owned();
        Some((
            path.split('/')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            code,
        ))
    };
    sources.filter_map(module).collect()
}

/// Returns the paths in the tree of one `use`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((parent, rest)) = tree.split_once('{') else {
        return vec![
            tree.split(" as ")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
        ];
    };
    let inner = rest.trim_end().strip_suffix('}').expect("a closed tree");
    let (mut parts, mut depth) = (vec![String::new()], 0_usize);
    for letter in inner.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().expect("a part").push(letter);
        }
    }
    let named = parts.iter().filter(|part| !part.trim().is_empty());
    named
        .flat_map(|part| expand(part))
        .map(|part| format!("{parent}{part}"))
        .collect()
}

/// Returns the imported paths of all `use` lines, and the rest of the code.
fn uses(code: &str) -> (Vec<String>, String) {
    let (mut paths, mut rest) = (Vec::new(), String::new());
    for statement in code.split_inclusive(';') {
        let at = statement.find("use ").filter(|at| {
            let before = statement[..*at]
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .trim();
            before.is_empty()
                || before == "pub"
                || (before.starts_with("pub(") && before.ends_with(')'))
        });
        match at {
            Some(at) => {
                paths.extend(expand(statement[at + 4..].trim_end_matches(';')));
                rest.push_str(&statement[..at]);
            }
            None => rest.push_str(statement),
        }
    }
    (paths, rest)
}

/// Returns the paths in code that begin with the segment `first`.
fn paths<'c>(code: &'c str, first: &'c str) -> impl Iterator<Item = String> + 'c {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let begins = code.match_indices(first).filter(move |(at, _)| {
        let before = &code[..*at];
        !before.ends_with(is_part)
            && !before.ends_with(':')
            && code[at + first.len()..].starts_with("::")
    });
    begins.map(move |(at, _)| {
        let path = &code[at..];
        let end = path
            .find(|letter| !is_part(letter) && letter != ':')
            .unwrap_or(path.len());
        path[..end].trim_end_matches(':').to_owned()
    })
}

/// Returns the module to which a path in `from` leads.
fn target(modules: &BTreeMap<Module, String>, from: &Module, path: &str) -> Option<Module> {
    let mut parts: Vec<&str> = path.split("::").collect();
    let mut found = match *parts.first()? {
        "crate" => Vec::new(),
        "self" => from.clone(),
        "super" => from[..from.len().checked_sub(1)?].to_vec(),
        child => {
            let child = from.iter().cloned().chain([child.to_owned()]).collect();
            return modules
                .contains_key(&child)
                .then(|| descend(modules, child, &parts[1..]));
        }
    };
    parts.remove(0);
    while parts.first() == Some(&"super") {
        parts.remove(0);
        found.pop()?;
    }
    Some(descend(modules, found, &parts))
}

fn descend(modules: &BTreeMap<Module, String>, mut found: Module, parts: &[&str]) -> Module {
    for part in parts {
        found.push((*part).to_owned());
        if !modules.contains_key(&found) {
            found.pop();
            break;
        }
    }
    found
}

/// Returns the modules that each module imports.
fn arrows(modules: &BTreeMap<Module, String>) -> Arrows {
    let imported = |from: &Module, code: &str| {
        let (mut named, rest) = uses(code);
        let children = modules
            .keys()
            .filter(|other| other.len() == from.len() + 1 && other.starts_with(from));
        let children: Vec<&str> = children
            .filter_map(|child| child.last())
            .map(String::as_str)
            .collect();
        for first in ["crate", "super", "self"].into_iter().chain(children) {
            named.extend(paths(&rest, first));
        }
        named
            .iter()
            .filter_map(|path| target(modules, from, path))
            .filter(|to| to != from)
            .collect()
    };
    modules
        .iter()
        .map(|(from, code)| (from.clone(), imported(from, code)))
        .collect()
}

/// Returns all modules that a module imports directly or indirectly.
fn reached(arrows: &Arrows, from: &Module) -> BTreeSet<Module> {
    let (mut found, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(next) = left.pop() {
        left.extend(arrows[next].iter().filter(|to| found.insert((*to).clone())));
    }
    found
}

/// Returns the groups of modules that import each other.
fn circles(house: &House) -> BTreeSet<Vec<String>> {
    let arrows = arrows(&modules(house));
    let reached: BTreeMap<&Module, BTreeSet<Module>> = arrows
        .keys()
        .map(|module| (module, self::reached(&arrows, module)))
        .collect();
    let circle = |module: &Module| -> Vec<String> {
        let others = reached[module]
            .iter()
            .filter(|other| reached[other].contains(module));
        others.map(name).collect()
    };
    let all = arrows.keys().map(circle);
    all.filter(|circle| !circle.is_empty()).collect()
}

fn name(module: &Module) -> String {
    if module.is_empty() {
        "the root of the crate".to_owned()
    } else {
        module.join("::")
    }
}

#[test]
fn imports_between_rooms_run_in_one_direction() {
    for house in [STORAGE, PROTOCOLS, API] {
        let floor = |module: &Module| {
            house
                .rooms
                .iter()
                .position(|room| module.first().is_some_and(|first| first == room))
        };
        let modules = modules(&house);
        let homeless = modules
            .keys()
            .filter(|module| !module.is_empty() && floor(module).is_none());
        none("these are in no room", homeless.map(name));
        let mut upwards = Vec::new();
        for (from, to) in arrows(&modules) {
            let above = to
                .iter()
                .filter(|to| !from.is_empty() && (floor(to).is_none() || floor(to) > floor(&from)));
            upwards.extend(above.map(|to| format!("{} imports {}", name(&from), name(to))));
        }
        none("a room imports only from the rooms below it", upwards);
    }
}

#[test]
fn imports_between_the_files_of_customers_run_in_one_direction() {
    let folder: Module = vec!["customers".to_owned()];
    let is_within = |module: &Module| module.starts_with(&folder);
    let is_file = |module: &Module| is_within(module) && module.len() > folder.len();
    let floor = |module: &Module| {
        let file = module.get(folder.len());
        CUSTOMERS
            .iter()
            .position(|known| file.is_some_and(|file| file == known))
    };
    let modules = modules(&PAGES);
    assert!(
        modules.len() > 50,
        "only {} modules were found",
        modules.len()
    );
    let files = modules.keys().filter(|module| is_file(module));
    let unknown = files.filter(|module| floor(module).is_none());
    none("these have no place in the order", unknown.map(name));
    let mut upwards = Vec::new();
    for (from, to) in arrows(&modules).iter().filter(|(from, _)| is_file(from)) {
        let above = to
            .iter()
            .filter(|to| is_within(to) && (floor(to).is_none() || floor(to) > floor(from)));
        upwards.extend(above.map(|to| format!("{} imports {}", name(from), name(to))));
    }
    none("a file imports only from those below it", upwards);
}

#[test]
fn every_room_has_a_purpose_in_its_header() {
    let sources = sources();
    let silent = STORAGE.rooms.iter().filter(|room| {
        let paths = ["/mod.rs", ".rs"].map(|end| format!("{}{room}{end}", STORAGE.path));
        !sources
            .iter()
            .any(|source| paths.contains(&source.path) && source.text.starts_with("//! "))
    });
    none(
        "no purpose stands in the header of these rooms",
        silent.map(ToString::to_string),
    );
}

#[test]
fn no_more_than_two_files_of_storage_import_each_other() {
    let circles = [STORAGE, DATABASE].map(|house| circles(&house));
    let large = circles
        .into_iter()
        .flatten()
        .filter(|circle| circle.len() > MAX_CYCLE);
    none(
        "these import each other in a circle",
        large.map(|circle| circle.join(", ")),
    );
}

#[test]
fn no_file_of_destinations_imports_one_that_imports_it() {
    let of_stores = |circle: &Vec<String>| circle.iter().all(|name| name.starts_with("stores"));
    let others = circles(&PROTOCOLS)
        .into_iter()
        .filter(|circle| !of_stores(circle));
    none(
        "these import each other in a circle",
        others.map(|circle| circle.join(", ")),
    );
}
