//! `settle run`: its files, its tools, and the restrictions of its demo.

mod demo;
mod directories;
mod temporal;

use super::cli::{log, logged, ran, settle, stderr_of, stdout_of, wait_open};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use system_tests::folder::Folder;
use system_tests::reaper::Watched;
use system_tests::world::SOON;
use system_tests::{ports, wait};

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

/// Writes an executable script. A separate process writes it: if this process did, a child started by another test
/// could inherit the file open for writing, and the script could then not be executed.
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

/// Starts `settle run` with its own Temporal server, and a secret among its settings.
fn with_own_server(folder: &Folder, flags: &[&str]) -> Watched {
    let mut command = settle(folder, &[RUN.as_slice(), flags].concat());
    command
        .env_remove("TEMPORAL_ADDRESS")
        .env("SETTLE_ADMIN_TOKEN", SECRET);
    logged(folder, &mut command)
}

/// Returns the environments of the dev server's processes in this working directory.
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
        // An empty body is not a message.
        requested(public.expect("an address"), &format!("POST /{path}"), "*/*");
        let file = folder.path().join("data/settle.log");
        let read = || {
            let (file, printed) = (
                std::fs::read_to_string(&file).unwrap_or_default(),
                log(&folder),
            );
            let line = "a message to an ingress was refused";
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
        // Warnings are always printed: here, that no Temporal answers.
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
    // The body never ends, so the handler does not either.
    let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n";
    slow.write_all(head.as_bytes()).expect("it receives");
    // The server requests the body: before that, it might end without having seen the request.
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
