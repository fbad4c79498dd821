//! Settings and queries on the command line, with a running service that never reaches Temporal.

use super::cli::{ON_THIS_MACHINE, logged, ran, settle, stderr_of, stdout_of, wait_open};
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
    /// A service with an app and a platform.
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

    /// Stops the service and starts it again.
    pub fn restarted(self) -> Self {
        self.restarted_with(&ON_THIS_MACHINE)
    }

    /// Stops the service and starts it again with these variables alone.
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

    /// Starts a service with the data in the folder.
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

    /// The first line of `/metrics` that begins with `name`.
    pub fn metric(&self, name: &str) -> Option<String> {
        let token = std::fs::read_to_string(self.folder.path().join("data/admin-token"))
            .expect("the admin token");
        self.page("/metrics", token.trim())
            .lines()
            .find(|line| line.starts_with(name))
            .map(str::to_owned)
    }

    /// The answer to a GET with this key, head and body.
    pub fn page(&self, path: &str, key: &str) -> String {
        self.exchange(
            &format!("GET {path} HTTP/1.1\r\nauthorization: Bearer {key}"),
            "",
        )
    }

    /// The answer to a request with this head and body, head and body.
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

    /// A command for this service, not started yet.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut arguments = line.to_vec();
        arguments.extend(["--service", &self.url, "--data", "data"]);
        settle(&self.folder, &arguments)
    }

    /// Runs a command with `--json`, which must succeed, and returns its output.
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

    /// A database connection of the test's own.
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
fn a_file_without_an_address_leads_to_the_last_run_on_its_data() {
    let desk = Desk::open("cli-config");
    let list = |text: &str| {
        desk.write("own.toml", text);
        ran(&desk.folder, &["--config", "own.toml", "app", "list"])
    };
    let found = list("data = \"data\"\nretention = \"30d\"\n");
    assert!(
        found.status.success() && stdout_of(&found).contains("mine"),
        "{}",
        stderr_of(&found)
    );
    let named = stderr_of(&list("data = \"data\"\nadmin_listen = \"127.0.0.1:9\"\n"));
    assert!(
        named.contains("127.0.0.1:9"),
        "an address of the file counts: {named}"
    );
    let shared = stderr_of(&list(
        "data = \"data\"\nlisten = \"127.0.0.1:9\"\nadmin_on_listen = true\n",
    ));
    assert!(
        shared.contains("127.0.0.1:9"),
        "and so does the one address of the file: {shared}"
    );
    let elsewhere = stderr_of(&list(
        "data = \"none\"\nlisten = \"127.0.0.1:8\"\nadmin_token = \"0123456789abcdef\"\n",
    ));
    assert!(
        elsewhere.contains("127.0.0.1:9"),
        "else the port after that of `listen`: {elsewhere}"
    );
}

