//! Arguments common to all commands: flags of the service, reasons, apps, and the output of lists.

use super::cli::{ran, stderr_of, stdout_of};
use super::cli_settings::Desk;
use serde_json::{Value, json};
use system_tests::folder::Folder;

#[test]
fn flags_of_the_service_are_typed_before_the_command_too() {
    let desk = Desk::open("cli-front");
    let shown = desk.run(&["--json", "app", "list"]);
    assert_eq!(shown.status.code(), Some(0), "{}", stderr_of(&shown));
    let behind = desk.run(&["app", "list", "--json"]);
    assert_eq!(stdout_of(&shown), stdout_of(&behind));
    assert!(
        serde_json::from_str::<Value>(&stdout_of(&shown))
            .is_ok_and(|list| list["items"].is_array())
    );
    let folder = Folder::new("cli-front-wrong");
    let help = ran(&folder, &["--service", "http://127.0.0.1:9", "--help"]);
    assert_eq!(help.status.code(), Some(0), "{}", stderr_of(&help));
    assert!(stdout_of(&help).contains("Usage:"));
    let alone = ran(&folder, &["--service", "http://127.0.0.1:9"]);
    let tip = "options of the service belong behind a command: `settle status --service URL`";
    assert!(stderr_of(&alone).contains(tip), "{}", stderr_of(&alone));
    for line in [
        ["--json"].as_slice(),
        &["--json", "serve"],
        &["--service", "http://127.0.0.1:9", "--window", "5s"],
    ] {
        let refused = ran(&folder, line);
        assert_eq!(
            refused.status.code(),
            Some(2),
            "{line:?}: {}",
            stderr_of(&refused)
        );
    }
}

#[test]
fn the_reason_of_any_change_is_in_the_audit_log() {
    let desk = Desk::open("cli-reasons");
    let (app, platform) = (desk.app.as_str(), desk.platform.as_str());
    let hook = desk.id(&[
        "destination",
        "create",
        "--app",
        app,
        "--name",
        "b",
        "--url",
        "https://example.com/hook",
    ]);
    let key = desk.id(&["key", "create", "--name", "reader", "--role", "read"]);
    for (number, line) in [
        ["app", "create", "other"].as_slice(),
        &["app", "rename", app, "ours"],
        &["platform", "update", platform, "--window", "5m"],
        &["platform", "sign-logins", platform],
        &["platform", "rotate-key", platform],
        &[
            "destination",
            "create",
            "--app",
            app,
            "--name",
            "c",
            "--url",
            "https://example.com/hook",
        ],
        &["destination", "update", &hook, "--rate", "5"],
        &["destination", "disable", &hook],
        &["destination", "enable", &hook],
        &["destination", "rotate-secret", &hook],
        &["destination", "delete", &hook],
        &["entitlement", "set", "gold", "--app", app, "--name", "Gold"],
        &[
            "product",
            "set",
            "month",
            "--app",
            app,
            "--entitlement",
            "gold",
        ],
        &["product", "delete", "month", "--app", app],
        &[
            "customer",
            "name",
            "--app",
            app,
            "--external-id",
            "anna",
            "--app-user-id",
            "u",
        ],
        &["key", "revoke", &key],
    ]
    .into_iter()
    .enumerate()
    {
        let reason = format!("Fall {number}: Prüfung");
        let changed = desk.run(&[line, &["--reason", &reason]].concat());
        assert_eq!(
            changed.status.code(),
            Some(0),
            "{line:?}: {}",
            stderr_of(&changed)
        );
        let newest = desk.answer(&["audit-log", "--limit", "1"])["items"][0].clone();
        assert_eq!(newest["reason"], json!(reason), "{line:?}: {newest}");
    }
    for (line, part) in [
        (
            ["app", "rename", app, "x", "--reason", "two\nlines"].as_slice(),
            "--reason: expected one line",
        ),
        (
            &["app", "rename", app, "x", "--reason", &"ü".repeat(501)],
            "--reason: expected at most 1000 bytes",
        ),
    ] {
        let refused = desk.run(line);
        assert!(
            stderr_of(&refused).contains(part),
            "{}",
            stderr_of(&refused)
        );
    }
    assert_eq!(
        desk.run(&["purchase", "list", "--reason", "why"])
            .status
            .code(),
        Some(2),
        "nothing is changed there"
    );
}

