//! Keys and the audit log on the command line, with a running service that never reaches Temporal.

use super::cli::{ON_THIS_MACHINE, ran, settle, stderr_of, stdout_of};
use super::cli_settings::Desk;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use system_tests::folder::Folder;

/// Runs a command with a key in place of the admin token; returns the exit code and the output.
fn with_key(desk: &Desk, key: &str, line: &[&str]) -> (Option<i32>, String) {
    let output = desk
        .command(line)
        .env("SETTLE_ADMIN_TOKEN", key)
        .output()
        .expect("settle starts");
    (
        output.status.code(),
        stdout_of(&output) + &stderr_of(&output),
    )
}

#[test]
fn a_key_is_printed_once_used_and_revoked() {
    let desk = Desk::open("cli-keys");
    let create = [
        "key",
        "create",
        "--name",
        "help desk",
        "--role",
        "support",
        "--expires",
        "90d",
    ];
    let created = desk.answer(&create);
    let (id, key) = (
        created["id"].as_str().expect("an id"),
        created["key"].as_str().expect("a key"),
    );
    assert!(
        created["expires_at"].is_string() && created["app_id"].is_null(),
        "{created}"
    );
    assert_eq!(with_key(&desk, key, &["app", "list"]).0, Some(0));
    let (code, why) = with_key(&desk, key, &["app", "create", "another"]);
    assert!(
        code == Some(1) && why.contains("`support`") && why.contains("`admin`"),
        "{why}"
    );
    let listed = stdout_of(&desk.run(&["key", "list"]));
    assert!(
        listed.contains("help desk") && listed.contains("support") && !listed.contains(key),
        "{listed}"
    );
    assert_eq!(desk.run(&["key", "revoke", id]).status.code(), Some(0));
    assert_eq!(with_key(&desk, key, &["app", "list"]).0, Some(1));
    let past = desk.run(&[
        "key",
        "create",
        "--name",
        "x",
        "--role",
        "read",
        "--expires",
        "yesterday",
    ]);
    assert!(
        past.status.code() == Some(1) && stderr_of(&past).contains("--expires"),
        "{}",
        stderr_of(&past)
    );
}

#[test]
fn a_key_is_revoked_by_its_name() {
    let desk = Desk::open("cli-key-names");
    let create = |name: &str| desk.answer(&["key", "create", "--name", name, "--role", "metrics"]);
    let first = create("prometheus");
    assert_eq!(
        desk.run(&["key", "revoke", "prometheus"]).status.code(),
        Some(0)
    );
    assert_eq!(
        with_key(
            &desk,
            first["key"].as_str().expect("a key"),
            &["app", "list"]
        )
        .0,
        Some(1)
    );
    // A revoked key can still be found by name, for the audit log, and stays revoked.
    let again = desk.run(&["key", "revoke", "prometheus"]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr_of(&again));
    let unknown = stderr_of(&desk.run(&["key", "revoke", "grafana"]));
    assert!(
        unknown.contains("no key has the id or name `grafana`"),
        "{unknown}"
    );
    create("prometheus");
    assert_eq!(
        desk.run(&["key", "revoke", "prometheus"]).status.code(),
        Some(0),
        "the one that is in use"
    );
}

#[test]
fn the_token_of_a_folder_stays_on_this_machine() {
    let folder = Folder::new("cli-token");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(data.join("admin-token"), "a-token-of-the-data-directory").expect("written");
    let list = |service: &str| {
        stderr_of(&ran(
            &folder,
            &["app", "list", "--data", "data", "--service", service],
        ))
    };
    // A name that never resolves (RFC 6761): nothing can be sent.
    for service in [
        "http://settle.invalid:8081",
        "https://settle.invalid",
        "http://192.0.2.1:8081",
    ] {
        let why = list(service);
        assert!(
            why.contains("was not sent to") && why.contains("--token @FILE"),
            "{service}: {why}"
        );
    }
    for service in ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"] {
        let why = list(service);
        assert!(why.contains("no service answers"), "{service}: {why}");
    }
    std::fs::write(data.join("service-url"), "https://settle.invalid").expect("written");
    let own = list("https://settle.invalid");
    assert!(
        own.contains("no service answers"),
        "the service that recorded it: {own}"
    );
}

