//! The operator's settings, from variables to the displayed values.

use super::super::signer::Chain;
use crate::config::{Config, Flags, Invalid, Variables, load};
use std::path::PathBuf;

const FIELDS: [&str; 4] = [
    "apple.api_url",
    "apple.root_certificate",
    "apple.patience",
    "apple.requests_per_second",
];

fn read(pairs: &[(&str, &str)]) -> Result<Config, Invalid> {
    let variables = pairs.iter();
    let variables: Variables = variables
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    load(&Flags::default(), &variables)
}

/// Returns the displayed values of all fields.
fn shown(pairs: &[(&str, &str)]) -> [String; 4] {
    let all = read(pairs).expect("valid settings").shown();
    FIELDS.map(|field| {
        let found = all.iter().find(|setting| setting.name == field);
        found.expect("it is shown").value.clone()
    })
}

fn refused(pairs: &[(&str, &str)]) -> String {
    read(pairs).expect_err("the setting is wrong").to_string()
}

/// A temporary file, removed when dropped.
struct PemFile(PathBuf);

impl PemFile {
    fn new(text: &str) -> Self {
        let name = format!("settle-root-{}.pem", crate::clock::random_uuid());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the file can be written");
        Self(path)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for PemFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn root() -> String {
    Chain::generate().expect("a chain").root_pem()
}

#[test]
fn apples_own_servers_and_root_are_the_default() {
    assert_eq!(shown(&[]), ["Apple's own", "Apple's own", "15m", "40"]);
}

#[test]
fn each_setting_has_a_variable() {
    let file = PemFile::new(&root());
    let path = file.path();
    let pairs = [
        ("SETTLE_APPLE_API_URL", "http://127.0.0.1:9000"),
        ("SETTLE_APPLE_ROOT_CERTIFICATE", path.as_str()),
        ("SETTLE_APPLE_PATIENCE", "3s"),
        ("SETTLE_APPLE_REQUESTS_PER_SECOND", "1000"),
    ];
    let expected = ["http://127.0.0.1:9000/", path.as_str(), "3s", "1000"];
    assert_eq!(shown(&pairs), expected);
}

#[test]
fn a_wrong_setting_is_named_with_its_variable() {
    for (variable, value, named) in [
        (
            "SETTLE_APPLE_API_URL",
            "https://apple.internal/sandbox",
            "`apple.api_url` (SETTLE_APPLE_API_URL)",
        ),
        (
            "SETTLE_APPLE_API_URL",
            "https://me:hunter2@apple.internal",
            "`apple.api_url` (SETTLE_APPLE_API_URL)",
        ),
        (
            "SETTLE_APPLE_ROOT_CERTIFICATE",
            "/nonexistent.pem",
            "`apple.root_certificate` (SETTLE_APPLE_ROOT_CERTIFICATE)",
        ),
        ("SETTLE_APPLE_PATIENCE", "0s", "`apple.patience`"),
        ("SETTLE_APPLE_PATIENCE", "25h", "`apple.patience`"),
        (
            "SETTLE_APPLE_REQUESTS_PER_SECOND",
            "1001",
            "`apple.requests_per_second`",
        ),
        (
            "SETTLE_APPLE_REQUESTS_PER_SECOND",
            "many",
            "`apple.requests_per_second`",
        ),
    ] {
        let error = refused(&[(variable, value)]);
        let is_named = error.contains(named) && !error.contains("hunter2");
        assert!(is_named, "{variable}={value}: {error}");
    }
}

#[test]
fn only_a_file_with_one_certificate_is_a_root() {
    let root = root();
    let of_another_kind = root.replace("CERTIFICATE", "PRIVATE KEY");
    let two = format!("{root}{root}");
    let cut_off = root.replace("-----END CERTIFICATE-----\n", "");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in [&of_another_kind, &two, &cut_off, no_certificate, "root", ""] {
        let file = PemFile::new(text);
        let error = refused(&[("SETTLE_APPLE_ROOT_CERTIFICATE", &file.path())]);
        let expected = "expected a PEM file with one certificate";
        assert!(error.contains(expected), "{text}: {error}");
    }
}
