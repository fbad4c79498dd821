//! Protection against mistyped ids: merging two customers, erasing one, deleting an app. On a terminal, the command
//! shows what is affected and asks for confirmation; a script gives a flag.

use super::cli::{check_failure, stderr_of, stdout_of};
use super::cli_settings::Desk;
use serde_json::{Value, json};
use std::process::{Command, Output};

/// Runs a command on its own terminal, with this text typed in advance.
const TERMINAL: &str = "
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
os.write(terminal, sys.argv[1].encode())
while True:
    try:
        shown = os.read(terminal, 4096)
    except OSError:
        break
    if not shown:
        break
    os.write(1, shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

fn on_terminal(desk: &Desk, line: &[&str], typed: &str) -> (Option<i32>, String) {
    let settle = desk.command(line);
    let mut command = Command::new("python3");
    command
        .args(["-c", TERMINAL, typed])
        .arg(settle.get_program())
        .args(settle.get_args());
    for (name, value) in settle.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(settle.get_current_dir().expect("a folder"));
    let output = command.output().expect("Python starts");
    (
        output.status.code(),
        stdout_of(&output) + &stderr_of(&output),
    )
}

fn name<'a>(desk: &'a Desk, external: &'a str, store: &'a str) -> Vec<&'a str> {
    vec![
        "customer",
        "name",
        "--app",
        &desk.app,
        "--external-id",
        external,
        "--app-user-id",
        store,
    ]
}

fn with<'a>(line: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [line, more].concat()
}

/// Shows the customer with an id of the store.
fn owner(desk: &Desk, store: &str) -> Output {
    desk.run(&[
        "customer",
        "show",
        "--app",
        &desk.app,
        "--app-user-id",
        store,
    ])
}

#[test]
fn a_state_without_access_has_the_reason_of_the_customers_page() {
    let desk = Desk::open("cli-no-access");
    desk.answer(&name(&desk, "anna", "u1"));
    let shown = stdout_of(&desk.run(&[
        "customer",
        "state",
        "--app",
        &desk.app,
        "--external-id",
        "anna",
    ]));
    assert!(
        shown.contains("No active entitlements. No purchase is known."),
        "{shown}"
    );
}

#[test]
fn a_customer_is_named_by_any_id_where_settles_is_expected() {
    let desk = Desk::open("cli-any-id");
    let named = desk.answer(&name(&desk, "anna", "u1"));
    let user = named["user_id"].as_str().expect("an id");
    for id in ["anna", user] {
        assert_eq!(
            desk.answer(&["customer", "transfers", id])["items"],
            json!([]),
            "{id}"
        );
        assert_eq!(
            desk.answer(&["payment", "--external-id", id])["items"],
            json!([]),
            "{id}"
        );
    }
    let unknown = desk.run(&["payment", "--user", "otto"]);
    assert!(
        stderr_of(&unknown).contains("no customer has the id `otto`"),
        "{}",
        stderr_of(&unknown)
    );
}

#[test]
fn an_id_of_nobody_is_named_with_the_one_that_was_meant() {
    let desk = Desk::open("cli-nobody");
    desk.answer(&name(&desk, "cust-1003", "u1"));
    let text = "o customer has the id `cust-l003`. Did you mean cust-1003?";
    let typed = ["--external-id", "cust-l003"];
    let of_app = ["--app", &desk.app];
    let listed = desk.run(&with(&["purchase", "list"], &typed));
    assert_eq!(stdout_of(&listed).trim_end(), format!("N{text}"));
    for verb in ["show", "state"] {
        let line = with(&with(&["customer", verb], &of_app), &typed);
        let shown = stderr_of(&desk.run(&line));
        assert!(shown.contains(&format!("n{text}")), "{verb}: {shown}");
    }
    let by_id = with(&["customer", "transfers", "cust-l003"], &[]);
    let shown = stderr_of(&desk.run(&by_id));
    assert!(shown.contains(&format!("n{text}")), "{shown}");
    let other_case = desk.run(&["purchase", "list", "--external-id", "CUST-1003"]);
    let shown = stdout_of(&other_case);
    assert!(
        shown.contains("`CUST-1003`. Did you mean cust-1003?"),
        "{shown}"
    );
    let known = desk.run(&["purchase", "list", "--external-id", "cust-1003"]);
    assert_eq!(stdout_of(&known).trim_end(), "No matching purchases.");
}