#[test]
fn every_list_takes_the_name_of_an_app() {
    let desk = Desk::open("cli-apps");
    desk.seed(2);
    desk.id(&[
        "key", "create", "--name", "ours", "--role", "read", "--app", &desk.app,
    ]);
    desk.id(&["key", "create", "--name", "of all", "--role", "read"]);
    for (line, count) in [
        (["purchase", "list"].as_slice(), Some(2)),
        (&["event", "list"], None),
        (&["notification", "list"], Some(0)),
        (&["delivery", "list"], Some(0)),
        (&["device", "events"], Some(0)),
        (&["alarm", "list"], Some(0)),
        (&["key", "list"], Some(1)),
        (&["sign-in", "list"], Some(0)),
        (&["audit-log"], None),
        (&["platform", "list"], Some(1)),
        (&["destination", "list"], Some(0)),
    ] {
        let listed = desk.answer(&[line, &["--app", "mine"]].concat());
        let items = listed["items"]
            .as_array()
            .unwrap_or_else(|| panic!("{line:?}: {listed}"));
        assert_eq!(
            items.len(),
            count.unwrap_or(items.len()),
            "{line:?}: {listed}"
        );
        let of_another = desk.answer(&[line, &["--app", "demo"]].concat());
        assert_ne!(
            (of_another["items"].as_array().map(Vec::len), count),
            (Some(2), Some(2)),
            "{line:?}: {of_another}"
        );
    }
}

#[test]
fn without_an_app_a_list_has_those_of_all() {
    let desk = Desk::open("cli-all-apps");
    for app in ["mine", "demo"] {
        let url = "https://example.com/hooks";
        desk.id(&[
            "destination",
            "create",
            "--app",
            app,
            "--name",
            "backend",
            "--url",
            url,
        ]);
    }
    let listed = desk.answer(&["destination", "list"]);
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(3),
        "with the demo's receiver: {listed}"
    );
    let printed = stdout_of(&desk.run(&["destination", "list"]));
    assert!(
        printed.contains("mine") && printed.contains("demo"),
        "each with its app: {printed}"
    );
    let ambiguous = desk.run(&["destination", "show", "backend"]);
    assert!(
        stderr_of(&ambiguous).contains("several destinations are named"),
        "{}",
        stderr_of(&ambiguous)
    );
    let shown = desk.answer(&["destination", "show", "backend", "--app", "mine"]);
    assert_eq!(shown["app_id"], *desk.app, "{shown}");
    assert_eq!(
        desk.run(&["destination", "list", "--limit", "1"])
            .status
            .code(),
        Some(2),
        "pages are those of an app"
    );
    let nobody = "00000000-0000-4000-8000-000000000000";
    let unknown = stderr_of(&desk.run(&["platform", "show", nobody]));
    assert!(
        unknown.contains(&format!(
            "no platform `{nobody}`; `settle platform list` shows all"
        )),
        "{unknown}"
    );
    let created = stdout_of(&desk.run(&["app", "create", "Radio"]));
    assert!(
        created.contains("Next: connect its store with `settle platform create --app "),
        "{created}"
    );
}

#[test]
fn what_lists_show_is_taken_as_a_filter() {
    let desk = Desk::open("cli-shown");
    desk.seed(2);
    let state = desk.answer(&["purchase", "list"])["items"][0]["state"].clone();
    let purchases =
        |state: &str| desk.answer(&["purchase", "list", "--state", state])["items"].clone();
    let count = |state: &str| purchases(state).as_array().map(Vec::len);
    assert_eq!(
        (&state, count("active"), count("Active")),
        (&json!("active"), Some(2), Some(2))
    );
    for shown in [
        "active, renewal off",
        "renewal off",
        "off",
        "trial, renewal off",
        "active, in grace",
        "in grace",
    ] {
        assert_eq!(count(shown), Some(0), "{shown}");
    }
    for status in [
        "waiting",
        "waiting for login",
        "skipped",
        "not sent",
        "Failed",
    ] {
        assert_eq!(
            desk.answer(&["delivery", "list", "--status", status])["items"],
            json!([]),
            "{status}"
        );
    }
    for (line, parts) in [
        (
            ["purchase", "list", "--state", "renewal of"],
            ["--state <STATE>", "trial_off", "grace"],
        ),
        (
            ["delivery", "list", "--status", "faild"],
            [
                "--status <STATUS>",
                "superseded",
                "similar value exists: 'failed'",
            ],
        ),
        (
            ["device", "events", "--type", "device.impresion"],
            ["--type <TYPE>", "device.impression", "similar value"],
        ),
        (
            ["sample", "--type", "renewd,purchased", "--json"],
            ["--type <TYPE>", "did you mean `renewed`?", "renewd"],
        ),
    ] {
        let refused = desk.run(&line);
        let text = stderr_of(&refused);
        assert_eq!(refused.status.code(), Some(2), "{line:?}: {text}");
        assert!(
            parts.iter().all(|part| text.contains(part)),
            "{line:?}: {text}"
        );
    }
}

