//! The command line: helpful help, stable exit codes, one clear line for each failure.
//!
//! These tests need neither Temporal nor a network.

mod databases;
mod temporal;
mod verifying;

use api::stores::amazon::sample::TYPES;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use system_tests::folder::Folder;
use system_tests::reaper::Watched;
use system_tests::wait;
use system_tests::world::SOON;

const KEY: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const TOKEN: &str = "a-token-for-the-tests-of-the-command-line";
/// A port of 127.0.0.1 (discard) on which no service listens.
const NO_SERVICE: &str = "http://127.0.0.1:9";

/// Variables that settle must not inherit from the environment of the test run.
const SETTINGS: [&str; 11] = [
    "CARGO",
    "SETTLE_CONFIG",
    "SETTLE_DATA",
    "SETTLE_DATABASE",
    "SETTLE_KEY",
    "SETTLE_LISTEN",
    "SETTLE_PUBLIC_URL",
    "SETTLE_TEMPORAL_CLI",
    "SETTLE_ADMIN_TOKEN",
    "SETTLE_URL",
    "SETTLE_LOG",
];

/// The settings that allow destinations on this machine.
pub const ON_THIS_MACHINE: [(&str, &str); 2] = [
    ("SETTLE_DESTINATIONS_ALLOWED_NETWORKS", "127.0.0.0/8"),
    ("SETTLE_DESTINATIONS_ALLOW_HTTP", "true"),
];

/// Returns the command `settle`, without settings from the test run's environment.
pub fn settle(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settle-under-test"));
    command
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null());
    for name in SETTINGS {
        command.env_remove(name);
    }
    // With this address set, `run` does not start a Temporal server.
    command.env("TEMPORAL_ADDRESS", NO_SERVICE);
    command
}

pub fn ran(folder: &Folder, arguments: &[&str]) -> Output {
    settle(folder, arguments).output().expect("settle starts")
}

pub fn stdout_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks that a command ended with exit code 1 and one line on standard error that contains these parts.
pub fn check_failure(output: &Output, parts: &[&str]) {
    let line = stderr_of(output);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!(
        line.trim_end().lines().count(),
        1,
        "more than one line: {line}"
    );
    for part in parts {
        assert!(line.contains(part), "`{part}` is missing in: {line}");
    }
}

#[test]
fn the_help_of_sample_lists_every_type() {
    let help = stdout_of(&ran(&Folder::new("types"), &["sample", "--help"]));
    for (name, _) in TYPES {
        assert!(help.contains(name), "{name} is missing");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = Folder::new("usage");
    for line in [
        ["frobnicate"].as_slice(),
        &["app"],
        &["purchase", "show"],
        &["sample", "--type", "eaten"],
        &["sample", "--store", "kiosk"],
        &["event", "list", "--type", "purchase.eaten"],
        &["device", "events", "--type", "purchase.updated"],
        &[
            "run",
            "--trust-samples",
            "6b275a67-0bbb-4f3a-99b9-6600bf711993",
        ],
        &["run", "--listen", "8091"],
        &[
            "amazon",
            "verify",
            "--message",
            "m",
            "--certificate",
            "c",
            "--at",
            "someday",
        ],
        &["platform", "update", "id", "--shared-secret", "tops3cret"],
        &["platform", "update", "id"],
        &["destination", "update", "id", "--reason", "why"],
    ] {
        let output = ran(&folder, line);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{line:?}: {}",
            stderr_of(&output)
        );
    }
}