#[test]
fn a_name_of_another_customer_merges_no_two_by_mistake() {
    let desk = Desk::open("cli-merge");
    let first = stdout_of(&desk.run(&name(&desk, "anna", "u1")));
    assert!(
        first.starts_with("No purchase of this store customer is known yet"),
        "{first}"
    );
    let anna = desk.answer(&name(&desk, "anna", "u1"));
    let line = name(&desk, "anna", "u2");
    let refused = desk.run(&line);
    check_failure(
        &refused,
        &[
            "`anna` is the id of another customer with no purchases",
            "--merge",
        ],
    );
    let (code, shown) = on_terminal(&desk, &line, "n\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("Merge the two customers, with no purchases in all? [y/N]")
            && shown.contains("nothing was changed"),
        "{shown}"
    );
    let shown = stdout_of(&desk.run(&with(&line, &["--dry-run"])));
    assert!(
        shown.contains("Merge the two customers, with no purchases in all?")
            && shown.contains("The customer would become"),
        "{shown}"
    );
    assert_eq!(
        owner(&desk, "u2").status.code(),
        Some(1),
        "nothing was changed"
    );
    let (code, shown) = on_terminal(&desk, &line, "y\n");
    assert_eq!(code, Some(0), "{shown}");
    assert!(stdout_of(&owner(&desk, "u2")).contains("anna"));
    let merged = desk.answer(&with(&name(&desk, "anna", "u3"), &["--merge"]));
    assert_eq!(
        (&merged["user_id"], &merged["app_user_ids"]),
        (&anna["user_id"], &json!(["u1", "u2", "u3"])),
        "a script says that it is wanted"
    );
    let other = stdout_of(&desk.run(&name(&desk, "Anna", "u5")));
    let warning = "Warning: `Anna` differs only by case from `anna`, the id of another customer; the two are not merged.";
    assert!(other.contains(warning), "{other}");
    let alone = desk.answer(&name(&desk, "otto", "u4"));
    assert_eq!(
        (&alone["external_id"], &alone["preview"]),
        (&json!("otto"), &Value::Null),
        "nothing to confirm"
    );
    assert_eq!(desk.answer(&name(&desk, "otto", "u4")), alone, "again");
}

#[test]
fn a_customer_is_erased_only_by_an_id_that_is_typed_or_a_flag() {
    let desk = Desk::open("cli-erase");
    desk.answer(&name(&desk, "max@example.com", "u1"));
    let line = [
        "customer",
        "erase",
        "--app",
        &desk.app,
        "--external-id",
        "max@example.com",
        "--reason",
        "r",
        "--by",
        "me",
    ];
    check_failure(
        &desk.run(&line),
        &[
            "Erase max@example.com: 0 purchases, 0 events, 0 devices",
            "--yes",
        ],
    );
    let counted = desk.answer(&with(&line, &["--dry-run"]));
    assert_eq!(
        (&counted["external_id"], &counted["purchases"]),
        (&json!("max@example.com"), &json!(0))
    );
    let shown = stdout_of(&desk.run(&with(&line, &["--dry-run"])));
    assert!(
        shown.contains("Erasing max@example.com would affect 0 purchases"),
        "{shown}"
    );
    for typed in ["n\n", "y\n", "\n"] {
        let (code, shown) = on_terminal(&desk, &line, typed);
        assert_eq!(code, Some(1), "{typed:?}: {shown}");
        assert!(
            shown.contains("This cannot be undone. Type the id:"),
            "{shown}"
        );
    }
    assert!(
        stdout_of(&owner(&desk, "u1")).contains("max@example.com"),
        "nothing was changed"
    );
    let (code, shown) = on_terminal(&desk, &line, "max@example.com\n");
    assert_eq!(code, Some(0), "{shown}");
    let report = desk.answer(&with(&line, &["--yes"]));
    assert_eq!(report["by"], json!("me"), "the report of the first request");
    assert!(!stdout_of(&owner(&desk, "u1")).contains("max@example.com"));
}

#[test]
fn an_app_is_deleted_after_what_belongs_to_it_is_shown() {
    let desk = Desk::open("cli-delete-app");
    desk.seed(2);
    desk.id(&[
        "destination",
        "create",
        "--app",
        &desk.app,
        "--name",
        "hook",
        "--url",
        "https://example.com/hooks",
    ]);
    let line = ["app", "delete", &desk.app];
    let question = "(1 platform, 1 destination, 2 purchases)?";
    check_failure(&desk.run(&line), &["Delete app ", question, "--yes"]);
    let (code, shown) = on_terminal(&desk, &line, "n\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains(question), "{shown}");
    assert_eq!(
        desk.answer(&["app", "show", &desk.app])["id"],
        json!(desk.app)
    );
    let (code, shown) = on_terminal(&desk, &line, "y\n");
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(desk.run(&["app", "show", &desk.app]).status.code(), Some(1));
}