#[test]
fn a_mistyped_entitlement_is_refused_with_the_one_meant() {
    let desk = Desk::open("cli-meant");
    desk.answer(&[
        "entitlement",
        "set",
        "premium",
        "--app",
        "mine",
        "--name",
        "Premium",
    ]);
    let refused = desk.run(&[
        "product",
        "set",
        "month",
        "--app",
        "mine",
        "--entitlement",
        "premiun",
    ]);
    let text = stderr_of(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.contains("--entitlement: expected entitlements of the app; `premiun` is not one"),
        "{text}"
    );
    assert!(text.contains("did you mean `premium`?"), "{text}");
}

#[test]
fn a_probable_mistake_is_a_warning() {
    let desk = Desk::open("cli-warnings");
    let set = stdout_of(&desk.run(&[
        "product", "set", "month", "--app", "mine", "--price", "ZZZ:9.99",
    ]));
    assert!(
        set.contains("Done.") && set.contains("\nWarning: `ZZZ` is not a currency of ISO 4217.\n"),
        "{set}"
    );
    let right = desk.answer(&[
        "product", "set", "month", "--app", "mine", "--price", "USD:9.99",
    ]);
    assert!(right.get("warnings").is_none(), "{right}");
    let create = [
        "platform",
        "create",
        "--app",
        "mine",
        "--name",
        "tv",
        "--package-name",
        "hello",
    ];
    let created = stdout_of(&desk.run(&create));
    assert!(
        created.contains("Warning: `hello` has no dot, but package names look like"),
        "{created}"
    );
    let create = |name| {
        [
            "platform",
            "create",
            "--app",
            "mine",
            "--name",
            name,
            "--package-name",
            "com.example.twin",
        ]
    };
    assert!(
        !stdout_of(&desk.run(&create("one"))).contains("Warning"),
        "it is the first one"
    );
    let refused = desk.run(&create("other"));
    let text = stderr_of(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.contains("Use `one`, or set `shares_package` (`--shares-package`) to allow it"),
        "{text}"
    );
    let twin = stdout_of(&desk.run(&[&create("other")[..], &["--shares-package"]].concat()));
    let warning = "Warning: the platform `one` of this app has the package name `com.example.twin` too; a purchase";
    assert!(twin.contains(warning), "{twin}");
    let sandbox = [&create("sandbox")[..], &["--environment", "sandbox"]].concat();
    assert!(
        !stdout_of(&desk.run(&sandbox)).contains("Warning"),
        "the other environment is no mistake"
    );
    let create = [
        "platform",
        "create",
        "--app",
        "mine",
        "--name",
        "fire",
        "--package-name",
        "com example",
    ];
    let refused = desk.run(&create);
    let text = stderr_of(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.contains("--package-name: expected letters, digits, dots"),
        "{text}"
    );
}

#[test]
fn a_price_with_a_comma_is_refused_with_one_with_a_point() {
    let folder = Folder::new("cli-price");
    let refused = ran(
        &folder,
        &[
            "product", "set", "month", "--app", "a", "--price", "USD:9,99",
        ],
    );
    let text = stderr_of(&refused);
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(
        text.contains("--price")
            && text.contains("expected a price with a decimal point: USD:9.99"),
        "{text}"
    );
    let refused = ran(&folder, &["platform", "update", "id", "--window", "2h"]);
    let text = stderr_of(&refused);
    assert!(
        text.contains("--window") && text.contains("1s to 1h"),
        "{text}"
    );
    let refused = ran(&folder, &["sample", "--count", "0"]);
    let text = stderr_of(&refused);
    assert!(
        text.contains("--count") && text.contains("expected a whole number from 1 to 100000"),
        "{text}"
    );
}