#[test]
fn a_directorys_address_gets_no_token_of_the_environment() {
    let folder = Folder::new("cli-planted");
    let data = folder.path().join("settle-data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::write(folder.path().join("token"), "token-of-production").expect("written");
    std::fs::write(
        folder.path().join("settle.toml"),
        "admin_token = \"token-of-production-in-a-file\"",
    )
    .expect("written");
    let planted = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", planted.local_addr().expect("its address"));
    let list = |named: &str, line: &[&str], token: Option<&str>| {
        std::fs::write(data.join("service-url"), named).expect("written");
        let mut command = settle(&folder, &[["app", "list"].as_slice(), line].concat());
        if let Some(token) = token {
            command.env("SETTLE_ADMIN_TOKEN", token);
        }
        stderr_of(&command.output().expect("settle starts"))
    };
    let exported = Some("token-of-production");
    let ways: [(&[&str], _); 3] = [
        (&[], exported),
        (&["--token", "@token"], None),
        (&["--config", "settle.toml"], None),
    ];
    for (line, token) in ways {
        let why = list(&url, line, token);
        assert!(
            why.contains("was not sent to")
                && why.contains(&format!("--service {url} (SETTLE_URL)")),
            "{why}"
        );
    }
    for elsewhere in ["http://settle.invalid:8081", "https://settle.invalid"] {
        let why = list(elsewhere, &[], None);
        assert!(
            why.contains("names another machine"),
            "without any token: {why}"
        );
    }
    planted.set_nonblocking(true).expect("a listener");
    assert!(planted.accept().is_err(), "nothing connects to the address");
    drop(planted);
    std::fs::write(data.join("admin-token"), "the-token-beside-the-address").expect("written");
    assert!(
        list(&url, &[], None).contains("no service answers"),
        "its own token is sent there"
    );
    assert!(
        list(&url, &["--service", &url], exported).contains("no service answers"),
        "a person named it"
    );
}

#[test]
fn plain_http_to_another_machine_needs_a_flag() {
    let folder = Folder::new("cli-plain");
    let list = |line: &[&str]| {
        let mut command = settle(&folder, &[["app", "list"].as_slice(), line].concat());
        stderr_of(
            &command
                .env("SETTLE_ADMIN_TOKEN", "token-of-production")
                .output()
                .expect("settle starts"),
        )
    };
    let plain = "http://settle.invalid:8081";
    let refused = list(&["--service", plain]);
    assert!(
        refused.contains("https://") && refused.contains("--insecure"),
        "{refused}"
    );
    for line in [
        ["--service", plain, "--insecure"],
        ["--service", "https://settle.invalid", "--json"],
    ] {
        let tried = list(&line);
        assert!(tried.contains("no service answers"), "{tried}");
    }
}

#[test]
fn a_sign_in_link_is_no_argument_and_in_no_file_of_others() {
    let desk = Desk::open("cli-open");
    let folder = desk.folder.path();
    let programs = folder.join("programs");
    std::fs::create_dir(&programs).expect("a folder");
    let arguments = folder.join("arguments");
    let browser = format!("#!/bin/sh\necho \"$@\" > {}\n", arguments.display());
    for name in ["xdg-open", "open"] {
        let program = programs.join(name);
        std::fs::write(&program, &browser).expect("written");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("a program");
    }
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let output = desk
        .command(&["open"])
        .env("PATH", path)
        .env("DISPLAY", ":0")
        .output()
        .expect("settle starts");
    let printed = stdout_of(&output) + &stderr_of(&output);
    assert!(
        output.status.success() && printed.contains("opens in your browser"),
        "{printed}"
    );
    let opened = std::fs::read_to_string(&arguments).expect("the browser was started");
    assert!(
        !opened.contains("/ui/sign-in/") && !printed.contains("/ui/sign-in/"),
        "{opened}{printed}"
    );
    let file = Path::new(opened.trim());
    let page = std::fs::read_to_string(file).expect("the file that the browser opens");
    let code = page
        .split("/ui/sign-in/")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a link");
    assert_eq!(code.len(), 32, "{page}");
    let mode = std::fs::metadata(file)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "its owner alone reads it");
}

#[test]
fn a_key_of_one_app_sees_its_own_audit_log() {
    let desk = Desk::open("cli-audit-log");
    let other = desk.id(&["app", "create", "another"]);
    let created = desk.answer(&[
        "key", "create", "--name", "team", "--role", "operator", "--app", &desk.app,
    ]);
    let key = created["key"].as_str().expect("a key");
    assert_eq!(
        with_key(&desk, key, &["app", "rename", &desk.app, "renamed"]).0,
        Some(0)
    );
    assert_eq!(
        with_key(&desk, key, &["app", "rename", &other, "renamed"]).0,
        Some(1)
    );
    let (code, audit_log) = with_key(&desk, key, &["audit-log"]);
    assert!(
        code == Some(0) && audit_log.contains("app.update") && audit_log.contains("team"),
        "{audit_log}"
    );
    assert!(!audit_log.contains(&other), "{audit_log}");
    let all = desk.answer(&["audit-log", "--subject", &other]);
    assert_eq!(all["items"][0]["operation"], "app.create", "{all}");
    assert_eq!(
        desk.answer(&["audit-log", "--app", &desk.app, "--operation", "app.update"])["items"][0]["actor"],
        "team"
    );
}

