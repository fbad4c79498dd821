//! Emails as they are sent.

use super::super::body::{Letter, render};
use super::super::request::{HEADERS, request, test};
use super::*;
use crate::smtp::Mail;
use storage::{Rendered, Unsent};

fn failing(name: &str) -> Value {
    json!({
        "id": "13445ef3-8fe8-53f0-8234-9f6e0596b445", "event_type": "destination.failing",
        "destination": { "id": "7e0977f8-27c9-49c5-8356-e82cbf34b161", "kind": "webhook", "name": name },
        "state": "open", "since": "2026-03-03T12:00:00.000000Z", "reason": "the endpoint answered 500",
    })
}

fn frozen(name: &str) -> String {
    let letter = Letter::of(
        "[settle]",
        "destination.failing",
        &failing(name),
        Some(EventId::new(Uuid::from_u128(8))),
    );
    serde_json::to_string(&letter).unwrap()
}

fn text(mail: &Mail) -> String {
    String::from_utf8(mail.message.clone()).unwrap()
}

/// Checks that an email has exactly the headers that every email has.
fn check_headers(mail: &str) {
    let head = mail.split("\r\n\r\n").next().unwrap();
    let lines = head
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']));
    let mut names: Vec<String> = lines
        .map(|line| line.split(':').next().unwrap().to_lowercase())
        .collect();
    names.sort();
    assert_eq!(names, HEADERS, "{mail}");
}

#[test]
fn a_mail_has_the_text_and_the_headers_of_its_event() {
    let at = Timestamp::from_millis(1_772_625_600_000);
    let sent = request(&config(), at, &[attempt(&frozen("Billing"))]).unwrap();
    let mail = text(&sent);
    for line in [
        "From: settle <settle@example.com>\r\n",
        "To: ops@example.com, cto@example.org\r\n",
        "Subject: [settle] Billing is failing\r\n",
        "Date: Wed, 04 Mar 2026 12:00:00 +0000\r\n",
        "Message-ID: <00000000-0000-0000-0000-000000000007@example.com>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "X-Settle-Event-Id: 00000000-0000-0000-0000-000000000008\r\n",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "\r\n\r\nBilling is failing\r\n\r\n",
        "the endpoint answered 500\r\n",
        "\r\n\r\nEvent: destination.failing\r\nId: 00000000-0000-0000-0000-000000000008\r\n",
    ] {
        assert!(mail.contains(line), "no {line:?} in {mail}");
    }
    check_headers(&mail);
    assert_eq!(sent.server.as_str(), "smtps://mail.example.com:465");
    let envelope = &sent.envelope;
    assert_eq!(
        envelope
            .to
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["ops@example.com", "cto@example.org"]
    );
    assert_eq!(envelope.from.to_string(), "settle@example.com");
}

#[test]
fn every_attempt_with_the_same_settings_sends_the_same_bytes() {
    let first = Timestamp::from_millis(1_772_625_600_000);
    let again = Attempt {
        number: 2,
        first_tried_at: Some(first),
        ..attempt(&frozen("Billing"))
    };
    let sent = request(&config(), first, &[attempt(&frozen("Billing"))]).unwrap();
    let repeated = request(&config(), first.plus_millis(300_000), &[again]).unwrap();
    assert_eq!(text(&sent), text(&repeated));
}

#[test]
fn a_mail_awaits_all_recipients_only_for_a_while() {
    let first = Timestamp::from_millis(1_772_625_600_000);
    let awaits_all = |number, passed_ms| {
        let first_tried_at = (number > 1).then_some(first);
        let attempt = Attempt {
            number,
            first_tried_at,
            ..attempt(&frozen("Billing"))
        };
        is_awaiting(&request(&config(), first.plus_millis(passed_ms), &[attempt]).unwrap())
    };
    assert!(
        awaits_all(1, 0) && awaits_all(3, 305_000),
        "greylisting passes"
    );
    assert!(
        !awaits_all(4, 1_764_000),
        "a full mailbox delays the others by half an hour"
    );
    assert!(!awaits_all(10, 305_000), "the last attempt");
    assert!(
        !is_awaiting(&test(&config(), first, "5", None).unwrap()),
        "a test is not repeated"
    );
}

