//! The command line: helpful help, stable exit codes, one clear line for each failure.
//!
//! These tests need neither Temporal nor a network.

use api::stores::amazon::envelope::Version;
use api::stores::amazon::sample::TYPES;
use api::stores::amazon::signer::{Header, Signer};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use std::io::{BufRead as _, BufReader, Read, Write};
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

/// The command `settle`, without settings from the environment.
pub fn settle(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settle-under-test"));
    command
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null());
    for name in SETTINGS {
        command.env_remove(name);
    }
    // With an address `run` starts no Temporal server of its own.
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

/// Checks for exit code 1 and one line on standard error with these parts.
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

/// A message signed as by SNS; its certificate, valid from 2026 to 2028, is written into the folder.
fn signed(folder: &Folder, version: Version) -> String {
    let at = |text: &str| text.parse().expect("a time");
    let signer =
        Signer::generate(at("2026-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z")).expect("a key");
    std::fs::write(
        folder.path().join("certificate.pem"),
        signer.certificate_pem().expect("PEM"),
    )
    .expect("a certificate");
    let letter = Header {
        message_id: "17dea24b-55c2-540b-8362-f916557af765"
            .parse()
            .expect("an id"),
        topic_arn: "arn:aws:sns:us-east-1:033616359524:settle",
        at: at("2026-06-01T12:00:00Z"),
        version,
    };
    signer
        .sign_notification(
            &letter,
            Some("a subject"),
            "Hello world\n\u{1F600} \"quoted\"",
        )
        .expect("a message")
}