#[test]
fn an_address_that_guesses_is_slowed_and_its_token_still_works() {
    let desk = Desk::open("cli-guesses");
    let created = desk.answer(&["key", "create", "--name", "unused", "--role", "read"]);
    let unused = created["key"].as_str().expect("a key");
    let first = with_key(&desk, "guess", &["app", "list"]).1;
    assert!(
        first.contains("the token is not valid at ") && !first.contains("API key"),
        "{first}"
    );
    // Ten requests are answered at once; separate commands would be so slow that another guess is allowed meanwhile.
    let guesses: Vec<String> = (0..12).map(|_| desk.page("/v1/apps", "guess")).collect();
    assert!(guesses[11].starts_with("HTTP/1.1 429 "), "{guesses:?}");
    let last = with_key(&desk, "guess", &["app", "list"]).1;
    assert!(last.contains("too many requests"), "{last}");
    assert_eq!(
        with_key(&desk, unused, &["app", "list"]).0,
        Some(0),
        "a right key is taken, proved before or not"
    );
    assert_eq!(
        desk.run(&["app", "list"]).status.code(),
        Some(0),
        "the token was proved before"
    );
    let refused = desk
        .metric("settle_api_refused_total{reason=\"slowed\"}")
        .expect("a count");
    let slowed = 1 + guesses
        .iter()
        .filter(|answer| answer.starts_with("HTTP/1.1 429 "))
        .count();
    assert!(
        refused.ends_with(&format!(" {slowed}")),
        "{slowed} were slowed: {refused}"
    );
}

/// Returns the path and text of every file below a folder.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((
                path.display().to_string(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
    found
}

#[test]
fn what_the_page_shows_once_is_in_no_log_and_no_file() {
    let [networks, http] = ON_THIS_MACHINE;
    let desk = Desk::open("cli-team").restarted_with(&[("SETTLE_LOG", "debug"), networks, http]);
    let token = std::fs::read_to_string(desk.folder.path().join("data/admin-token"))
        .expect("the admin token");
    let post = |path: &str, cookie: &str, body: &str| {
        desk.exchange(
            &format!("POST {path} HTTP/1.1\r\nsec-fetch-site: same-origin\r\ncookie: {cookie}"),
            body,
        )
    };
    let between = |text: &str, before: &str, after: &str| {
        let found = text
            .split(before)
            .nth(1)
            .and_then(|rest| rest.split(after).next());
        found
            .unwrap_or_else(|| panic!("no {before} in {text}"))
            .to_owned()
    };
    let arrived = post("/ui/sign-in", "", &format!("key={}", token.trim()));
    let cookie = between(&arrived, "set-cookie: ", ";");
    let page = desk.exchange(&format!("GET /ui/team HTTP/1.1\r\ncookie: {cookie}"), "");
    let form_token = between(&page, "name=\"form_token\" value=\"", "\"");
    let fields = format!("form_token={form_token}&name=Anna&role=support&reason=ticket");
    let code = between(
        &post("/ui/team", &cookie, &fields),
        "data-copy=\"https://settle/ui/sign-in/",
        "\"",
    );
    let key = between(
        &post("/ui/team/keys", &cookie, &fields),
        "data-copy=\"sk_",
        "\"",
    );
    assert!(post(&format!("/ui/sign-in/{code}"), "", "").starts_with("HTTP/1.1 303 "));
    assert_eq!(
        with_key(&desk, &format!("sk_{key}"), &["app", "list"]).0,
        Some(0)
    );
    let secret = key.split('_').nth(1).expect("a secret");
    let files = contents(desk.folder.path());
    assert!(
        files
            .iter()
            .any(|(_, text)| text.contains("somebody signed in to the page")),
        "the log is among them"
    );
    for (path, text) in files {
        assert!(!text.contains(&code) && !text.contains(secret), "{path}");
    }
}

/// Starts a service on this machine that gives this answer to one request; returns its address.
fn answering(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a request");
        let mut request = BufReader::new(stream);
        let mut line = String::new();
        while request.read_line(&mut line).expect("its head") > 2 {
            line.clear();
        }
        let mut stream = request.into_inner();
        let length = body.len();
        let head = "content-type: application/json\r\nconnection: close";
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("answered");
    });
    address
}

#[test]
fn no_answer_sends_a_command_to_the_terminal() {
    let folder = Folder::new("cli-terminal");
    let evil = "\u{1b}]52;c;Zm9v\u{7}\u{202e}";
    let shown = |status: &'static str, body: Value| {
        let service = answering(status, body.to_string());
        let show = ["notification", "show", "m", "--service", &service];
        let output = settle(&folder, &show)
            .env("SETTLE_ADMIN_TOKEN", "a-token")
            .output()
            .expect("settle starts");
        (stdout_of(&output), stderr_of(&output))
    };
    let (line, why) = shown(
        "200 OK",
        json!({ "accepted_at": evil, "notifications": [{ "outcome": evil }] }),
    );
    assert_eq!(
        line.matches("\\u{1b}]52;c;Zm9v\\u{7}\\u{202e}").count(),
        2,
        "{line:?} {why:?}"
    );
    let (line, why) = shown(
        "404 Not Found",
        json!({ "code": "not_found", "detail": evil }),
    );
    assert!(
        line.is_empty() && why.contains("\\u{1b}]52;c;Zm9v\\u{7}\\u{202e}"),
        "{why:?}"
    );
    assert!(
        !why.chars()
            .any(|one| evil.contains(one) && !one.is_ascii_graphic()),
        "{why:?}"
    );
}
