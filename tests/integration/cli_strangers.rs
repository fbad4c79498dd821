//! Untrusted texts: ids, reasons and names that begin with a hyphen, and paths with a meaning in URIs.

use super::cli::{log, logged, ran, settle, stderr_of, wait_open};
use super::cli_settings::Desk;
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use system_tests::folder::Folder;
use system_tests::wait;
use system_tests::world::SOON;

/// A receipt id that begins with a hyphen, like one in 64 of Amazon's.
const RECEIPT: &str = "-3kd_9-Qx=:3:11";
const CUSTOMER: &str = "-KbQ=";

#[test]
fn ids_reasons_and_names_may_begin_with_a_hyphen() {
    let desk = Desk::open("cli-hyphens");
    let (app, reason) = (desk.app.clone(), ["--reason", "-why"]);
    for line in [
        [
            "entitlement",
            "set",
            "-gold",
            "--app",
            &app,
            "--name",
            "-Gold",
        ]
        .as_slice(),
        &[
            "product",
            "set",
            "-month",
            "--app",
            &app,
            "--entitlement",
            "-gold",
        ],
        &["product", "delete", "-month", "--app", &app],
        &[
            "customer",
            "name",
            "--app",
            &app,
            "--external-id",
            CUSTOMER,
            "--app-user-id",
            "--KbQ=",
        ],
        &["app", "create", "-mine"],
        &["app", "rename", "-mine", "-ours"],
    ] {
        let changed = desk.run(&[line, &reason].concat());
        assert_eq!(
            changed.status.code(),
            Some(0),
            "{line:?}: {}",
            stderr_of(&changed)
        );
        assert_eq!(
            desk.answer(&["audit-log", "--limit", "1"])["items"][0]["reason"],
            json!("-why"),
            "{line:?}"
        );
    }
    for line in [
        ["explain", "purchase", RECEIPT].as_slice(),
        &["purchase", "show", RECEIPT],
        &["purchase", "hold", RECEIPT, "--reason", "-why"],
        &["customer", "show", "--app", &app, "--receipt", RECEIPT],
        &["resend", "purchase", RECEIPT],
    ] {
        let missing = desk.run(line);
        assert_eq!(
            missing.status.code(),
            Some(1),
            "{line:?}: nobody has it: {}",
            stderr_of(&missing)
        );
    }
    let shown = desk.answer(&["customer", "show", "--app", &app, "--external-id", CUSTOMER]);
    assert_eq!(shown["app_user_ids"], json!(["--KbQ="]), "{shown}");
}

/// Returns the names of a directory's entries.
fn entries(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = found
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_data_directory_may_have_any_name() {
    for name in [
        "da ta",
        "a#b",
        "a?mode=memory",
        "100%41",
        "it's \"new\"",
        "file:x",
        "Žofie&co;",
    ] {
        let folder = Folder::new("odd-names");
        let mut command = settle(&folder, &["run", "--data", name, "--listen", "127.0.0.1:0"]);
        let mut running = logged(&folder, command.env_remove("TEMPORAL_ADDRESS"));
        wait_open(&folder, &mut running);
        let is_there = || {
            let names = entries(&folder.path().join(name));
            let is_complete = ["settle.sqlite", "temporal.db"]
                .iter()
                .all(|file| names.iter().any(|name| name == file));
            if is_complete {
                Ok(())
            } else {
                Err(format!("{names:?}: {}", log(&folder)))
            }
        };
        wait::until_blocking(SOON, "both databases", is_there).expect("both databases");
        let listed = ran(&folder, &["app", "list", "--data", name]);
        assert_eq!(
            listed.status.code(),
            Some(0),
            "{name}: {}",
            stderr_of(&listed)
        );
        let beside: Vec<String> = entries(folder.path())
            .into_iter()
            .filter(|entry| entry != "run.log")
            .collect();
        assert_eq!(beside, [name], "nothing beside it");
    }
}

#[test]
fn a_database_may_have_any_name_that_is_text() {
    let folder = Folder::new("odd-files");
    let migrated = |path: &OsStr| {
        let mut command = settle(&folder, &["migrate", "--database"]);
        command
            .env("SETTLE_KEY", "11".repeat(32))
            .arg(path)
            .output()
            .expect("settle starts")
    };
    for name in [
        "file:x?mode=memory",
        ":memory:",
        "a#b.sqlite",
        "a%41.sqlite",
        "-x",
    ] {
        let output = migrated(OsStr::new(name));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{name}: {}",
            stderr_of(&output)
        );
        assert!(
            folder
                .path()
                .join(name)
                .metadata()
                .is_ok_and(|file| file.len() > 0),
            "{name}: {:?}",
            entries(folder.path())
        );
    }
    let data = OsStr::from_bytes(b"data-\xff");
    let refused = settle(&folder, &["run", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .output();
    let refused = refused.expect("settle starts");
    assert_eq!(refused.status.code(), Some(1), "{}", stderr_of(&refused));
    assert!(
        stderr_of(&refused).contains("only paths that are UTF-8"),
        "{}",
        stderr_of(&refused)
    );
}