#[test]
fn the_metrics_name_the_version() {
    let desk = Desk::open("cli-version");
    let expected = format!(
        "settle_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(desk.metric("settle_build_info"), Some(expected));
}

#[test]
fn sign_in_links_begin_with_the_public_address_of_the_dashboard() {
    let desk = Desk::open("cli-public-link")
        .restarted_with(&[("SETTLE_UI_URL", "https://settle.example.com")]);
    let line = ["sign-in", "link", "--name", "Anna", "--role", "support"];
    let (created, begins) = (desk.answer(&line), "https://settle.example.com/ui/sign-in/");
    let (url, path) = (
        created["url"].as_str().unwrap_or_default(),
        created["path"].as_str().unwrap_or_default(),
    );
    assert!(url.starts_with(begins) && url.ends_with(path), "{created}");
    let printed = stdout_of(&desk.run(&line));
    assert!(printed.contains(begins), "{printed}");
}

#[test]
fn a_second_hold_names_the_first() {
    let desk = Desk::open("cli-held");
    desk.seed(1);
    let hold = ["purchase", "hold", "r0", "--reason", "ticket 4711"];
    let already = "It is already held until 2100-01-01T00:00:00";
    assert!(
        !stdout_of(&desk.run(&hold)).contains("already held"),
        "no Temporal took the first one"
    );
    let held =
        "UPDATE purchases SET held_until = 4102444800000000, held_by = 'ann', held_reason = 'why'";
    desk.beside().batch_execute(held).expect("a hold");
    let printed = stdout_of(&desk.run(&hold));
    assert!(printed.contains(already), "{printed}");
}

#[test]
fn an_import_names_bad_lines_and_resumes_where_it_stopped() {
    let desk = Desk::open("cli-import");
    desk.write(
        "all.csv",
        "receipt_id,app_user_id,external_id\nr1,u1,anna\nr2,,\n\"r,3\",u1,otto\nr4,u4\n",
    );
    let import = [
        "app",
        "import",
        "all.csv",
        "--platform",
        &desk.platform,
        "--rate",
        "100",
    ];
    let unverified = desk.run(&import);
    let refusal = stderr_of(&unverified);
    assert_eq!(unverified.status.code(), Some(1), "{refusal}");
    assert!(
        refusal.contains("nothing was imported") && refusal.contains("--shared-secret"),
        "{refusal}"
    );
    desk.write("shared-secret.txt", "a-shared-secret\n");
    desk.answer(&[
        "platform",
        "update",
        &desk.platform,
        "--shared-secret",
        "@shared-secret.txt",
    ]);
    let first = desk.run(&import);
    assert_eq!(first.status.code(), Some(1), "{}", stderr_of(&first));
    let complaints = stderr_of(&first);
    let lines: Vec<&str> = complaints.lines().collect();
    assert_eq!(
        lines.len(),
        2,
        "no progress bar without a terminal: {complaints}"
    );
    assert!(
        lines[0].starts_with("line 3: app_user_id: expected text"),
        "{complaints}"
    );
    assert!(
        lines[1].starts_with("line 4: external_id: ") && lines[1].contains("`anna`"),
        "{complaints}"
    );
    let count = |output: &Output, name: &str| {
        let text = stdout_of(output);
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .map(|line| line[name.len()..].trim().to_owned());
        line.unwrap_or_else(|| panic!("no `{name}` in {text}"))
    };
    assert_eq!(
        (
            count(&first, "accepted"),
            count(&first, "known"),
            count(&first, "wrong")
        ),
        ("3".into(), "0".into(), "2".into())
    );
    let again = desk.run(&import);
    assert_eq!(
        (count(&again, "accepted"), count(&again, "known")),
        ("0".into(), "3".into()),
        "it goes on where it stopped"
    );
    desk.write(
        "more.jsonl",
        "{\"receipt_id\":\"r4\",\"app_user_id\":\"u4\"}\n\n{\"receipt_id\":\"r5\",\"app_user_id\":\"u5\"}\n",
    );
    let more = desk.answer(&["app", "import", "more.jsonl", "--platform", &desk.platform]);
    assert_eq!(
        (
            &more["accepted"],
            &more["known"],
            &more["purchases"]["waiting"]
        ),
        (&1.into(), &1.into(), &4.into())
    );
    let state = desk.answer(&["app", "import", "--platform", &desk.platform]);
    assert_eq!(
        (
            &state["purchases"]["waiting"],
            &state["purchases"]["settled"]
        ),
        (&4.into(), &0.into())
    );
    desk.write("strange.csv", "receipt_id,customer\nr1,u1\n");
    let strange = desk.run(&["app", "import", "strange.csv", "--platform", &desk.platform]);
    assert!(
        stderr_of(&strange).contains("unknown column `customer`: name columns of receipt_id"),
        "{}",
        stderr_of(&strange)
    );
}

#[test]
fn a_catalogue_is_exported_and_imported_as_one_file() {
    let desk = Desk::open("cli-catalogue");
    let app = desk.app.as_str();
    desk.answer(&["entitlement", "set", "gold", "--app", app, "--name", "Gold"]);
    let set = format!(
        "product set month --app {app} --entitlement gold --price USD:9.99 --price DE:EUR:8.90 --price \
         USD:10.99@2026-03-01 --price DE:EUR:9.90@2026-03-01T12:00:00+01:00"
    );
    let set: Vec<&str> = set.split(' ').collect();
    let dry = desk.run(&[&set[..], &["--dry-run"]].concat());
    assert!(
        stdout_of(&dry).contains("Nothing was changed. This would affect 0"),
        "{}",
        stdout_of(&dry)
    );
    assert_eq!(
        desk.answer(&["product", "list", "--app", app])["items"],
        serde_json::json!([])
    );
    desk.answer(&set);
    let exported = desk.run(&["product", "export", "--app", app, "catalogue.json"]);
    assert_eq!(exported.status.code(), Some(0), "{}", stderr_of(&exported));
    let document = desk.answer(&["product", "export", "--app", app]);
    let prices = &document["products"][0]["prices"];
    assert_eq!(
        (&prices[1]["country"], &prices[1]["since"]),
        (&"DE".into(), &Value::Null)
    );
    assert_eq!(
        (&prices[2]["price"], &prices[2]["since"]),
        (&"10.99".into(), &"2026-03-01".into())
    );
    assert_eq!(prices[3]["since"], "2026-03-01T11:00:00.000000Z");
    desk.answer(&["product", "delete", "month", "--app", app]);
    desk.answer(&["entitlement", "delete", "gold", "--app", app]);
    assert_eq!(
        desk.answer(&["entitlement", "list", "--app", app])["items"],
        serde_json::json!([])
    );
    desk.answer(&[
        "product",
        "import",
        "catalogue.json",
        "--app",
        app,
        "--dry-run",
    ]);
    assert_eq!(
        desk.answer(&["product", "list", "--app", app])["items"],
        serde_json::json!([])
    );
    desk.answer(&["product", "import", "catalogue.json", "--app", app]);
    assert_eq!(desk.answer(&["product", "export", "--app", app]), document);
    for wrong in [
        "USD:9.99@tomorrow",
        "USD:9.99@",
        "9.99@2026-03-01",
        "A:B:C:1",
    ] {
        let refused = desk.run(&["product", "set", "month", "--app", app, "--price", wrong]);
        let complaint = stderr_of(&refused);
        assert_eq!(
            (
                refused.status.code(),
                complaint.contains("USD:10.99@2026-03-01")
            ),
            (Some(2), true),
            "{complaint}"
        );
    }
    let twice = [
        "product",
        "set",
        "month",
        "--app",
        app,
        "--price",
        "USD:1@2026-03-01",
        "--price",
        "USD:2@2026-03-01",
    ];
    let complaint = stderr_of(&desk.run(&twice));
    assert!(
        complaint.contains("two without a country are since 2026-03-01"),
        "{complaint}"
    );
    assert_eq!(
        desk.answer(&["product", "export", "--app", app]),
        document,
        "what was refused changed nothing"
    );
    let unmapped = desk.run(&["product", "unmapped", "--app", app]);
    assert!(
        stdout_of(&unmapped).contains("The catalogue contains every SKU that was bought"),
        "{}",
        stdout_of(&unmapped)
    );
    let silver = desk.run(&[
        "product",
        "set",
        "month",
        "--app",
        app,
        "--entitlement",
        "silver",
    ]);
    assert_eq!(silver.status.code(), Some(1));
    assert!(
        stderr_of(&silver).contains("`silver`") && stderr_of(&silver).contains("set it first"),
        "{}",
        stderr_of(&silver)
    );
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
fn customers_rates_and_platform_settings_have_commands() {
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
    let refused = desk.run(&[
        "app",
        "rates",
        "rates.csv",
        "--app",
        app,
        "--token",
        "unknown",
    ]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        !stderr_of(&refused).contains("again"),
        "what is refused is refused again: {}",
        stderr_of(&refused)
    );
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