fn is_awaiting(mail: &Mail) -> bool {
    mail.envelope.awaits_all
}

#[test]
fn a_change_of_addresses_changes_only_their_headers() {
    let first = Timestamp::from_millis(1_772_625_600_000);
    let again = Attempt {
        number: 2,
        first_tried_at: Some(first),
        ..attempt(&frozen("Billing"))
    };
    let before = text(&request(&config(), first, &[attempt(&frozen("Billing"))]).unwrap());
    let mut changed = config();
    changed.to.truncate(1);
    changed.server.from = "alerts@other.example".parse().unwrap();
    let after = text(&request(&changed, first.plus_millis(300_000), &[again]).unwrap());
    let differ: Vec<(&str, &str)> = before
        .lines()
        .zip(after.lines())
        .filter(|(one, other)| one != other)
        .collect();
    assert_eq!(differ.len(), 3, "{before}{after}");
    for (old, new) in [
        (
            "From: settle <settle@example.com>",
            "From: alerts@other.example",
        ),
        (
            "To: ops@example.com, cto@example.org",
            "To: ops@example.com",
        ),
        (
            "Message-ID: <00000000-0000-0000-0000-000000000007@example.com>",
            "Message-ID: <00000000-0000-0000-0000-000000000007@other.example>",
        ),
    ] {
        assert!(differ.contains(&(old, new)), "{old}: {before}{after}");
    }
}

#[test]
fn no_name_adds_a_header_or_a_line() {
    for name in [
        "Billing\r\nBcc: other@example.com",
        "Billing\n.\r\nX: <a@b>",
        "Bílling\r\n\r\nX: y",
        "\u{0}\u{7f}x",
    ] {
        let mail =
            text(&request(&config(), Timestamp::default(), &[attempt(&frozen(name))]).unwrap());
        assert!(mail.is_ascii(), "{mail}");
        check_headers(&mail);
        let (_, body) = mail.split_once("\r\n\r\n").unwrap();
        assert!(
            !body
                .lines()
                .any(|line| line.starts_with("Bcc") || line.starts_with("X:") || line == "."),
            "{body}"
        );
    }
}

#[test]
fn even_a_wrong_frozen_subject_adds_no_header() {
    let letter = Letter {
        subject: "a\r\nBcc: other@example.com".to_owned(),
        text: "b".to_owned(),
    };
    let body = serde_json::to_string(&letter).unwrap();
    check_headers(&text(
        &request(&config(), Timestamp::default(), &[attempt(&body)]).unwrap(),
    ));
}

#[test]
fn a_test_mail_carries_no_event_or_an_example() {
    let bare = text(&test(&config(), Timestamp::default(), "5", None).unwrap());
    assert!(
        bare.contains("Subject: [settle] Test\r\n") && bare.contains("It carries no event."),
        "{bare}"
    );
    assert!(
        bare.contains("Message-ID: <test_5@example.com>\r\n"),
        "{bare}"
    );
    let sample = text(
        &test(
            &config(),
            Timestamp::default(),
            "5",
            Some(&failing("Billing")),
        )
        .unwrap(),
    );
    assert!(
        sample.contains("Subject: [settle] Test: Billing is failing\r\n"),
        "{sample}"
    );
    assert!(
        sample.contains("Event: destination.failing\r\n"),
        "{sample}"
    );
}

#[test]
fn an_event_is_rendered_as_json_with_the_prefix_of_the_settings() {
    let settings = created(&json!({ "to": ["ops@example.com"], "subject_prefix": "[shop]" }))
        .unwrap()
        .settings;
    let Rendered::Body(body) = render(&destination(settings), &unsent()) else {
        panic!("no body")
    };
    let letter: Letter = serde_json::from_str(&body).unwrap();
    assert_eq!(letter.subject, "[shop] Billing is failing");
    assert!(
        letter
            .text
            .contains("Id: 00000000-0000-0000-0000-000000000008\n"),
        "{}",
        letter.text
    );
}

fn unsent() -> Unsent {
    let event_id = EventId::new(Uuid::from_u128(8));
    Unsent {
        event_id,
        ..tests::unsent("destination.failing", failing("Billing"))
    }
}
