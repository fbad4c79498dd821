//! Checks which packages may depend on which, and which packages may not be built at all.

use super::{none, root};
use std::collections::BTreeSet;
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
    "rust_decimal",
    "schemars",
    "secrecy",
    "serde",
    "serde_json",
    "storage",
    "thiserror",
    "url",
    "x509-cert",
];

/// Packages that must not return: there is one TLS stack (rustls) and one provider of ciphers (ring), and the only C
/// libraries are SQLite's and ring's.
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

/// Returns the packages of the work tree, according to `cargo metadata`.
pub fn packages() -> Vec<serde_json::Value> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root())
        .output();
    let metadata: serde_json::Value =
        serde_json::from_slice(&cargo.expect("cargo metadata").stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// Returns the names of a package's direct dependencies, without dev-dependencies.
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
fn storage_knows_neither_the_engine_nor_http() {
    let is_foreign = |name: &String| {
        name.starts_with("temporalio")
            || ["api", "axum", "reqwest", "anyhow"].contains(&name.as_str())
    };
    for package in ["storage", "storage-db"] {
        none(
            &format!("`{package}` may not depend on these"),
            dependencies(package).into_iter().filter(is_foreign),
        );
    }
}

/// Returns the packages of the work tree on which a package depends, without dev-dependencies.
fn own_dependencies(package: &str) -> BTreeSet<String> {
    let all = packages().into_iter();
    let all: BTreeSet<String> = all
        .filter_map(|one| one["name"].as_str().map(str::to_owned))
        .collect();
    &dependencies(package) & &all
}

#[test]
fn the_database_knows_no_room_of_storage() {
    assert_eq!(
        own_dependencies("storage-db"),
        BTreeSet::from(["domain".to_owned()])
    );
}

#[test]
fn only_the_commands_know_the_activities() {
    for package in ["api", "api-pages"] {
        let own = own_dependencies(package);
        assert!(!own.contains("activities"), "{package} depends on {own:?}");
    }
    assert!(own_dependencies("api-commands").contains("activities"));
}

#[test]
fn commands_and_pages_are_compiled_beside_each_other() {
    let [api, commands, pages] = ["api", "api-commands", "api-pages"].map(own_dependencies);
    assert!(
        !api.contains("api-pages") && !api.contains("api-commands"),
        "{api:?}"
    );
    assert!(!commands.contains("api-pages"), "{commands:?}");
    assert!(!pages.contains("api-commands"), "{pages:?}");
    let settle = own_dependencies("settle");
    assert_eq!(
        settle,
        ["api-commands", "api-pages"].map(str::to_owned).into()
    );
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
