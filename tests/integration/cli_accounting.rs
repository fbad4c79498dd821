//! `settle explain`, `check` and `resend` with a running service that never reaches Temporal.

use super::cli::{logged, settle, stderr_of, stdout_of, wait_open};
use super::cli_settings::Desk;
use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use system_tests::folder::Folder;
use system_tests::ports;
use system_tests::wait;
use system_tests::world::SOON;

const FIRST: &str = "6b275a67-0bbb-4f3a-99b9-000000000000";

/// Starts a service with three purchases, and a destination that was created later.
fn desk(name: &str) -> (Desk, String) {
    let desk = Desk::open(name);
    desk.seed(3);
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
    (desk, destination)
}

fn text(desk: &Desk, line: &[&str]) -> String {
    let output = desk.run(line);
    assert_eq!(output.status.code(), Some(0), "{line:?}: {output:?}");
    stdout_of(&output)
}

#[test]
fn the_reason_is_printed_as_the_api_sends_it() {
    let (desk, destination) = desk("cli-explain");
    let story = text(&desk, &["explain", "purchase", "r0"]);
    assert!(
        story.starts_with(&format!("purchase {FIRST} (store's id r0")),
        "{story}"
    );
    assert!(
        story
            .lines()
            .next()
            .is_some_and(|line| line.contains("): active, revision 1")),
        "{story}"
    );
    assert!(
        story.contains("\n    event purchase.updated") && story.contains("\n      not to `late`"),
        "{story}"
    );
    assert_eq!(
        text(&desk, &["purchase", "explain", "r0"]),
        story,
        "both are the same"
    );
    assert!(
        text(&desk, &["explain", "event", FIRST]).contains("the destination was created later")
    );
    assert!(
        text(&desk, &["explain", "destination", &destination]).contains("no pending deliveries")
    );
    let answer = desk.answer(&["explain", "purchase", FIRST]);
    assert_eq!(
        (&answer["what"], &answer["collapse_key"]),
        (&json!("purchase"), &json!(FIRST))
    );
    assert_eq!(
        desk.run(&["explain", "notification", "nobody"])
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn a_check_exits_with_1_when_a_rule_does_not_hold() {
    let (desk, _) = desk("cli-check");
    assert!(text(&desk, &["check"]).contains("Check passed: "));
    let all = text(&desk, &["check", "--all"]);
    assert!(
        all.contains("ok  revisions_were_announced (purchases): "),
        "{all}"
    );
    assert!(
        all.contains(
            "ok  accepted_is_stored (acceptances): every notification that was accepted is still"
        ),
        "{all}"
    );
    desk.beside()
        .batch_execute(&format!(
            "DELETE FROM events WHERE collapse_key = '{FIRST}'"
        ))
        .expect("a deletion");
    let broken = desk.run(&["check"]);
    let printed = stdout_of(&broken);
    assert_eq!(broken.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("1 purchases violate the rule revisions_were_announced")
            && printed.contains(FIRST),
        "{printed}"
    );
    let json = desk.run(&["check", "--json"]);
    let answer: Value = serde_json::from_str(&stdout_of(&json)).expect("JSON");
    assert_eq!(
        (json.status.code(), &answer["violations"]),
        (Some(1), &json!(1)),
        "{answer}"
    );
}

#[test]
fn the_check_gauge_exists_at_once_and_shows_breaches_soon() {
    let (desk, _) = desk("cli-gauge");
    let gauge = |desk: &Desk| desk.metric("settle_check_violations ");
    assert_eq!(gauge(&desk).as_deref(), Some("settle_check_violations 0"));
    desk.beside()
        .batch_execute(&format!(
            "DELETE FROM events WHERE collapse_key = '{FIRST}'"
        ))
        .expect("a deletion");
    let desk = desk.restarted();
    let check = || match gauge(&desk) {
        Some(line) if line == "settle_check_violations 1" => Ok(()),
        Some(line) if line == "settle_check_violations 0" => Err(line),
        other => panic!("{other:?}"),
    };
    wait::until_blocking(SOON, "what the first check finds", check).expect("a violation");
}

#[test]
fn resends_are_counted_before_and_after() {
    let (desk, destination) = desk("cli-resend");
    let pending = |line: &[&str]| {
        let answer = desk.answer(line);
        (answer["pending"].clone(), answer["skipped"].clone())
    };
    let range = [
        "resend",
        "range",
        "--from",
        "1970-01-01T00:00:00Z",
        "--destination",
        &destination,
    ];
    let dry: Vec<&str> = range.iter().copied().chain(["--dry-run"]).collect();
    assert_eq!(pending(&dry), (json!(3), json!({})));
    assert_eq!(pending(&["resend", "event", FIRST]), (json!(1), json!({})));
    let listed = desk.answer(&["delivery", "list", "--destination", &destination]);
    let webhook_id = listed["items"][0]["id"].as_str().expect("an id");
    assert_eq!(
        pending(&["resend", "event", webhook_id]),
        (json!(0), json!({ "already_pending": 1 })),
        "the same event"
    );
    let explained = text(&desk, &["explain", "event", webhook_id]);
    assert!(
        explained.starts_with("event purchase.updated") && explained.contains(FIRST),
        "{explained}"
    );
    let explained = text(&desk, &["explain", "destination", &destination]);
    let line = format!("    purchase.updated {FIRST} of purchase {FIRST} (store's id r0): pending");
    assert!(
        explained.lines().any(|one| one.starts_with(&line)),
        "{explained}"
    );
    assert_eq!(pending(&range), (json!(2), json!({ "already_pending": 1 })));
    assert_eq!(
        pending(&["resend", "purchase", "r1"]),
        (json!(0), json!({ "already_pending": 1 }))
    );
    assert_eq!(pending(&["resend", "failed"]), (json!(0), json!({})));
    let failed =
        "UPDATE deliveries SET status = 'failed', finished_at = created_at WHERE destination_id";
    desk.beside()
        .batch_execute(&format!("{failed} = '{destination}'"))
        .expect("a change");
    assert_eq!(
        pending(&[
            "resend",
            "failed",
            "--destination",
            &destination,
            "--dry-run"
        ]),
        (json!(3), json!({}))
    );
    assert_eq!(
        pending(&["resend", "failed", "--destination", &destination]),
        (json!(3), json!({}))
    );
    assert_eq!(
        pending(&["resend", "failed", "--destination", &destination]),
        (json!(0), json!({ "already_pending": 3 }))
    );
    let printed = text(&desk, &["resend", "purchase", "r1", "--dry-run"]);
    assert!(
        printed.contains("0 deliveries would be queued") && printed.contains("already pending"),
        "{printed}"
    );
    assert_eq!(
        desk.run(&["resend", "range"]).status.code(),
        Some(2),
        "`--from` is required"
    );
    for states in ["behind", "missing", "all"] {
        assert_eq!(
            desk.run(&["resend", states]).status.code(),
            Some(2),
            "{states}: `--destination` is required"
        );
    }
    let now = desk.answer(&[
        "resend",
        "purchase",
        "r1",
        "--failed",
        "--now",
        "--reason",
        "they are back",
    ]);
    assert_eq!(now["skipped"], json!({ "already_pending": 1 }), "{now}");
    let entry =
        desk.answer(&["audit-log", "--operation", "resend", "--limit", "1"])["items"][0].clone();
    assert_eq!(
        (&entry["reason"], &entry["after"]["now"]),
        (&json!("they are back"), &json!(true)),
        "{entry}"
    );
}

#[test]
fn states_that_a_destination_lacks_are_resent_and_feeds_list_it() {
    let (desk, destination) = desk("cli-states");
    let fed = desk.answer(&[
        "feed",
        "--app",
        &desk.app,
        "--destination",
        &destination,
        "--limit",
        "2",
    ]);
    assert_eq!(fed["items"].as_array().map(Vec::len), Some(2), "{fed}");
    let cursor = fed["next_cursor"].as_str().expect("there is more");
    assert!(
        text(&desk, &["feed", "--app", &desk.app, "--cursor", cursor])
            .contains("6b275a67-0bbb-4f3a-99b9-000000000002")
    );
    let resend = |more: &[&str]| {
        let answer =
            desk.answer(&[&["resend"][..], more, &["--destination", &destination]].concat());
        (answer["checked"].clone(), answer["pending"].clone())
    };
    assert_eq!(resend(&["behind", "--dry-run"]), (json!(3), json!(3)));
    assert_eq!(resend(&["behind"]), (json!(3), json!(3)));
    assert_eq!(resend(&["all"]), (json!(3), json!(0)), "already pending");
}

#[test]
fn an_interrupted_run_resumes_and_sends_nothing_twice() {
    let (desk, destination) = desk("cli-run");
    let all = [
        "resend",
        "all",
        "--destination",
        &destination,
        "--run",
        "mine",
    ];
    assert_eq!(desk.answer(&all)["pending"], 3);
    let arrived = "UPDATE deliveries SET status = 'delivered', finished_at = created_at";
    desk.beside().batch_execute(arrived).expect("a change");
    assert_eq!(
        desk.answer(&all)["pending"],
        3,
        "the same run gets the same answer"
    );
    let shown = desk.answer(&["destination", "show", &destination]);
    assert_eq!(shown["health"]["pending"], 0, "nothing is queued again");
    assert_eq!(
        desk.answer(&all[..4])["pending"],
        3,
        "another run sends all of it"
    );

    // A service that reads requests and never answers.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", deaf.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for mut stream in deaf.incoming().flatten() {
            drop(stream.read(&mut [0; 4096]));
        }
    });
    let lost = |line: &[&str]| {
        let line: Vec<&str> = line
            .iter()
            .copied()
            .chain(["--service", &url, "--data", "data"])
            .collect();
        let output = settle(&desk.folder, &line).output().expect("settle starts");
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        stderr_of(&output)
    };
    let printed = lost(&[
        "resend",
        "behind",
        "--destination",
        &destination,
        "--cursor",
        FIRST,
    ]);
    assert!(
        printed.contains("twice, add --run ") && printed.contains(&format!(" --cursor {FIRST}")),
        "{printed}"
    );
    let printed = lost(&["resend", "range", "--from", "1970-01-01T00:00:00Z"]);
    assert!(
        printed.contains("twice, add --run ") && printed.contains(" --until 20"),
        "{printed}"
    );
    assert!(lost(&["resend", "failed", "--dry-run"]).contains("nothing was sent"));
    let refused = stderr_of(&desk.run(&["resend", "event", "nobody"]));
    assert!(refused.contains("nothing was sent"), "{refused}");
}

