//! Temporal's dev server under `settle run`: how it is fetched, started and reached.

use super::{RUN, SECRET, environments, script, with_own_server};
use crate::cli::{log, logged, settle, wait_open};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Command;
use system_tests::folder::Folder;
use system_tests::wait;
use system_tests::world::SOON;

#[test]
fn temporal_has_the_ports_of_the_last_start() {
    let folder = Folder::new("ports");
    // While the usual ports are taken, by this test or by another program.
    let usual: Vec<_> = [7233, 8233]
        .iter()
        .map(|port| std::net::TcpListener::bind(("127.0.0.1", *port)))
        .collect();
    let ui = || {
        let mut running = with_own_server(&folder, &["--temporal-ui"]);
        let shown = || {
            log(&folder)
                .split("Temporal UI")
                .nth(1)
                .map(str::to_owned)
                .ok_or_else(|| log(&folder))
        };
        let rest = wait::until_blocking(SOON, "the address of the UI", shown).expect("an address");
        running.signal("INT");
        let exited = || {
            running
                .exit_status()
                .ok_or_else(|| "it still runs".to_owned())
        };
        wait::until_blocking(SOON, "the end of settle", exited).expect("an end");
        rest.split_whitespace()
            .next()
            .map(str::to_owned)
            .expect("an address")
    };
    let first = ui();
    drop(usual);
    assert!(!first.contains(":8233"), "{first}");
    assert_eq!(ui(), first);
    let printed = log(&folder);
    for part in [
        "Webhooks     to this machine are refused unless",
        "SETTLE_DESTINATIONS_ALLOW_HTTP=true",
    ] {
        assert!(printed.contains(part), "`{part}` is missing: {printed}");
    }
}

#[test]
fn a_rebound_name_gets_no_temporal() {
    let folder = Folder::new("no-ui");
    let _running = with_own_server(&folder, &[]);
    let greeted = || {
        log(&folder)
            .contains("settle is running")
            .then_some(())
            .ok_or_else(|| log(&folder))
    };
    wait::until_blocking(SOON, "Temporal's start", greeted).expect("a start");
    assert!(
        log(&folder).contains("`--temporal-ui` starts it"),
        "{}",
        log(&folder)
    );
    let ports =
        std::fs::read_to_string(folder.path().join("data/temporal-ports")).expect("the ports");
    let ports: Vec<u16> = ports
        .split_whitespace()
        .map(|port| port.parse().expect("a port"))
        .collect();
    let is_open = |port: &u16| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok();
    assert_eq!(
        ports.iter().map(is_open).collect::<Vec<_>>(),
        [true, false],
        "Temporal, and its UI"
    );
}

#[test]
fn the_server_of_run_gets_no_setting() {
    let folder = Folder::new("handed-down");
    let mut running = with_own_server(&folder, &[]);
    wait_open(&folder, &mut running);
    let data = folder
        .path()
        .join("data")
        .canonicalize()
        .expect("the data directory");
    let started = || match environments(&data) {
        // The shell and the server are running.
        found if found.len() >= 2 => Ok(found),
        _ => Err(log(&folder)),
    };
    let found = wait::until_blocking(SOON, "the dev server", started).expect("a dev server");
    assert!(
        found
            .iter()
            .all(|environment| !environment.contains("SETTLE_") && !environment.contains(SECRET))
    );
}

/// Copies `settle` into a separate folder: it then belongs to no build, and its tools are in its data directory.
fn installed(folder: &Folder) -> PathBuf {
    let program = folder.path().join("settle");
    let copied = Command::new("cp")
        .arg(settle(folder, &[]).get_program())
        .arg(&program)
        .status();
    assert!(copied.expect("cp").success(), "the program is copied");
    program
}

#[test]
fn the_inbox_is_open_while_an_isolated_python_fetches_temporal() {
    let folder = Folder::new("looking");
    let tools = folder.path().join("tools");
    std::fs::create_dir(&tools).expect("a folder");
    // This fake Python runs without answering for as long as its file exists.
    script(
        &tools.join("python3"),
        r#"echo "$*" > "$0.line"; env > "$0.env"; while [ -e "$0" ]; do sleep 1; done"#,
    );
    for name in ["temporal", "curl", "tar"] {
        script(
            &tools.join(name),
            r#"touch "$0.started"; echo 'temporal version 99.0.0'"#,
        );
    }
    let plain = settle(&folder, &RUN);
    let mut command = Command::new(installed(&folder));
    command
        .args(plain.get_args())
        .current_dir(folder.path())
        .env("SETTLE_ADMIN_TOKEN", SECRET)
        .env_remove("TEMPORAL_ADDRESS");
    // A relative folder in `PATH` is not searched.
    command.env("PATH", format!("tools:{}:/usr/bin:/bin", tools.display()));
    let mut running = logged(&folder, &mut command);
    wait_open(&folder, &mut running);
    let read = |name: &str| std::fs::read_to_string(tools.join(name)).unwrap_or_default();
    let started = || {
        if read("python3.env").contains("TMPDIR") {
            Ok(())
        } else {
            Err(log(&folder))
        }
    };
    wait::until_blocking(SOON, "the fetching", started).expect("a fetch");
    let line = read("python3.line");
    assert!(
        line.starts_with("-I -m pip ") && line.contains("--require-hashes"),
        "{line}"
    );
    let environment = read("python3.env");
    assert!(
        !environment.contains("SETTLE_") && !environment.contains(SECRET),
        "{environment}"
    );
    assert!(!environment.contains("PATH=tools"), "{environment}");
    for name in ["temporal", "curl", "tar"] {
        assert!(
            !tools.join(format!("{name}.started")).exists(),
            "{name} of the machine was started"
        );
    }
    running.signal("INT");
    let exited = || {
        running
            .exit_status()
            .ok_or_else(|| "it still runs".to_owned())
    };
    let status = wait::until_blocking(SOON, "the end of settle", exited).expect("an end");
    assert_eq!(status.code(), Some(0), "{}", log(&folder));
}

#[test]
fn a_dev_server_that_does_not_stay_up_keeps_the_inbox_open() {
    let folder = Folder::new("broken");
    let data = folder.path().join("data");
    DirBuilder::new()
        .mode(0o700)
        .create(&data)
        .expect("a folder");
    std::fs::write(data.join("temporal.db"), "this is no database".repeat(1000)).expect("a file");
    let mut running = with_own_server(&folder, &[]);
    let twice = || match log(&folder).matches("the Temporal dev server died").count() {
        0 | 1 => Err(log(&folder)),
        _ => Ok(()),
    };
    wait::until_blocking(SOON, "two deaths of the dev server", twice).expect("two deaths");
    wait_open(&folder, &mut running);
    let log = log(&folder);
    assert!(log.contains("notifications are accepted"), "{log}");
    assert!(
        log.contains("Error: failed starting server") && log.contains("file is not a database"),
        "{log}"
    );
}
