//! Sentences about duties.

use super::{at, id};
use crate::resources::explain::sentences::duty;
use domain::DutyId;
use storage::{DutyKind, DutyResult, DutyView};

const STORE: &str = "amazon";

fn open(kind: DutyKind) -> DutyView {
    DutyView {
        id: id::<DutyId>(),
        kind,
        platform_id: id(),
        collapse_key: Some(id()),
        order_id: None,
        created_at: at(0),
        answer_by: at(100),
        due_at: None,
        attempts: 0,
        failure: None,
        warned_at: None,
        done_at: None,
        result: None,
    }
}

#[test]
fn an_open_duty_names_its_deadline_and_who_does_it() {
    let of_app = open(DutyKind::Acknowledge);
    let sentence = duty(&of_app, STORE, at(1));
    assert!(
        sentence.contains(&format!("open until {}", at(100))),
        "{sentence}"
    );
    assert!(sentence.ends_with("left to the app"), "{sentence}");
    let late = duty(&of_app, STORE, at(100));
    assert!(late.contains("although its deadline was"), "{late}");
    let of_settle = DutyView {
        due_at: Some(at(5)),
        attempts: 2,
        failure: Some("HTTP 503".to_owned()),
        ..of_app
    };
    let sentence = duty(&of_settle, STORE, at(1));
    assert!(
        sentence.contains("settle attempts it (2 so far"),
        "{sentence}"
    );
    assert!(sentence.ends_with("Last failure: HTTP 503"), "{sentence}");
    let question = DutyView {
        order_id: Some("GPA.1".to_owned()),
        ..open(DutyKind::RefundReview)
    };
    let sentence = duty(&question, STORE, at(1));
    assert!(
        sentence.contains("a refund of order GPA.1: open until"),
        "{sentence}"
    );
    assert!(sentence.contains("only a person answers it"), "{sentence}");
    let consent = duty(&open(DutyKind::ConsentWithdrawn), STORE, at(1));
    assert!(consent.contains("a consent that"), "{consent}");
    assert!(consent.contains("only a person closes it"), "{consent}");
}

#[test]
fn a_question_that_the_store_decided_is_no_work_of_the_app() {
    let decided = DutyView {
        done_at: Some(at(50)),
        result: Some(DutyResult::Found),
        ..open(DutyKind::RefundReview)
    };
    let sentence = duty(&decided, STORE, at(200));
    assert!(sentence.ends_with("that it has decided"), "{sentence}");
}

#[test]
fn a_closed_duty_shows_its_result() {
    let results = [
        (DutyResult::Settle, "done by settle at"),
        (DutyResult::Found, "by the app, or by an earlier attempt"),
        (DutyResult::Over, "not done"),
        (DutyResult::Unknown, "given up"),
        (DutyResult::Person, "closed by a person"),
        (DutyResult::Missed, "did not show it done in time"),
        (DutyResult::Deleted, "the platform was deleted"),
    ];
    for (result, expected) in results {
        let closed = DutyView {
            done_at: Some(at(50)),
            result: Some(result),
            ..open(DutyKind::Acknowledge)
        };
        let sentence = duty(&closed, STORE, at(200));
        assert!(sentence.contains(expected), "{sentence}");
        assert!(!sentence.contains("deadline"), "{sentence}");
    }
}