fn verify(folder: &Folder, message: &str, at: &str) -> Output {
    std::fs::write(folder.path().join("message.json"), message).expect("a message");
    ran(
        folder,
        &[
            "amazon",
            "verify",
            "--message",
            "message.json",
            "--certificate",
            "certificate.pem",
            "--at",
            at,
        ],
    )
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
        &["sample", "--type", "paused"],
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
fn a_genuine_message_is_valid() {
    for version in [Version::One, Version::Two] {
        let folder = Folder::new("valid");
        let output = verify(&folder, &signed(&folder, version), "2026-06-01T12:00:00Z");
        assert_eq!(
            (output.status.code(), stdout_of(&output).as_str()),
            (Some(0), "valid\n"),
            "{}",
            stderr_of(&output)
        );
        // Any time may be typed: the message is of a day in the certificate's time, and those are not.
        for at in ["2026-06-01", "yesterday", "2h"] {
            let shown = verify(&folder, &signed(&folder, version), at);
            assert!(
                stdout_of(&shown).lines().count() == 1 && stderr_of(&shown).is_empty(),
                "{at}: {}",
                stderr_of(&shown)
            );
        }
    }
}

#[test]
fn a_changed_message_and_another_time_are_refused_with_a_reason() {
    let folder = Folder::new("refused");
    let genuine = signed(&folder, Version::Two);
    let changed = verify(
        &folder,
        &genuine.replace("Hello world", "Hello World"),
        "2026-06-01T12:00:00Z",
    );
    assert_eq!(
        (changed.status.code(), stdout_of(&changed).as_str()),
        (Some(1), "refused: signature is wrong\n")
    );
    for (message, at) in [
        (genuine.as_str(), "2029-01-01T00:00:00Z"),
        (&genuine, "2026-02-01T00:00:00Z"),
        ("{}", "2026-06-01T12:00:00Z"),
    ] {
        let output = verify(&folder, message, at);
        assert_eq!(output.status.code(), Some(1), "{at}");
        assert!(
            stdout_of(&output).starts_with("refused: "),
            "{at}: {}",
            stdout_of(&output)
        );
    }
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
    // A directory below a file cannot be created even by root, who is not stopped by permissions.
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
fn a_second_process_on_the_same_data_is_refused() {
    let folder = Folder::new("second");
    let _running = running(&folder);
    let output = ran(
        &folder,
        &["run", "--data", "data", "--listen", "127.0.0.1:0"],
    );
    check_failure(&output, &["another settle", "--data"]);
    let data = folder
        .path()
        .join("data/settle.sqlite")
        .display()
        .to_string();
    let key = std::fs::read_to_string(folder.path().join("data/key")).expect("the key");
    let migrate = settle(&folder, &["migrate", "--database", &data])
        .env("SETTLE_KEY", key.trim())
        .output()
        .expect("settle");
    check_failure(&migrate, &["another settle"]);
}

#[test]
fn migrate_makes_the_tables_and_ends() {
    let folder = Folder::new("migrate");
    let output = settle(&folder, &["migrate", "--database", "db/settle.sqlite"])
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    assert!(
        stdout_of(&output).contains("up to date"),
        "{}",
        stdout_of(&output)
    );
    assert!(folder.path().join("db/settle.sqlite").is_file());
}

#[test]
fn migrate_refuses_the_tables_of_another_build() {
    let folder = Folder::new("migrate");
    let output = migrated(&folder, KEY, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let file = folder.path().join("db/settle.sqlite");
    let mut raw = SqliteConnection::establish(&file.to_string_lossy()).expect("the file");
    raw.batch_execute("UPDATE fingerprints SET sha256 = 'another'")
        .expect("a change");
    let output = migrated(&folder, KEY, &[]);
    check_failure(
        &output,
        &["another build of settle", "settle product export"],
    );
}

#[test]
fn migrate_raises_the_epoch_of_a_restored_database() {
    let folder = Folder::new("epoch");
    let line = ["migrate", "--database", "db/settle.sqlite", "--raise-epoch"];
    let mistyped = settle(&folder, &line)
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(mistyped.status.code(), Some(1), "{}", stdout_of(&mistyped));
    assert!(
        stderr_of(&mistyped).contains("there is no database db/settle.sqlite"),
        "{}",
        stderr_of(&mistyped)
    );
    assert!(!folder.path().join("db").exists(), "nothing was created");
    let output = settle(&folder, &line[..3])
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let output = settle(&folder, &line)
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    let raised = "Raised the epoch from 1 to ";
    let new = stdout_of(&output)
        .split_once(raised)
        .map(|(_, rest)| rest.split(':').next().map(str::to_owned));
    let new = new
        .flatten()
        .unwrap_or_else(|| panic!("{}", stdout_of(&output)));
    let output = settle(&folder, &line[..3])
        .env("SETTLE_KEY", KEY)
        .output()
        .expect("settle");
    assert!(
        stdout_of(&output).contains(&format!(", epoch {new})")),
        "{}",
        stdout_of(&output)
    );
}

/// Keys that are 32 equal bytes.
fn key(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// Runs `settle migrate` on the database of the folder, with these keys.
fn migrated(folder: &Folder, keys: &str, flags: &[&str]) -> Output {
    let line = [&["migrate", "--database", "db/settle.sqlite"], flags].concat();
    settle(folder, &line)
        .env("SETTLE_KEY", keys)
        .output()
        .expect("settle")
}

#[tokio::test]
async fn a_killed_rekey_goes_on_and_names_the_key_to_drop() {
    let folder = Folder::new("rekey");
    let (old, new) = (key(7), key(8));
    let both = format!("{new},{old}");
    std::fs::create_dir(folder.path().join("db")).expect("a folder");
    let database = storage::Database::Sqlite(folder.path().join("db/settle.sqlite"));
    let config = storage::Config {
        database,
        key: storage::Key::new([7; 32]),
        clock: api::clock::now,
    };
    let store = storage::Store::open(config).await.expect("a database");
    let app = store.new_app("Acme").await.expect("an app");
    for number in 0..350 {
        let ingress_key = format!("ingress-{number}");
        store
            .new_platform(crate::storage::world::new_platform(&app, &ingress_key))
            .await
            .expect("a platform");
    }
    let old_id = store.key_id().to_owned();
    drop(store);

    // It stops after its fourth page, and is killed there.
    let line = ["migrate", "--database", "db/settle.sqlite", "--rekey"];
    let mut command = settle(&folder, &line);
    command
        .env("SETTLE_KEY", &both)
        .env("FAILPOINTS", "rekey.after_page=3*off->pause")
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("settle");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let printed = |lines: &mut dyn Iterator<Item = std::io::Result<String>>| {
        lines.next().expect("a line").expect("text")
    };
    assert!(printed(&mut lines).contains("up to date"));
    let begun = printed(&mut lines);
    assert!(
        begun.contains("350 ingress keys, 350 shared secrets"),
        "{begun}"
    );
    for done in [
        "1 encrypted, 1050 left",
        "201 encrypted, 850 left",
        "401 encrypted",
    ] {
        let line = printed(&mut lines);
        assert!(line.contains(done), "{line}");
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");

    let refused = migrated(&folder, &new, &[]);
    check_failure(&refused, &[&format!("`{old_id}` is missing"), "SETTLE_KEY"]);
    let between = stdout_of(&migrated(&folder, &both, &[]));
    assert!(
        between.contains(&format!("{old_id} cannot be dropped yet")) && between.contains("--rekey"),
        "{between}"
    );
    let finished = stdout_of(&migrated(&folder, &both, &["--rekey"]));
    assert!(
        !finished.contains("350 ingress keys") && finished.contains("350 shared secrets"),
        "{finished}"
    );
    assert!(
        finished.contains(&format!("Drop {old_id} from every process's SETTLE_KEY")),
        "{finished}"
    );
    let after = stdout_of(&migrated(&folder, &new, &[]));
    assert!(
        after.contains("Secrets are encrypted with the key") && !after.contains(&old_id),
        "{after}"
    );
    check_failure(&migrated(&folder, &old, &[]), &["is missing"]);
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

/// Waits until the address that `settle run` prints answers 200, and returns it.
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
        // The first line about Temporal is printed after everything was opened.
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
fn a_wrong_address_of_temporal_names_the_variable() {
    for command in ["run", "serve", "worker"] {
        let folder = Folder::new("wrong-temporal");
        let listen = if command == "worker" {
            vec![]
        } else {
            vec!["--listen", "127.0.0.1:0"]
        };
        let line = [vec![command, "--data", "data"], listen].concat();
        let variables = [
            ("TEMPORAL_ADDRESS", "://bad"),
            ("SETTLE_KEY", KEY),
            ("SETTLE_ADMIN_TOKEN", TOKEN),
        ];
        let output = settle(&folder, &line)
            .envs(variables)
            .output()
            .expect("settle starts");
        let complaint = stderr_of(&output);
        let last = complaint.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{command}: {complaint}");
        assert!(
            last.contains("TEMPORAL_ADDRESS is `://bad`: expected HOST:PORT"),
            "{command}: {complaint}"
        );
    }
}

#[test]
fn an_address_at_which_no_temporal_answers_is_explained() {
    let folder = Folder::new("no-temporal");
    let mut command = settle(
        &folder,
        &["run", "--data", "data", "--listen", "127.0.0.1:0"],
    );
    let _running = logged(&folder, &mut command);
    let check = || {
        if log(&folder).contains("TEMPORAL_ADDRESS") {
            Ok(())
        } else {
            Err(log(&folder))
        }
    };
    wait::until_blocking(SOON, "a line about Temporal", check).expect("a warning");
    let log = log(&folder);
    assert!(
        log.contains("no Temporal server answers at this address") && log.contains("127.0.0.1:9"),
        "{log}"
    );
    assert!(
        !log.contains("ConnectError") && !log.contains("transport::Error"),
        "{log}"
    );
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
        // The address that `run` recorded.
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
