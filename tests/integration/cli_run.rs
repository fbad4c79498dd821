//! What `settle run` opens: its files, its tools, and what holds for its demo alone.

use super::cli::{check_failure, log, logged, ran, settle, stderr_of, stdout_of, wait_open};
use serde_json::Value;
use std::fs::{DirBuilder, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use system_tests::folder::Folder;
use system_tests::ports;
use system_tests::reaper::Watched;
use system_tests::wait;
use system_tests::world::SOON;

const RUN: [&str; 5] = ["run", "--data", "data", "--listen", "127.0.0.1:0"];
const SECRET: &str = "a-secret-setting-of-the-tests";

fn below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let entries: Vec<PathBuf> = entries.collect();
        folders.extend(entries.iter().filter(|path| path.is_dir()).cloned());
        found.extend(entries);
    }
    found
}

/// Writes an executable script. Another process writes it: a child of another test could inherit a file that this one has
/// open for writing, and the script could then not be executed.
fn script(path: &Path, body: &str) {
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 700 "$1""#;
    let written = Command::new("/bin/sh")
        .args(["-c", write, "sh"])
        .arg(path)
        .arg(body)
        .status();
    assert!(
        written.expect("a shell").success(),
        "{} is not written",
        path.display()
    );
}

/// `settle run` with a Temporal server of its own, and a secret among its settings.
fn with_own_server(folder: &Folder, flags: &[&str]) -> Watched {
    let mut command = settle(folder, &[RUN.as_slice(), flags].concat());
    command
        .env_remove("TEMPORAL_ADDRESS")
        .env("SETTLE_ADMIN_TOKEN", SECRET);
    logged(folder, &mut command)
}

/// The processes of a dev server that work in this directory, and the environment of each.
fn environments(directory: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc")
        .expect("the processes")
        .flatten()
        .map(|entry| entry.path());
    let read = |path: PathBuf| {
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    };
    let is_here =
        |path: &PathBuf| std::fs::read_link(path.join("cwd")).is_ok_and(|found| found == directory);
    let named = processes
        .filter(is_here)
        .filter(|path| read(path.join("cmdline")).contains("temporal.db"));
    named.map(|path| read(path.join("environ"))).collect()
}

