//! Settings and queries on the command line, with a running service that never reaches Temporal.

mod importing;
mod starting;

use super::cli::{ON_THIS_MACHINE, logged, settle, stderr_of, stdout_of, wait_open};
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use system_tests::folder::Folder;
use system_tests::reaper::Watched;
use system_tests::rows;

pub struct Desk {
    pub folder: Folder,
    url: String,
    pub app: String,
    pub platform: String,
    running: Watched,
}

impl Desk {
    /// Starts a service with an app and a platform.
    pub fn open(name: &str) -> Self {
        let mut desk = Self::start(Folder::new(name), &ON_THIS_MACHINE);
        desk.app = desk.id(&["app", "create", "mine"]);
        let app = desk.app.clone();
        desk.platform = desk.id(&[
            "platform",
            "create",
            "--app",
            &app,
            "--name",
            "fire",
            "--package-name",
            "com.example",
        ]);
        desk
    }

    /// Restarts the service.
    pub fn restarted(self) -> Self {
        self.restarted_with(&ON_THIS_MACHINE)
    }

    /// Restarts the service with only these variables.
    pub fn restarted_with(self, variables: &[(&str, &str)]) -> Self {
        let Self {
            folder,
            app,
            platform,
            running,
            ..
        } = self;
        drop(running);
        Self {
            app,
            platform,
            ..Self::start(folder, variables)
        }
    }

    /// Starts a service on the folder's data.
    fn start(folder: Folder, variables: &[(&str, &str)]) -> Self {
        let mut command = settle(
            &folder,
            &["run", "--data", "data", "--listen", "127.0.0.1:0"],
        );
        let mut running = logged(&folder, command.envs(variables.iter().copied()));
        let url = format!("http://{}", wait_open(&folder, &mut running));
        Self {
            folder,
            url,
            app: String::new(),
            platform: String::new(),
            running,
        }
    }

    /// Returns the first line of `/metrics` that begins with `name`.
    pub fn metric(&self, name: &str) -> Option<String> {
        let token = std::fs::read_to_string(self.folder.path().join("data/admin-token"))
            .expect("the admin token");
        self.page("/metrics", token.trim())
            .lines()
            .find(|line| line.starts_with(name))
            .map(str::to_owned)
    }

    /// Sends a GET request with this key, and returns the answer's head and body.
    pub fn page(&self, path: &str, key: &str) -> String {
        self.exchange(
            &format!("GET {path} HTTP/1.1\r\nauthorization: Bearer {key}"),
            "",
        )
    }

    /// Sends a request with this head and body, and returns the answer's head and body.
    pub fn exchange(&self, head: &str, body: &str) -> String {
        let mut http =
            TcpStream::connect(self.url.trim_start_matches("http://")).expect("the service");
        let length = body.len();
        let head =
            format!("{head}\r\nhost: settle\r\ncontent-length: {length}\r\nconnection: close");
        http.write_all(format!("{head}\r\n\r\n{body}").as_bytes())
            .expect("a request");
        let mut page = String::new();
        http.read_to_string(&mut page).expect("an answer");
        page
    }

    pub fn run(&self, line: &[&str]) -> Output {
        self.command(line).output().expect("settle starts")
    }

    /// Returns a command for this service that is not started yet.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut arguments = line.to_vec();
        arguments.extend(["--service", &self.url, "--data", "data"]);
        settle(&self.folder, &arguments)
    }

    /// Runs a command with `--json`, which must succeed, and returns its parsed output.
    pub fn answer(&self, line: &[&str]) -> Value {
        let mut arguments = line.to_vec();
        arguments.push("--json");
        let output = self.run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{line:?}: {}",
            stderr_of(&output)
        );
        serde_json::from_str(&stdout_of(&output))
            .unwrap_or_else(|error| panic!("{line:?}: {error}: {}", stdout_of(&output)))
    }

    pub fn id(&self, line: &[&str]) -> String {
        self.answer(line)["id"].as_str().expect("an id").to_owned()
    }

    /// Returns the test's own database connection.
    pub fn beside(&self) -> SqliteConnection {
        let database = self.folder.path().join("data/settle.sqlite");
        let mut beside =
            SqliteConnection::establish(&database.to_string_lossy()).expect("the database");
        beside
            .batch_execute("PRAGMA busy_timeout = 5000")
            .expect("a setting");
        beside
    }

    /// Inserts purchases `r0`, `r1`, … in revision 1, without a next wake and each with an event without deliveries.
    pub fn seed(&self, purchases: usize) {
        let purchases = rows::purchases(&self.platform, &self.app)
            .numbered(0, purchases - 1)
            .sql("collapse_key", "'6b275a67-0bbb-4f3a-99b9-00000000000' || i")
            .sql("receipt_id", "'r' || i");
        let events = rows::events()
            .of_each("purchases")
            .sql("id", "collapse_key")
            .sql("collapse_key", "collapse_key");
        let events = events.text("body", r#"{"attributes":{"coalesced":0}}"#);
        self.beside()
            .batch_execute(&format!("{purchases}{events}"))
            .expect("purchases");
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
    }
}

