//! The command line as a person meets it: help that teaches, stable exit codes, one clear line for each failure.
//!
//! Needs neither Temporal nor a network: what is asked here ends before either is reached.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use system_tests::folder::Folder;
use system_tests::reaper::Watched;
use system_tests::wait;

const KEY: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const TOKEN: &str = "a-token-for-the-tests-of-the-command-line";
/// A port of 127.0.0.1 on which nobody answers (discard).
const NOBODY: &str = "http://127.0.0.1:9";

/// `settle` with the settings of nobody else.
fn settle(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settle-under-test"));
    command.args(arguments).current_dir(folder.path()).env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder.path());
    // Named, so that `run` starts no server; nobody answers there.
    command.env("TEMPORAL_ADDRESS", NOBODY);
    command
}

fn ran(folder: &Folder, arguments: &[&str]) -> Output {
    settle(folder, arguments).output().expect("settle starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit code 1 and one line with these words.
fn check_failure(output: &Output, words: &[&str]) {
    let line = complained(output);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!(line.trim_end().lines().count(), 1, "more than one line: {line}");
    for word in words {
        assert!(line.contains(word), "`{word}` is missing in: {line}");
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sns").join(name)
}

fn verify(message: &Path, at: &str) -> Output {
    let folder = Folder::new("verify");
    let certificate = fixture("SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem");
    let (message, certificate) = (message.display().to_string(), certificate.display().to_string());
    ran(&folder, &["amazon", "verify", "--message", &message, "--certificate", &certificate, "--at", at])
}

#[test]
fn the_help_teaches_each_command() {
    let folder = Folder::new("help");
    let whole = ran(&folder, &["--help"]);
    assert_eq!(whole.status.code(), Some(0));
    let commands =
        ["run", "serve", "worker", "migrate", "sample", "listen", "app", "platform", "destination", "purchase"];
    for command in commands {
        assert!(said(&whole).contains(&format!("\n  {command} ")), "{command} is not listed:\n{}", said(&whole));
        let help = said(&ran(&folder, &[command, "--help"]));
        assert!(help.contains("Example:") && help.contains("Next:"), "{command} teaches nothing:\n{help}");
    }
    assert!(!said(&whole).contains("history"), "a command for tests is hidden");
}

#[test]
fn the_help_of_sample_lists_every_type() {
    let help = said(&ran(&Folder::new("types"), &["sample", "--help"]));
    for name in ["SUBSCRIPTION_PURCHASED", "SUBSCRIPTION_OUT_OF_GRACE_PERIOD", "ENTITLEMENT_CANCELLED"] {
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
        &["sample", "--type", "paused"],
        &["amazon", "verify", "--message", "m", "--certificate", "c", "--at", "yesterday"],
        &["platform", "update", "id", "--shared-secret", "tops3cret"],
    ] {
        let output = ran(&folder, line);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {}", complained(&output));
    }
}

#[test]
fn a_genuine_message_is_valid() {
    for name in [
        "php-http-v1-nosubject.json",
        "php-http-v1-subject.json",
        "php-http-v2-nosubject.json",
        "php-http-v2-subject.json",
    ] {
        let output = verify(&fixture(name), "2022-07-28T22:00:00Z");
        assert_eq!(
            (output.status.code(), said(&output).as_str()),
            (Some(0), "valid\n"),
            "{name}: {}",
            complained(&output)
        );
    }
}

#[test]
fn a_changed_message_and_another_time_are_refused_with_a_reason() {
    let folder = Folder::new("changed");
    let genuine = std::fs::read_to_string(fixture("php-http-v2-nosubject.json")).expect("a fixture");
    let changed = folder.path().join("changed.json");
    std::fs::write(&changed, genuine.replace("Hello world", "Hello World")).expect("a message");
    let output = verify(&changed, "2022-07-28T22:00:00Z");
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(1), "refused: signature is wrong\n"));
    let output = verify(&fixture("php-http-v2-nosubject.json"), "2099-01-01T00:00:00Z");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).starts_with("refused: "), "{}", said(&output));
}

#[test]
fn an_admin_verb_without_a_service_says_how_to_start_one() {
    let folder = Folder::new("nobody");
    let output =
        settle(&folder, &["app", "list", "--url", NOBODY]).env("SETTLE_ADMIN_TOKEN", TOKEN).output().expect("settle");
    check_failure(&output, &["nobody answers", "127.0.0.1:9", "SETTLE_URL"]);
    check_failure(&ran(&folder, &["app", "list"]), &["no admin token", "SETTLE_ADMIN_TOKEN", "--data"]);
}

#[test]
fn a_service_without_its_key_says_which_variable_is_missing() {
    check_failure(&ran(&Folder::new("no-key"), &["serve"]), &["SETTLE_KEY", "openssl rand"]);
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
fn a_directory_that_cannot_be_used_is_one_line_with_the_next_step() {
    let folder = Folder::new("unwritable");
    // Below a file there can be no directory, not even for root, whom permissions do not stop.
    std::fs::write(folder.path().join("file"), "").expect("a file");
    check_failure(
        &ran(&folder, &["run", "--data", "file/data", "--listen", "127.0.0.1:0"]),
        &["file/data", "--data DIR"],
    );
}

#[test]
fn the_data_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("owner");
    let data = folder.path().join("data");
    let _running = running(&folder);
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for name in ["key", "admin-token", "sample-key.pem"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let folder = Folder::new("second");
    let _running = running(&folder);
    let output = ran(&folder, &["run", "--data", "data", "--listen", "127.0.0.1:0"]);
    check_failure(&output, &["another settle", "--data"]);
    let data = folder.path().join("data/settle.sqlite").display().to_string();
    let key = std::fs::read_to_string(folder.path().join("data/key")).expect("the key");
    let migrate =
        settle(&folder, &["migrate", "--database", &data]).env("SETTLE_KEY", key.trim()).output().expect("settle");
    check_failure(&migrate, &["another settle"]);
}

#[test]
fn migrate_makes_the_tables_and_ends() {
    let folder = Folder::new("migrate");
    let output = settle(&folder, &["migrate", "--database", "db/settle.sqlite"])
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(output.status.code(), Some(0), "{}", complained(&output));
    assert!(said(&output).contains("up to date"), "{}", said(&output));
    assert!(folder.path().join("db/settle.sqlite").is_file());
}

/// `settle run` on `data` in this folder, far enough that it holds its database.
fn running(folder: &Folder) -> Watched {
    let mut command = settle(folder, &["run", "--data", "data", "--listen", "127.0.0.1:0"]);
    let log = std::fs::File::create(folder.path().join("run.log")).expect("a log file");
    let mut running = Watched::spawn(command.stdout(Stdio::null()).stderr(log)).expect("settle starts");
    let look = || match running.ended() {
        Some(status) => {
            let log = std::fs::read_to_string(folder.path().join("run.log")).unwrap_or_default();
            panic!("settle ended with {status}: {log}")
        }
        // Trying on for Temporal comes after everything was opened.
        None if std::fs::read_to_string(folder.path().join("run.log")).is_ok_and(|log| log.contains("Temporal")) => {
            Ok(())
        }
        None => Err("not open yet".to_owned()),
    };
    wait::until_blocking(Duration::from_secs(30), "settle to open its data", look).expect("an open database");
    running
}