#[test]
fn everything_that_run_creates_is_its_owners_whatever_the_umask() {
    let folder = Folder::new("umask");
    let plain = settle(&folder, &RUN);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(plain.get_program())
        .args(plain.get_args());
    command.current_dir(folder.path()).stdin(Stdio::null());
    for (name, value) in plain
        .get_envs()
        .filter(|(name, _)| *name != "TEMPORAL_ADDRESS")
    {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env_remove("TEMPORAL_ADDRESS");
    let mut running = logged(&folder, &mut command);
    wait_open(&folder, &mut running);
    let data = folder.path().join("data");
    let written = || {
        if data.join("temporal.db").exists() {
            Ok(())
        } else {
            Err(log(&folder))
        }
    };
    wait::until_blocking(SOON, "the file of Temporal", written).expect("a file");
    let mode = |path: &Path| {
        std::fs::symlink_metadata(path).map_or(0, |found| found.permissions().mode() & 0o777)
    };
    assert_eq!(mode(&data), 0o700);
    let open: Vec<_> = below(&data)
        .into_iter()
        .filter(|path| mode(path) & 0o077 != 0)
        .collect();
    assert!(open.is_empty(), "{open:?}");
    for name in [
        "key",
        "admin-token",
        "sample-key.pem",
        "settle.sqlite",
        "settle.sqlite.lock",
        "temporal.db",
    ] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}

#[test]
fn an_open_data_directory_is_refused_with_what_closes_it() {
    let folder = Folder::new("open");
    let data = folder.path().join("data");
    DirBuilder::new()
        .mode(0o700)
        .create(&data)
        .expect("a folder");
    std::fs::write(data.join("notes"), "of somebody").expect("a file");
    for mode in [0o755, 0o770, 0o701] {
        std::fs::set_permissions(&data, Permissions::from_mode(mode)).expect("its permissions");
        let output = ran(&folder, &RUN);
        let data = data.canonicalize().expect("its path");
        check_failure(
            &output,
            &[
                "others can enter it",
                &format!("`chmod 700 {}`", data.display()),
            ],
        );
        assert!(!data.join("key").exists(), "no key was written");
    }
    std::fs::set_permissions(&data, Permissions::from_mode(0o700)).expect("its permissions");
    wait_open(&folder, &mut logged(&folder, &mut settle(&folder, &RUN)));
}

#[test]
fn an_empty_data_directory_is_closed_to_others() {
    let folder = Folder::new("empty");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::set_permissions(&data, Permissions::from_mode(0o755)).expect("its permissions");
    wait_open(&folder, &mut logged(&folder, &mut settle(&folder, &RUN)));
    assert_eq!(
        std::fs::metadata(&data)
            .expect("the folder")
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
}

/// Sends a request without a body. Returns the whole answer.
fn requested(address: &str, line: &str, accept: &str) -> String {
    let mut http = TcpStream::connect(address).expect("the service");
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    http.write_all(head.as_bytes()).expect("a request");
    let mut answer = String::new();
    http.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn run_prints_results_and_its_log_is_in_a_file() {
    for (flags, is_printed) in [([].as_slice(), false), (&["-v"], true)] {
        let folder = Folder::new("quiet");
        let mut running = logged(&folder, &mut settle(&folder, &[&RUN[..], flags].concat()));
        let api = wait_open(&folder, &mut running);
        let printed = log(&folder);
        let public = printed
            .split("notifications at http://")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        // The system chose the ports.
        let document = requested(&api, "GET /openapi.json", "*/*");
        for address in [Some(&*api), public] {
            let server = format!("\"url\":\"http://{}\"", address.expect("an address"));
            assert!(document.contains(&server), "{server}: {document}");
        }
        let listed = answer(&folder, &["platform", "list", "--app", "demo"]);
        let url = listed["items"][0]["notification_url"]
            .as_str()
            .expect("a URL");
        let path = url.splitn(4, '/').nth(3).expect("a path");
        // An empty body is no message.
        requested(public.expect("an address"), &format!("POST /{path}"), "*/*");
        let file = folder.path().join("data/settle.log");
        let read = || {
            let (file, printed) = (
                std::fs::read_to_string(&file).unwrap_or_default(),
                log(&folder),
            );
            let line = "a message to the Amazon ingress was refused";
            let is_found = if is_printed {
                printed.contains(line)
            } else {
                file.contains(line)
            };
            if is_found {
                Ok((file, printed))
            } else {
                Err(format!("{file}\n{printed}"))
            }
        };
        let (in_file, printed) = wait::until_blocking(SOON, "the line", read).expect("a line");
        assert_eq!(printed.contains(" INFO "), is_printed, "{printed}");
        assert_eq!(in_file.contains(" INFO "), !is_printed, "{in_file}");
        let place = file.canonicalize().map_or_else(
            |_| "settle.log".to_owned(),
            |file| file.display().to_string(),
        );
        assert_eq!(
            printed.contains(&format!("The log is in {place}.")),
            !is_printed,
            "{printed}"
        );
        // Warnings are printed in any case: no Temporal answers.
        let warned = || {
            if log(&folder).contains("TEMPORAL_ADDRESS") {
                Ok(())
            } else {
                Err(log(&folder))
            }
        };
        wait::until_blocking(SOON, "the warning", warned).expect("a warning");
    }
}

#[test]
fn a_browser_at_the_address_of_stores_is_sent_to_the_page() {
    let folder = Folder::new("lost");
    let [listen, admin] = [(); 2].map(|()| format!("127.0.0.1:{}", ports::free()));
    let line = [
        "run",
        "--data",
        "data",
        "--listen",
        &listen,
        "--admin-listen",
        &admin,
    ];
    let answer = |accept: &str| requested(&listen, "GET /", accept);
    let mut running = logged(&folder, &mut settle(&folder, &line));
    wait_open(&folder, &mut running);
    let shown = answer("text/html,application/xhtml+xml");
    let expected = format!(
        "\r\n\r\nThis address is for stores and devices. The dashboard is at http://{admin}/\n"
    );
    assert!(
        shown.ends_with(&expected) && shown.contains("content-type: text/plain"),
        "{shown}"
    );
    assert!(
        answer("*/*").contains("application/problem+json"),
        "{}",
        answer("*/*")
    );
}

#[test]
fn temporal_has_the_ports_of_the_last_start() {
    let folder = Folder::new("ports");
    // While others have the usual ports. Whoever has them already is as good.
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
        // The shell and the server.
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

/// `settle` in a folder of its own: it belongs to no build, so that its tools are in its data directory.
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
    // This Python runs without answering while its folder exists.
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
    // A folder of the working directory is not searched.
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

fn call(folder: &Folder, line: &[&str]) -> Output {
    ran(folder, &[line, &["--data", "data"]].concat())
}

fn answer(folder: &Folder, line: &[&str]) -> Value {
    let output = call(folder, &[line, &["--json"]].concat());
    assert_eq!(
        output.status.code(),
        Some(0),
        "{line:?}: {}",
        stderr_of(&output)
    );
    serde_json::from_str(&stdout_of(&output)).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn id(created: &Value) -> &str {
    created["id"].as_str().expect("an id")
}

#[test]
fn what_the_demo_needs_holds_for_no_other_app() {
    let folder = Folder::new("others");
    let [listen, admin] = [(); 2].map(|()| format!("127.0.0.1:{}", ports::free()));
    let line = [
        "run",
        "--data",
        "data",
        "--listen",
        &listen,
        "--admin-listen",
        &admin,
    ];
    let mut running = logged(&folder, &mut settle(&folder, &line));
    wait_open(&folder, &mut running);
    let demo = answer(&folder, &["app", "list"])["items"][0]["id"]
        .as_str()
        .expect("the demo")
        .to_owned();
    let app = id(&answer(&folder, &["app", "create", "mine"])).to_owned();
    for app in [&app, &demo] {
        for url in [
            "http://127.0.0.1:9/",
            "https://127.0.0.1:9/",
            "http://example.com/",
        ] {
            let create = [
                "destination",
                "create",
                "--app",
                app,
                "--name",
                "local",
                "--url",
                url,
            ];
            let refused = call(&folder, &create);
            assert_eq!(
                refused.status.code(),
                Some(1),
                "{url}: {}",
                stdout_of(&refused)
            );
            assert!(
                stderr_of(&refused).contains("SETTLE_DESTINATIONS_ALLOW"),
                "{}",
                stderr_of(&refused)
            );
        }
    }
    let own = answer(&folder, &["destination", "list", "--app", &demo])["items"][0].clone();
    let moved = call(
        &folder,
        &[
            "destination",
            "update",
            id(&own),
            "--url",
            "http://127.0.0.1:9/",
        ],
    );
    assert_eq!(moved.status.code(), Some(1), "{}", stdout_of(&moved));
    let create = [
        "platform",
        "create",
        "--app",
        "mine",
        "--name",
        "fire",
        "--package-name",
        "com.example.mine",
    ];
    let platform = answer(&folder, &create);
    // Samples alone are taken for every app.
    let sent = call(&folder, &["sample", "--app", "mine"]);
    let printed = stdout_of(&sent);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr_of(&sent));
    assert!(
        printed.contains("as a test purchase")
            && printed.contains("No destination will receive its events."),
        "{printed}"
    );
    let listed = answer(
        &folder,
        &["notification", "list", "--platform", id(&platform)],
    );
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
    let sent = call(&folder, &["sample", "--json"]);
    assert_eq!(sent.status.code(), Some(0), "{}", stderr_of(&sent));
    assert!(
        stdout_of(&call(&folder, &["sample"]))
            .contains("Its events will go to: built-in receiver."),
        "the demo's own"
    );
}

#[test]
fn without_the_demo_there_is_no_app_and_no_sample() {
    let folder = Folder::new("no-demo");
    let mut running = logged(
        &folder,
        &mut settle(&folder, &[&RUN[..], &["--no-demo"]].concat()),
    );
    wait_open(&folder, &mut running);
    assert_eq!(
        answer(&folder, &["app", "list"])["items"],
        Value::Array(Vec::new())
    );
    assert!(
        !folder.path().join("data/sample-key.pem").exists(),
        "there is no key that anything trusts"
    );
    running.signal("INT");
    let exited = || {
        running
            .exit_status()
            .ok_or_else(|| "it still runs".to_owned())
    };
    let status = wait::until_blocking(SOON, "the end of settle", exited).expect("an end");
    assert_eq!(status.code(), Some(0), "{}", log(&folder));
    let log = log(&folder);
    let (before, _) = log.split_once("settle stopped;").expect("its last line");
    assert!(
        before.contains("settle: stopping: ")
            && before.contains("press Ctrl-C again to stop at once"),
        "{log}"
    );
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let folder = Folder::new("twice");
    std::fs::write(
        folder.path().join("secret"),
        "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    )
    .expect("a file");
    let address = format!("127.0.0.1:{}", ports::free());
    let mut receiver = logged(
        &folder,
        &mut settle(
            &folder,
            &["listen", "--listen", &address, "--secret", "@secret"],
        ),
    );
    let connect = || TcpStream::connect(&address).map_err(|error| error.to_string());
    let mut slow = wait::until_blocking(SOON, "the receiver", connect).expect("a connection");
    // Its body never ends, so that the receiver does not either.
    let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n";
    slow.write_all(head.as_bytes()).expect("it receives");
    // The receiver asks for the body: until then it may end without having seen the request.
    let mut wanted = [0; 12];
    slow.set_read_timeout(Some(SOON)).expect("a deadline");
    slow.read_exact(&mut wanted).expect("an interim response");
    assert_eq!(&wanted, b"HTTP/1.1 100");
    slow.write_all(b"first").expect("it receives");
    receiver.signal("INT");
    let stopping = || {
        if log(&folder).contains("settle: stopping: ") {
            Ok(())
        } else {
            Err(log(&folder))
        }
    };
    wait::until_blocking(SOON, "the line", stopping).expect("a line");
    assert!(receiver.exit_status().is_none(), "{}", log(&folder));
    receiver.signal("INT");
    let exited = || {
        receiver
            .exit_status()
            .ok_or_else(|| "it still runs".to_owned())
    };
    let status = wait::until_blocking(SOON, "its end", exited).expect("an end");
    assert_eq!(status.code(), Some(1), "{}", log(&folder));
}