#[test]
fn an_address_without_a_scheme_is_refused_with_one() {
    let folder = Folder::new("cli-scheme");
    for (typed, meant) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("localhost:8081", "http://localhost:8081"),
        ("ftp://settle", "http://127.0.0.1:8081"),
    ] {
        for line in [
            ["app", "list", "--service", typed].as_slice(),
            &["healthy", typed],
        ] {
            let refused = ran(&folder, line);
            let text = stderr_of(&refused);
            assert_eq!(refused.status.code(), Some(2), "{line:?}: {text}");
            let form =
                format!("expected a URL that begins with http:// or https://, such as {meant}\n");
            assert!(text.contains(&form), "{line:?}: {text}");
        }
    }
}

#[test]
fn a_health_check_without_a_response_advises_no_other_address() {
    let refused = ran(
        &Folder::new("cli-healthy"),
        &["healthy", "http://127.0.0.1:9/livez"],
    );
    let text = stderr_of(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.contains("no service answers at http://127.0.0.1:9"),
        "{text}"
    );
    assert!(!text.contains("--service"), "{text}");
}

#[test]
fn a_name_is_found_on_any_page_and_may_be_like_a_time() {
    let desk = Desk::open("cli-pages");
    let template = format!(
        "INSERT INTO apps SELECT {} FROM apps, \
         (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) SELECT i FROM n) \
         WHERE apps.name = 'mine'",
        columns(&desk)
    );
    diesel::connection::SimpleConnection::batch_execute(&mut desk.beside(), &template)
        .expect("many apps");
    let last = desk.id(&["app", "create", "2026-11-28T10:00:00Z"]);
    let found = desk.answer(&["app", "show", "2026-11-28T10:00:00Z"]);
    assert_eq!(
        (&found["id"], &found["name"]),
        (&json!(last), &json!("2026-11-28T10:00:00Z"))
    );
    let listed = stdout_of(&desk.run(&["app", "show", "2026-11-28T10:00:00Z"]));
    assert!(listed.contains("2026-11-28T10:00:00Z"), "{listed}");
    assert_eq!(
        desk.answer(&["platform", "list", "--app", "2026-11-28T10:00:00Z"])["items"],
        json!([])
    );
}

/// Returns the columns of the table `apps` with values for a row; each row has its own id and name, from the number
/// `i`.
fn columns(desk: &Desk) -> String {
    use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types};
    #[derive(QueryableByName)]
    struct Column {
        #[diesel(sql_type = sql_types::Text)]
        name: String,
    }
    let columns: Vec<Column> = sql_query("SELECT name FROM pragma_table_info('apps')")
        .load(&mut desk.beside())
        .expect("the columns");
    let value = |name: &str| match name {
        "id" => "printf('6b275a67-0bbb-4f3a-99b9-%012d', i)".to_owned(),
        "name" => "'app ' || i".to_owned(),
        other => other.to_owned(),
    };
    columns
        .iter()
        .map(|column| value(&column.name))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn a_receipt_stands_for_its_purchase_in_lists() {
    let desk = Desk::open("cli-receipts");
    desk.seed(3);
    let events = desk.answer(&["event", "list", "--purchase", "r1"]);
    let keys: Vec<&Value> = events["items"]
        .as_array()
        .expect("events")
        .iter()
        .map(|one| &one["collapse_key"])
        .collect();
    let purchase = desk.answer(&["purchase", "show", "r1"]);
    assert_eq!(keys, [&purchase["collapse_key"]]);
    assert_eq!(
        desk.answer(&["delivery", "list", "--purchase", "r1"])["items"],
        json!([])
    );
    let unknown = desk.run(&["event", "list", "--purchase", "r9"]);
    assert!(
        stderr_of(&unknown)
            .contains("`r9` is neither a collapse key nor the store's id of a known purchase"),
        "{}",
        stderr_of(&unknown)
    );
}

#[test]
fn an_event_is_explained_by_the_id_that_a_receiver_got() {
    let desk = Desk::open("cli-webhook-id");
    let id = desk.id(&[
        "destination",
        "create",
        "--app",
        &desk.app,
        "--name",
        "b",
        "--url",
        "https://example.com/b",
    ]);
    desk.seed(1);
    desk.answer(&["resend", "missing", "--destination", &id]);
    let delivery = desk.answer(&["delivery", "list"])["items"][0].clone();
    let webhook_id = delivery["id"].as_str().expect("an id");
    let by_delivery = stdout_of(&desk.run(&["explain", "event", webhook_id]));
    let by_event = stdout_of(&desk.run(&[
        "explain",
        "event",
        delivery["event_id"].as_str().expect("an id"),
    ]));
    assert_eq!(by_delivery, by_event);
    assert!(by_event.contains("`b`"), "{by_event}");
}