#[test]
fn what_is_missing_is_sent_once() {
    let desk = Desk::open("cli-snapshot");
    let line = [
        "destination",
        "create",
        "--app",
        &desk.app,
        "--name",
        "late",
        "--url",
        "http://127.0.0.1:9/",
    ];
    let destination = desk.id(&line);
    desk.seed(3);
    let count = |line: &[&str]| {
        let answer = desk.answer(line);
        (answer["checked"].clone(), answer["pending"].clone())
    };
    let missing = ["resend", "missing", "--destination", &destination];
    assert_eq!(
        count(&[
            "resend",
            "missing",
            "--destination",
            &destination,
            "--dry-run"
        ]),
        (3.into(), 3.into())
    );
    assert_eq!(count(&missing), (3.into(), 3.into()));
    assert_eq!(count(&missing), (3.into(), 0.into()));
    let pending = desk.answer(&["delivery", "list", "--destination", &destination]);
    assert_eq!(
        pending["items"].as_array().map(Vec::len),
        Some(3),
        "{pending}"
    );
}

#[test]
fn customers_and_rates_have_commands() {
    let desk = Desk::open("cli-people");
    let app = desk.app.as_str();
    let named = desk.answer(&[
        "customer",
        "name",
        "--app",
        app,
        "--external-id",
        "anna",
        "--app-user-id",
        "u/1=",
    ]);
    assert_eq!(
        desk.answer(&["customer", "show", "--app", app, "--external-id", "anna"]),
        named
    );
    let both = [
        "customer",
        "name",
        "--app",
        app,
        "--external-id",
        "a",
        "--app-user-id",
        "b",
        "--receipt",
        "c",
    ];
    assert_eq!(desk.run(&both).status.code(), Some(2));
    desk.write(
        "rates.csv",
        "day,currency,usd\n2026-01-31,EUR,1.08\n31.1.2026,EUR,1.08\n",
    );
    let rates = desk.run(&["app", "rates", "rates.csv", "--app", app]);
    assert_eq!(rates.status.code(), Some(1));
    assert!(
        stderr_of(&rates).starts_with("line 3: day: expected a day such as 2026-01-31"),
        "{}",
        stderr_of(&rates)
    );
    desk.write("wrong-token", "unknown");
    let wrong = ["--token", "@wrong-token"];
    let refused = desk.run(&[&["app", "rates", "rates.csv", "--app", app], &wrong[..]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        !stderr_of(&refused).contains("again"),
        "what is refused is refused again: {}",
        stderr_of(&refused)
    );
}

#[test]
fn platform_settings_have_commands() {
    let desk = Desk::open("cli-platforms");
    let flags = [
        "platform",
        "update",
        &desk.platform,
        "--product-ref",
        "parent",
        "--flush-on-revoke",
    ];
    let platform = desk.answer(&flags);
    assert_eq!(
        (&platform["product_ref"], &platform["flush_on_revoke"]),
        (&"parent".into(), &true.into())
    );
    for (policy, shown) in [("review", "review"), ("default", "immediate")] {
        let answer = desk.answer(&["platform", "update", &desk.platform, "--transfers", policy]);
        assert_eq!(answer["transfers"], shown);
    }
    let off = desk.answer(&[
        "platform",
        "update",
        &desk.platform,
        "--flush-on-revoke",
        "false",
    ]);
    assert_eq!(
        (&off["product_ref"], &off["flush_on_revoke"]),
        (&"parent".into(), &false.into())
    );
    let believing = desk.answer(&[
        "platform",
        "update",
        &desk.platform,
        "--unknown-receipts",
        "believe",
    ]);
    assert_eq!(believing["unknown_receipts"], "believe");
    assert_eq!(
        desk.run(&[
            "platform",
            "update",
            &desk.platform,
            "--unknown-receipts",
            "trust"
        ])
        .status
        .code(),
        Some(2)
    );
    let limited = desk.answer(&[
        "platform",
        "update",
        &desk.platform,
        "--device-events-per-day",
        "5",
    ]);
    assert_eq!(
        (
            &limited["device_events_per_day"],
            &limited["new_users_per_day"]
        ),
        (&5.into(), &1_000_000.into())
    );
    assert_eq!(
        desk.answer(&["platform", "retry-parked", &desk.platform])["purchases"],
        0
    );
    let steps = desk.answer(&["platform", "steps", &desk.platform]);
    assert!(steps["items"][0]["title"].is_string(), "{steps}");
}

#[test]
fn a_new_platform_ends_with_the_next_step() {
    let desk = Desk::open("cli-next");
    let create = [
        "platform",
        "create",
        "--app",
        &desk.app,
        "--name",
        "tv",
        "--package-name",
        "com.example.tv",
    ];
    let created = desk.run(&create);
    let text = stdout_of(&created);
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("Next: paste notification_url"),
        "{text}{}",
        stderr_of(&created)
    );
    assert!(
        text.starts_with("id ") && text.contains("No store can reach this address"),
        "{text}"
    );
    let help = stdout_of(&desk.run(&["platform", "create", "--help"]));
    let place = |flag: &str| {
        help.find(flag)
            .unwrap_or_else(|| panic!("no {flag}: {help}"))
    };
    assert!(
        place("--name") < place("--package-name") && place("--package-name") < place("--window"),
        "{help}"
    );
    assert!(
        place("--shared-secret") < place("--device-events-per-day"),
        "{help}"
    );
    let (_, id) = last
        .split_once("`settle platform topics ")
        .expect("a command");
    let (id, _) = id.split_once('`').expect("its end");
    assert_eq!(desk.answer(&["platform", "show", id])["name"], "tv");
}

