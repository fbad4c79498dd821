//! Importing and exporting files.

use super::Desk;
use crate::cli::{stderr_of, stdout_of};
use serde_json::Value;
use std::process::Output;

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
        stderr_of(&strange).contains("unknown column `customer`: use columns from receipt_id"),
        "{}",
        stderr_of(&strange)
    );
}

/// Checks that malformed prices, and two prices for one day, are refused.
fn check_wrong_prices(desk: &Desk, app: &str) {
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
    check_wrong_prices(&desk, app);
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