#[test]
fn a_time_is_absolute_or_an_age_and_an_app_can_be_named() {
    let (desk, destination) = desk("cli-ago");
    let other = desk.id(&["app", "create", "other"]);
    let checked = |more: &[&str]| {
        let line: Vec<&str> = ["resend", "range", "--dry-run"]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        desk.answer(&line)["checked"].clone()
    };
    // The test's rows date from 1970.
    assert_eq!(checked(&["--from", "3d"]), 0);
    assert_eq!(checked(&["--from", "36500d", "--until", "2h"]), 3);
    assert_eq!(checked(&["--from", "36500d", "--until", "36000d"]), 0);
    assert_eq!(checked(&["--from", "36500d", "--app", &desk.app]), 3);
    assert_eq!(checked(&["--from", "36500d", "--app", &other]), 0);
    assert_eq!(
        desk.answer(&["resend", "failed", "--app", &other])["checked"],
        0
    );
    assert_eq!(checked(&["--from", "yesterday"]), 0);
    assert_eq!(
        checked(&["--from", "1970-01-01", "--until", "yesterday"]),
        3
    );
    let wrong = desk.run(&["resend", "range", "--from", "long ago"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        stderr_of(&wrong).contains("2h for two hours ago"),
        "{}",
        stderr_of(&wrong)
    );
    for named in ["late", &destination] {
        assert_eq!(
            checked(&[
                "--from",
                "36500d",
                "--app",
                &desk.app,
                "--destination",
                named
            ]),
            3,
            "{named}"
        );
    }
    let both = desk.run(&[
        "resend",
        "failed",
        "--app",
        &other,
        "--destination",
        &destination,
    ]);
    assert_eq!(both.status.code(), Some(1));
    assert!(
        stderr_of(&both).contains("is not one of the app"),
        "{}",
        stderr_of(&both)
    );
}

#[test]
fn what_waits_after_a_sample_is_found_by_the_printed_line() {
    let folder = Folder::new("cli-sample");
    // Samples are sent to the address in the settings, so the port must be fixed in advance.
    let address = format!("127.0.0.1:{}", ports::free());
    let mut service = settle(&folder, &["run", "--data", "data", "--listen", &address]);
    let mut running = logged(&folder, &mut service);
    let url = format!("http://{}", wait_open(&folder, &mut running));
    let command = |line: &[&str]| {
        settle(
            &folder,
            &[line, &["--service", &url, "--data", "data"]].concat(),
        )
    };
    let text = |line: &[&str]| stdout_of(&command(line).output().expect("settle starts"));
    assert_eq!(
        text(&["purchase", "list"]),
        "No purchases yet: try `settle sample`.\n"
    );
    let mut receipt = String::new();
    for (is_from_cargo, program) in [(true, "cargo run --"), (false, "settle")] {
        let mut sample = command(&["sample", "--receipt", "r1"]);
        let sample = if is_from_cargo {
            sample.env("CARGO", "cargo")
        } else {
            sample.env_remove("CARGO")
        };
        let output = sample.output().expect("settle starts");
        let printed = stdout_of(&output);
        let last = printed
            .lines()
            .last()
            .unwrap_or_else(|| panic!("{}", stderr_of(&output)))
            .trim();
        let rest = last
            .strip_prefix(program)
            .and_then(|rest| rest.strip_prefix(" purchase explain "));
        let (key, flags) = rest
            .and_then(|rest| rest.split_once(' '))
            .unwrap_or_else(|| panic!("{printed}"));
        assert_eq!(flags, format!("--service {url} --data data"));
        let (_, rest) = printed
            .split_once("(store's id ")
            .unwrap_or_else(|| panic!("{printed}"));
        let minted = rest
            .split_once(')')
            .unwrap_or_else(|| panic!("{printed}"))
            .0;
        assert!(
            minted.starts_with("sample.r1.") && (receipt.is_empty() || receipt == minted),
            "{printed}"
        );
        minted.clone_into(&mut receipt);
        let listed = text(&["purchase", "list"]);
        assert!(
            listed.contains(&format!(
                "a notification is waiting: `settle explain purchase {key}`"
            )),
            "{listed}"
        );
    }
    let waits = text(&["explain", "purchase", &receipt]);
    assert!(
        waits.contains("not settled yet") && waits.contains("waiting for its window"),
        "{waits}"
    );
    assert!(text(&["purchase", "list", "--receipt", &receipt]).contains("not known yet"));
    assert_eq!(
        text(&["purchase", "list", "--receipt", "r2"]),
        "No matching purchases.\n"
    );
}

#[test]
fn alarms_are_listed_as_a_table_and_as_data() {
    let (desk, _) = desk("cli-alarm");
    assert_eq!(
        text(&desk, &["alarm", "list"]),
        "No alarms have been raised.\n"
    );
    let raised = "INSERT INTO alarms (at, last_at, times, kind, detail, id) \
         VALUES (1, 2000000, 3, 'check', 'it is broken', '6b275a67-0bbb-4f3a-99b9-6600bf711993')";
    desk.beside().batch_execute(raised).expect("an alarm");
    let table = text(&desk, &["alarm", "list"]);
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(
        lines.next().as_deref(),
        Some("LAST COUNT KIND ABOUT FIRST DETAIL NOTE ID"),
        "{table}"
    );
    let row = lines.next().expect("a row");
    assert!(
        row.starts_with("1970-01-01T00:00:02") && row.contains("it is broken - 6b275a67"),
        "{row}"
    );
    assert!(row.contains(" 3 check - "), "{row}");
    let answer = desk.answer(&["alarm", "list", "--limit", "1"]);
    assert_eq!(
        (&answer["items"][0]["kind"], &answer["items"][0]["count"]),
        (&json!("check"), &json!(3))
    );
    let id = answer["items"][0]["id"].as_str().expect("an id").to_owned();
    let seen = desk.answer(&["alarm", "acknowledge", &id, "--note", "it is known"]);
    assert_eq!(seen, desk.answer(&["alarm", "show", &id]));
    assert_eq!(seen["note"], "it is known");
    assert_eq!(
        text(&desk, &["alarm", "list", "--open"]),
        "No matching alarms.\n"
    );
}

/// Starts a fake service that answers 202 to every request; returns its URL.
fn taking() -> String {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", service.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for mut stream in service.incoming().flatten() {
            let body = "{\"signal\":\"taken\"}";
            let answer = format!(
                "HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            drop(
                stream
                    .read(&mut [0; 4096])
                    .and_then(|_| stream.write_all(answer.as_bytes())),
            );
        }
    });
    url
}

#[test]
fn a_purchase_is_explained_as_sentences_and_as_data() {
    let (folder, url) = (Folder::new("cli-asked"), taking());
    let run = |verb: &str, more: &[&str]| {
        let line: Vec<&str> = ["purchase", verb, FIRST, "--service", &url]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let output = settle(&folder, &line)
            .env("SETTLE_ADMIN_TOKEN", "a-token")
            .output()
            .expect("settle starts");
        assert_eq!(
            output.status.code(),
            Some(0),
            "{line:?}: {}",
            stderr_of(&output)
        );
        stdout_of(&output)
    };
    for (verb, printed) in [
        ("flush", "settled now"),
        ("hold", "for seven days"),
        ("release", "The hold has ended"),
        ("discard", "will be discarded"),
    ] {
        let sentence = run(verb, &["--reason", "a test"]);
        assert!(sentence.contains(printed), "{sentence}");
        assert!(
            sentence.ends_with(&format!(
                "`settle explain purchase {FIRST}` shows the result.\n"
            )),
            "{sentence}"
        );
        let answer: Value = serde_json::from_str(&run(verb, &["--json"])).expect("JSON");
        assert_eq!(answer, json!({ "signal": "taken" }));
    }
}
