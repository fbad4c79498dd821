//! `settle destination` with a running service that never reaches Temporal.

use super::cli::{check_failure, log, settle, stderr_of, stdout_of};
use super::cli_settings::Desk;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Output, Stdio};
use system_tests::folder::Folder;
use system_tests::wait;
use system_tests::world::SOON;

const URL: &str = "https://example.com/hooks";

/// Runs a command with this text on its standard input.
fn fed(desk: &Desk, line: &[&str], input: &str) -> Output {
    let mut command = desk.command(line);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().expect("settle starts");
    child
        .stdin
        .take()
        .expect("its input")
        .write_all(input.as_bytes())
        .expect("it reads");
    child.wait_with_output().expect("settle ends")
}

#[test]
fn a_webhook_is_created_shown_and_changed_by_flags() {
    let desk = Desk::open("cli-webhook");
    desk.write("token", "Bearer hunter2\n");
    let line = format!(
        "destination create --app {} --name backend --url {URL} --event purchase.updated,user.* --platform {} \
         --environment production --rate 20 --concurrency 4 --header Authorization=@token --signature v1,v1a --schedule",
        desk.app, desk.platform
    );
    let line: Vec<&str> = line.split(' ').chain(["5s,5m,1h 30m"]).collect();
    let created = desk.answer(&line);
    let expected = [
        ("url", json!(URL)),
        ("events", json!(["purchase.updated", "user.*"])),
        (
            "filter",
            json!({ "platforms": [desk.platform], "environments": ["production"] }),
        ),
        ("rate", json!(20)),
        ("concurrency", json!(4)),
        ("schedule", json!([5, 300, 5400])),
        ("headers", json!(["authorization"])),
        ("signature", json!("v1,v1a")),
    ];
    for (field, value) in expected {
        assert_eq!(created[field], value, "{field}");
    }
    assert!(
        created["secret"]
            .as_str()
            .is_some_and(|secret| secret.starts_with("whsec_")),
        "shown once"
    );
    let id = created["id"].as_str().expect("an id");
    let shown = stdout_of(&desk.run(&["destination", "show", id]));
    for part in [
        "no event sent yet",
        "at most 20 requests per second",
        "5s, 5m, 1h 30m",
        "0 deliveries",
    ] {
        assert!(shown.contains(part), "`{part}` is missing:\n{shown}");
    }
    assert!(
        !shown.contains("hunter2") && !shown.contains("whsec_"),
        "{shown}"
    );
    let line = [
        "destination",
        "update",
        id,
        "--remove-header",
        "authorization",
        "--clear",
        "rate,schedule,filter",
    ];
    let changed = desk.answer(&line);
    assert_eq!(
        (&changed["rate"], &changed["schedule"], &changed["headers"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    assert_eq!(
        changed["filter"],
        json!({ "platforms": [], "environments": [] })
    );
    assert_eq!(
        (&changed["concurrency"], &changed["name"]),
        (&json!(4), &json!("backend")),
        "the other fields stay"
    );
    let platform = desk.answer(&["platform", "show", &desk.platform])["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let named = desk.answer(&["destination", "update", id, "--platform", &platform]);
    assert_eq!(
        named["filter"]["platforms"],
        json!([desk.platform]),
        "a name stands for its id"
    );
    let cleared = desk.answer(&["destination", "update", id, "--clear", "platform"]);
    assert_eq!(
        cleared["filter"]["platforms"],
        json!([]),
        "by the name of the flag"
    );
    for name in ["event", "events"] {
        let refused = stderr_of(&desk.run(&["destination", "update", id, "--clear", name]));
        assert!(
            refused.contains("`--event '*'` sends all"),
            "nobody widens a choice by accident: {refused}"
        );
    }
}

#[test]
fn a_start_without_variables_names_a_destination_it_refuses() {
    let desk = Desk::open("cli-refused");
    let line = [
        "destination",
        "create",
        "--app",
        &desk.app,
        "--name",
        "local",
        "--url",
        "http://127.0.0.1:9/",
    ];
    let id = desk.id(&line);
    desk.seed(2);
    desk.answer(&["resend", "missing", "--destination", &id]);
    assert!(
        desk.answer(&["destination", "show", &id])["refusal"].is_null(),
        "its settings allow it"
    );
    let desk = desk.restarted_with(&[]);
    let variables = [
        "SETTLE_DESTINATIONS_ALLOW_HTTP",
        "SETTLE_DESTINATIONS_ALLOWED_NETWORKS",
    ];
    let logged = || {
        let log = log(&desk.folder);
        let warning = log
            .lines()
            .find(|line| line.contains("the settings allow no request to a destination"));
        warning.map(str::to_owned).ok_or(log)
    };
    let warning = wait::until_blocking(SOON, "the warning", logged).expect("a warning");
    let shown = stdout_of(&desk.run(&["destination", "show", &id]));
    let status = desk.run(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    let status = stdout_of(&status);
    assert!(
        status.contains("not allowed by the settings (") && status.contains("2 pending"),
        "{status}"
    );
    for text in [&warning, &shown, &status] {
        assert!(text.contains("local") && text.contains(&id), "{text}");
        for variable in variables {
            assert!(text.contains(variable), "`{variable}` is missing in {text}");
        }
    }
}

#[test]
fn a_first_local_webhook_is_refused_once_with_the_line_to_start() {
    let desk = Desk::open("cli-local").restarted_with(&[]);
    let app = desk.app.clone();
    let create = [
        "destination",
        "create",
        "--app",
        &app,
        "--name",
        "local",
        "--url",
        "http://127.0.0.1:9999/a",
    ];
    let refused = desk.run(&create);
    let line = "start settle with `SETTLE_DESTINATIONS_ALLOW_HTTP=true SETTLE_DESTINATIONS_ALLOWED_NETWORKS=127.0.0.0/8`";
    check_failure(
        &refused,
        &[
            "--url",
            "a public https:// URL; for a receiver on this machine",
            line,
        ],
    );
    let desk = desk.restarted();
    let created = stdout_of(&desk.run(&create));
    let id = desk.answer(&["destination", "list", "--app", &app])["items"][0]["id"].clone();
    let next = format!(
        "Next: `settle destination test {}`",
        id.as_str().expect("an id")
    );
    assert!(created.contains(&next), "{created}");
}

#[test]
fn a_secret_comes_from_a_file_or_stdin_only() {
    let desk = Desk::open("cli-secret");
    let create = [
        "destination",
        "create",
        "--app",
        &desk.app,
        "--name",
        "backend",
        "--url",
        URL,
    ];
    let own = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let created = fed(
        &desk,
        &[&create[..], &["--secret", "-", "--json"]].concat(),
        own,
    );
    let created: Value = serde_json::from_str(&stdout_of(&created))
        .unwrap_or_else(|_| panic!("{}", stderr_of(&created)));
    assert_eq!(created["secret"], own);
    let id = created["id"].as_str().expect("an id");
    let header = ["destination", "update", id, "--header", "x-token=-"];
    assert_eq!(fed(&desk, &header, "hunter2").status.code(), Some(0));
    assert_eq!(
        desk.answer(&["destination", "show", id])["headers"],
        json!(["x-token"])
    );
    let two = fed(
        &desk,
        &[&header[..], &["--header", "x-other=-"]].concat(),
        "hunter2",
    );
    assert_eq!(two.status.code(), Some(1));
    assert!(
        stderr_of(&two).contains("only one secret"),
        "{}",
        stderr_of(&two)
    );
    for wrong in [
        ["--secret", "hunter2"],
        ["--header", "x-token=hunter2"],
        ["--api-key", "hunter2"],
    ] {
        let refused = desk.run(&[&create[..], &wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        let line = wrong.join(" ");
        assert!(
            stderr_of(&refused).contains("@FILE"),
            "{line}: {}",
            stderr_of(&refused)
        );
    }
}

#[test]
fn a_secret_is_replaced_and_shown_once() {
    let desk = Desk::open("cli-rotate");
    let created = desk.answer(&[
        "destination",
        "create",
        "--app",
        &desk.app,
        "--name",
        "backend",
        "--url",
        URL,
    ]);
    let id = created["id"].as_str().expect("an id");
    let rotated = desk.answer(&["destination", "rotate-secret", id, "--overlap-hours", "48"]);
    assert!(rotated["secret"].is_string() && rotated["secret"] != created["secret"]);
    desk.write(
        "secret",
        "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n",
    );
    let shown = stdout_of(&desk.run(&[
        "destination",
        "rotate-secret",
        id,
        "--secret",
        "@secret",
        "--overlap-hours",
        "0",
    ]));
    assert!(shown.contains("whsec_MDEy"), "{shown}");
    let long = desk.run(&["destination", "rotate-secret", id, "--overlap-hours", "169"]);
    assert_eq!(long.status.code(), Some(2));
    assert!(
        stderr_of(&long).contains("expected a whole number from 0 to 168"),
        "{}",
        stderr_of(&long)
    );
}

#[test]
fn a_test_shows_its_result_by_its_exit_code_too() {
    let desk = Desk::open("cli-test");
    let create = [
        "destination",
        "create",
        "--app",
        &desk.app,
        "--name",
        "dead",
        "--url",
        "http://127.0.0.1:9/",
    ];
    let dead = desk.id(&create);
    let output = desk.run(&["destination", "test", &dead]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr_of(&output));
    assert!(
        stdout_of(&output).starts_with("Failure: "),
        "{}",
        stdout_of(&output)
    );
    let apps = desk.answer(&["app", "list"]);
    let demo = apps["items"]
        .as_array()
        .expect("apps")
        .iter()
        .find(|app| app["name"] == "demo")
        .expect("the demo");
    let listed = desk.answer(&[
        "destination",
        "list",
        "--app",
        demo["id"].as_str().expect("an id"),
    ]);
    let receiver = listed["items"][0]["id"]
        .as_str()
        .expect("the built-in receiver");
    let output = desk.run(&["destination", "test", receiver]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
    assert!(
        stdout_of(&output).starts_with("Success: "),
        "{}",
        stdout_of(&output)
    );
}

#[test]
fn a_destination_is_switched_off_and_on_and_deleted() {
    let desk = Desk::open("cli-switch");
    let id = desk.id(&[
        "destination",
        "create",
        "--app",
        &desk.app,
        "--name",
        "b",
        "--url",
        URL,
        "--disabled",
    ]);
    assert_eq!(
        desk.answer(&["destination", "show", &id])["state"],
        "disabled"
    );
    let dry = desk.run(&["destination", "enable", &id, "--newest-only", "--dry-run"]);
    assert_eq!(
        stdout_of(&dry),
        "0 deliveries of user.* events would be skipped.\n",
        "{}",
        stderr_of(&dry)
    );
    assert_eq!(
        desk.run(&["destination", "enable", &id, "--dry-run"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        desk.answer(&["destination", "show", &id])["state"],
        "disabled",
        "it was only counted"
    );
    assert_eq!(
        desk.answer(&["destination", "enable", &id, "--newest-only"])["state"],
        "healthy"
    );
    let again = desk.run(&["destination", "enable", &id, "--newest-only"]);
    assert!(
        stderr_of(&again).contains("disable it first"),
        "{}",
        stderr_of(&again)
    );
    let off = stdout_of(&desk.run(&["destination", "disable", &id]));
    assert!(
        off.contains("disabled since") && off.contains("disabled by an admin"),
        "{off}"
    );
    for verb in ["probe", "retry"] {
        let refused = desk.run(&["destination", verb, &id]);
        assert!(
            stderr_of(&refused).contains("enable it"),
            "{}",
            stderr_of(&refused)
        );
    }
    assert_eq!(
        desk.run(&["destination", "delete", &id]).status.code(),
        Some(0)
    );
    assert_eq!(
        desk.answer(&["destination", "list", "--app", &desk.app])["items"],
        json!([])
    );
}

/// Starts a fake service with a destination for which one delivery is pending; returns its URL. The first retry fails
/// and opens the breaker.
fn failing() -> String {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", service.local_addr().expect("its address"));
    std::thread::spawn(move || {
        let mut failed_at = Value::Null;
        for mut stream in service.incoming().flatten() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            let line = String::from_utf8_lossy(&request[..length]);
            let body = if line.starts_with("POST") {
                failed_at = if failed_at.is_null() {
                    FAILED_AT[0]
                } else {
                    FAILED_AT[1]
                }
                .into();
                json!({ "destination_id": ID, "pending": 1 })
            } else if line.starts_with("GET /v1/deliveries") {
                // Deliveries due before the failure are already in flight.
                json!({ "items": [{ "next_due_at": DUE_AT }, { "next_due_at": "2026-01-31T11:00:00.000000Z" }] })
            } else {
                let opened_at = if failed_at == FAILED_AT[1] {
                    failed_at.clone()
                } else {
                    Value::Null
                };
                json!({ "health": {
                    "pending": 1, "waiting": 0, "failed": 0, "skipped": 0, "failures": 1, "last_failure_at": failed_at,
                    "last_error": "answered 503", "opened_at": opened_at,
                }})
            };
            let (body, close) = (body.to_string(), "connection: close");
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{close}\r\n\r\n",
                body.len()
            );
            drop(stream.write_all((head + &body).as_bytes()));
        }
    });
    url
}

const FAILED_AT: [&str; 2] = ["2026-01-31T12:00:00.000000Z", "2026-01-31T13:00:00.000000Z"];
const ID: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
const DUE_AT: &str = "2026-01-31T12:10:00.000000Z";

#[test]
fn a_retry_that_fails_shows_the_next_attempt_and_exits_with_1() {
    let folder = Folder::new("cli-retry");
    let retried = |url: &str, more: &[&str]| {
        let line = [&["destination", "retry", ID, "--service", url], more].concat();
        let output = settle(&folder, &line)
            .env("SETTLE_ADMIN_TOKEN", "a-token")
            .output()
            .expect("settle starts");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        stdout_of(&output)
    };
    let url = failing();
    let failed = "1 delivery is pending; sending now.\nIt failed again: answered 503. 1 delivery is still pending; ";
    assert_eq!(
        retried(&url, &[]),
        format!("{failed}the next attempt will be at 2026-01-31T12:10:00Z.\n")
    );
    assert_eq!(
        retried(&url, &[]),
        format!("{failed}settle checks it every 30 s and sends what waits by itself.\n")
    );
    let answer: Value = serde_json::from_str(&retried(&failing(), &["--json"])).expect("JSON");
    let expected = json!({
        "destination_id": ID, "pending": 1, "result": "failed", "left": 1, "error": "answered 503",
        "next_attempt_at": DUE_AT,
    });
    assert_eq!(answer, expected);
}

#[test]
fn a_name_that_two_apps_have_needs_its_app() {
    let desk = Desk::open("cli-two-apps");
    let other = desk.id(&["app", "create", "other"]);
    for app in [&desk.app, &other] {
        desk.answer(&[
            "destination",
            "create",
            "--app",
            app,
            "--name",
            "backend",
            "--url",
            URL,
        ]);
    }
    let several = stderr_of(&desk.run(&["destination", "update", "backend", "--rate", "5"]));
    assert!(several.contains("name the app with --app"), "{several}");
    let changed = desk.answer(&[
        "destination",
        "update",
        "backend",
        "--app",
        "other",
        "--rate",
        "5",
    ]);
    assert_eq!(
        (&changed["app_id"], &changed["rate"]),
        (&json!(other), &json!(5))
    );
    let shown = desk.answer(&["destination", "show", "backend", "--app", "other"]);
    assert_eq!(shown["id"], changed["id"], "{shown}");
}

#[test]
fn an_integration_is_created_by_flags_and_hides_its_keys() {
    let desk = Desk::open("cli-amplitude");
    desk.write("sandbox", "5a17db0c5a17db0c\n");
    let line = format!(
        "destination create --app {} --name analytics --kind amplitude --endpoint eu --api-key - --sandbox-api-key \
         @sandbox --user-id user_id --without-external-id wait --min-id-length 3 --prefix settle_ --partner-id \
         shop-partner",
        desk.app
    );
    let line: Vec<&str> = line.split(' ').collect();
    let created = stdout_of(&fed(&desk, &line, "c0ffee00c0ffee00\n"));
    for part in [
        "kind                 amplitude",
        "at most 90 requests per second",
        "stored, not shown",
        "settle_",
        "shop-partner",
    ] {
        assert!(created.contains(part), "`{part}` is missing:\n{created}");
    }
    let listed = desk.answer(&["destination", "list", "--app", &desk.app]);
    let id = listed["items"][0]["id"].as_str().expect("an id");
    let shown = desk.answer(&["destination", "show", id]);
    let keys =
        ["has_api_key", "has_secret_key", "has_sandbox_api_key"].map(|name| shown[name].as_bool());
    assert_eq!(keys, [Some(true), Some(false), Some(true)]);
    assert!(
        !format!("{created}{listed}{shown}").contains("c0ffee"),
        "{shown}"
    );
    let cleared = desk.answer(&[
        "destination",
        "update",
        id,
        "--clear",
        "sandbox_api_key,prefix,partner_id",
    ]);
    assert_eq!(
        (&cleared["has_sandbox_api_key"], &cleared["prefix"]),
        (&json!(false), &json!("namiml_"))
    );
    assert!(cleared["partner_id"].is_null(), "{cleared}");
    let test = desk.run(&["destination", "test", id]);
    assert_eq!(test.status.code(), Some(1));
    assert!(
        stderr_of(&test).contains("`secret_key`"),
        "{}",
        stderr_of(&test)
    );
    let hook = desk.run(&["destination", "update", id, "--url", URL]);
    let complaint = stderr_of(&hook);
    assert!(
        complaint.contains("--url: expected no such field"),
        "{complaint}"
    );
    let line = [
        "destination",
        "update",
        id,
        "--url",
        URL,
        "--signature",
        "v1",
    ];
    let complaint = stderr_of(&desk.run(&line));
    for field in [
        "--url: expected no such field",
        "--signature: expected no such field",
    ] {
        assert_eq!(complaint.matches(field).count(), 1, "{complaint}");
    }
    assert_eq!(
        complaint.matches("expected").count(),
        2,
        "each is printed once: {complaint}"
    );
}