#[test]
fn a_name_stands_for_an_id_and_a_mistyped_one_is_suggested() {
    let desk = Desk::open("cli-names");
    let by_id = desk.answer(&["platform", "show", &desk.platform]);
    let (app, platform) = (
        desk.answer(&["app", "show", &desk.app]),
        by_id["name"].as_str().expect("a name"),
    );
    let app = app["name"].as_str().expect("a name");
    assert_eq!(desk.answer(&["platform", "show", platform]), by_id);
    assert_eq!(
        desk.answer(&["platform", "list", "--app", app])["items"][0]["id"],
        by_id["id"]
    );
    assert_eq!(
        desk.answer(&["alarm", "list", "--app", app, "--platform", platform])["items"],
        json!([])
    );
    let mistyped = desk.run(&["platform", "list", "--app", &format!("{app}x")]);
    assert_eq!(mistyped.status.code(), Some(1));
    assert!(
        stderr_of(&mistyped).contains(&format!("did you mean `{app}`?")),
        "{}",
        stderr_of(&mistyped)
    );
    let other = desk.id(&["app", "create", "other"]);
    let line = [
        "platform",
        "create",
        "--app",
        &other,
        "--name",
        platform,
        "--package-name",
        "com.example.other",
    ];
    desk.id(&line);
    let ambiguous = desk.run(&["platform", "show", platform]);
    assert!(
        stderr_of(&ambiguous).contains("several platforms are named"),
        "{}",
        stderr_of(&ambiguous)
    );
    let of_app = desk.answer(&["alarm", "list", "--app", app, "--platform", platform]);
    assert_eq!(of_app["items"], json!([]), "a name is that of the app");
}

#[test]
fn a_refusal_names_the_flag_that_was_typed() {
    let desk = Desk::open("cli-flags");
    let refused = desk.run(&[
        "platform",
        "update",
        &desk.platform,
        "--window",
        "5m",
        "--max-wait",
        "1m",
    ]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr_of(&refused).contains("--max-wait: expected"),
        "{}",
        stderr_of(&refused)
    );
    let set = desk.answer(&[
        "platform",
        "update",
        &desk.platform,
        "--window",
        "5m",
        "--max-wait",
        "10m",
    ]);
    assert_eq!(
        (&set["window_seconds"], &set["max_wait_seconds"]),
        (&json!(300), &json!(600))
    );
    let reset = desk.answer(&[
        "platform",
        "update",
        &desk.platform,
        "--clear",
        "max-wait,transfers",
    ]);
    assert_eq!(
        (&reset["max_wait_seconds"], &reset["window_seconds"]),
        (&Value::Null, &json!(300))
    );
}