#[test]
fn a_missing_app_names_the_command_that_lists_them() {
    let folder = Folder::new("no-app");
    for line in [["product", "list"], ["entitlement", "list"]] {
        let output = ran(&folder, &line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        let text = stderr_of(&output);
        assert!(
            text.contains("--app <APP>") && text.contains("tip: `settle app list`"),
            "{text}"
        );
    }
    assert!(
        !stderr_of(&ran(&folder, &["purchase", "show"])).contains("tip"),
        "no app is missing there"
    );
}

#[test]
fn an_admin_verb_without_a_service_shows_how_to_start_one() {
    let folder = Folder::new("nobody");
    let output = settle(&folder, &["app", "list", "--service", NO_SERVICE])
        .env("SETTLE_ADMIN_TOKEN", TOKEN)
        .output()
        .expect("settle");
    check_failure(
        &output,
        &["no service answers", "127.0.0.1:9", "SETTLE_URL"],
    );
    let steps = [
        "Start `settle run` here",
        "--data",
        "SETTLE_URL and SETTLE_ADMIN_TOKEN",
    ];
    let none = ran(&folder, &["app", "list"]);
    check_failure(
        &none,
        &["no admin token: `settle run` has not used the data directory settle-data"],
    );
    check_failure(&none, &steps);
}

#[test]
fn commands_in_texts_begin_as_the_program_was_started() {
    let folder = Folder::new("started");
    let output = settle(&folder, &["app", "list"])
        .env("CARGO", "cargo")
        .output()
        .expect("settle starts");
    check_failure(&output, &["Start `cargo run -- run` here"]);
}

#[test]
fn a_service_without_its_key_names_the_missing_variable() {
    check_failure(
        &ran(&Folder::new("no-key"), &["serve"]),
        &["SETTLE_KEY", "openssl rand"],
    );
}

#[test]
fn a_port_in_use_is_one_line_with_the_next_step() {
    let folder = Folder::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = ran(&folder, &["run", "--data", "data", "--listen", &address]);
    check_failure(&output, &[&address, "in use", "--listen"]);
}

#[test]
fn an_unusable_directory_is_one_line_with_the_next_step() {
    let folder = Folder::new("unwritable");
    // A directory below a file cannot be created even by root, which bypasses permissions.
    std::fs::write(folder.path().join("file"), "").expect("a file");
    check_failure(
        &ran(
            &folder,
            &["run", "--data", "file/data", "--listen", "127.0.0.1:0"],
        ),
        &["file/data", "--data DIR"],
    );
}

#[test]
fn every_window_is_read_in_the_same_way() {
    let folder = Folder::new("window");
    for window in ["2h", "5", "-5s", "soon"] {
        let output = ran(
            &folder,
            &[
                "run",
                "--listen",
                "127.0.0.1:0",
                &format!("--window={window}"),
            ],
        );
        check_failure(&output, &["`window`", "--window", "2m"]);
    }
    let mut command = settle(
        &folder,
        &[
            "run",
            "--data",
            "data",
            "--listen",
            "127.0.0.1:0",
            "--window",
            "1m 30s",
        ],
    );
    wait_open(&folder, &mut logged(&folder, &mut command));
}

pub fn logged(folder: &Folder, command: &mut Command) -> Watched {
    let file = std::fs::File::create(folder.path().join("run.log")).expect("a log file");
    let same = file.try_clone().expect("a log file");
    Watched::spawn(command.stdout(same).stderr(file)).expect("settle starts")
}

pub fn log(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path().join("run.log")).unwrap_or_default()
}

/// Waits until the address that `settle run` prints answers 200, and returns the address.
pub fn wait_open(folder: &Folder, running: &mut Watched) -> String {
    let check = || {
        assert!(
            running.exit_status().is_none(),
            "settle ended: {}",
            log(folder)
        );
        let log = log(folder);
        let address = log
            .split("its API at http://")
            .nth(1)
            .and_then(|rest| rest.split(';').next());
        let address = address.ok_or("no address yet")?;
        let mut http = TcpStream::connect(address).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        http.write_all(b"GET /readyz HTTP/1.1\r\nhost: settle\r\nconnection: close\r\n\r\n")
            .and_then(|()| http.read_to_string(&mut answer))
            .map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 200") {
            Ok(address.to_owned())
        } else {
            Err(answer)
        }
    };
    wait::until_blocking(SOON, "an open inbox", check).expect("an open inbox")
}

/// Starts `settle run` on `data` in this folder, and waits until it has opened its database.
fn running(folder: &Folder) -> Watched {
    let mut command = settle(
        folder,
        &["run", "--data", "data", "--listen", "127.0.0.1:0"],
    );
    let log = std::fs::File::create(folder.path().join("run.log")).expect("a log file");
    let mut running =
        Watched::spawn(command.stdout(Stdio::null()).stderr(log)).expect("settle starts");
    let check = || match running.exit_status() {
        Some(status) => {
            let log = std::fs::read_to_string(folder.path().join("run.log")).unwrap_or_default();
            panic!("settle ended with {status}: {log}")
        }
        // The first line about Temporal is printed after everything has been opened.
        None if std::fs::read_to_string(folder.path().join("run.log"))
            .is_ok_and(|log| log.contains("Temporal")) =>
        {
            Ok(())
        }
        None => Err("not open yet".to_owned()),
    };
    wait::until_blocking(SOON, "settle to open its data", check).expect("an open database");
    running
}

#[test]
fn settings_and_data_are_named_before_or_after_the_command() {
    let folder = Folder::new("place");
    let mut command = settle(
        &folder,
        &["--data", "mine", "run", "--listen", "127.0.0.1:0"],
    );
    let address = wait_open(&folder, &mut logged(&folder, &mut command));
    std::fs::write(
        folder.path().join("own.toml"),
        format!("data = \"mine\"\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"{address}\"\n"),
    )
    .expect("a file");
    let mut running = settle(&folder, &["--config", "own.toml", "run"]);
    let mut running = logged(&folder, &mut running);
    wait_open(&folder, &mut running);
    let service = format!("http://{address}");
    for line in [
        ["--data", "mine", "app", "list", "--service", &service].as_slice(),
        &["app", "list", "--data", "mine", "--service", &service],
        &["--config", "own.toml", "app", "list"],
        &["app", "list", "--config", "own.toml"],
        // With the address that `run` recorded.
        &["app", "list", "--data", "mine"],
    ] {
        let output = ran(&folder, line);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{line:?}: {}",
            stderr_of(&output)
        );
        assert!(
            stdout_of(&output).contains("demo"),
            "{line:?}: {}",
            stdout_of(&output)
        );
    }
}
