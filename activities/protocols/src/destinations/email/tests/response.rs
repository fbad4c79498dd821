//! The verdicts on replies of the SMTP server.

use super::super::response::{describe_test, judge};
use super::*;
use crate::destinations::Exchange;
use crate::http::Failure;
use crate::smtp::{Command, Reply};
use std::time::Duration;
use storage::{AttemptClass, DeliveryResult, EndpointSignal, Verdict};

const RETRY: Verdict = Verdict::Retry {
    delay: Duration::from_secs(5),
};
const FAILURE: EndpointSignal = EndpointSignal::Failure { pause: None };

fn answer(command: Command, code: u16) -> Reply {
    Reply::Answer {
        command,
        code,
        accepted: None,
        text: "5.1.1 text\nof two lines".to_owned(),
    }
}

fn judged(reply: &Reply, number: i64) -> DeliveryResult {
    let events = [Attempt {
        number,
        ..attempt("")
    }];
    judge(
        &config(),
        Exchange {
            events: &events,
            reply,
            at: Timestamp::default(),
            jitter: 0.5,
        },
    )
}

#[test]
fn each_answer_has_its_verdict() {
    for (command, status, verdict, class, signal) in [
        (
            Command::Data,
            250,
            Verdict::Delivered,
            AttemptClass::Success,
            EndpointSignal::Success,
        ),
        (
            Command::Rcpt,
            451,
            RETRY,
            AttemptClass::ServerError,
            FAILURE,
        ),
        (
            Command::Rcpt,
            452,
            RETRY,
            AttemptClass::ServerError,
            FAILURE,
        ),
        (
            Command::Mail,
            452,
            RETRY,
            AttemptClass::ServerError,
            FAILURE,
        ),
        (
            Command::Data,
            452,
            RETRY,
            AttemptClass::ServerError,
            FAILURE,
        ),
        (
            Command::Rcpt,
            550,
            Verdict::Failed,
            AttemptClass::Refused,
            FAILURE,
        ),
        (
            Command::Data,
            554,
            Verdict::Failed,
            AttemptClass::Refused,
            FAILURE,
        ),
        (Command::Rcpt, 530, RETRY, AttemptClass::Forbidden, FAILURE),
        (Command::Auth, 535, RETRY, AttemptClass::Forbidden, FAILURE),
        (Command::Mail, 530, RETRY, AttemptClass::Forbidden, FAILURE),
        (
            Command::Mail,
            550,
            RETRY,
            AttemptClass::ServerError,
            FAILURE,
        ),
        (
            Command::Connect,
            554,
            RETRY,
            AttemptClass::ServerError,
            FAILURE,
        ),
    ] {
        let result = judged(&answer(command, status), 1);
        let event = &result.events[0];
        let shown = (event.verdict, event.class, &result.endpoint_signal);
        assert_eq!(shown, (verdict, class, &signal), "{status} to {command:?}");
        let error =
            (verdict != Verdict::Delivered).then(|| format!("the mail server answered {status}"));
        assert_eq!(event.error, error);
    }
}

#[test]
fn a_postponed_recipient_is_neutral_of_a_working_server() {
    let signal = |code, accepted, text: &str| {
        let reply = Reply::Answer {
            command: Command::Rcpt,
            code,
            accepted: Some(accepted),
            text: text.to_owned(),
        };
        let result = judged(&reply, 1);
        assert_eq!(
            (result.events[0].verdict, result.events[0].class),
            (RETRY, AttemptClass::ServerError)
        );
        result.endpoint_signal
    };
    assert_eq!(
        signal(450, 0, "4.7.1 Service unavailable"),
        FAILURE,
        "it accepts nobody"
    );
    assert_eq!(signal(451, 0, "4.3.0 later, 4.2.2"), FAILURE);
    assert_eq!(
        signal(452, 0, "4.2.2 mailbox full"),
        EndpointSignal::Neutral
    );
    assert_eq!(signal(450, 1, "4.7.1 greylisted"), EndpointSignal::Neutral);
}

#[test]
fn a_closing_server_pauses_the_destination() {
    for command in [Command::Connect, Command::Rcpt] {
        let result = judged(&answer(command, 421), 1);
        assert_eq!(result.events[0].verdict, RETRY);
        assert_eq!(
            result.endpoint_signal,
            EndpointSignal::Failure {
                pause: Some(Duration::from_secs(5))
            }
        );
    }
}

#[test]
fn an_event_fails_at_the_end_of_the_schedule() {
    for reply in [
        answer(Command::Rcpt, 451),
        answer(Command::Auth, 535),
        Failure::Connect.into(),
    ] {
        assert!(
            matches!(judged(&reply, 9).events[0].verdict, Verdict::Retry { .. }),
            "{reply:?}"
        );
        assert_eq!(
            judged(&reply, 10).events[0].verdict,
            Verdict::Failed,
            "{reply:?}"
        );
    }
}

#[test]
fn no_answer_is_a_failure_of_the_destination() {
    for failure in [
        Failure::Connect,
        Failure::Dns,
        Failure::Tls,
        Failure::Timeout,
        Failure::Reset,
        Failure::Login,
    ] {
        let result = judged(&failure.into(), 1);
        let event = &result.events[0];
        assert_eq!(
            (event.verdict, event.class, &result.endpoint_signal),
            (RETRY, failure.class(), &FAILURE)
        );
    }
}

#[test]
fn a_test_repeats_the_text_of_the_server() {
    let text = |status| format!("the mail server answered {status}: 5.1.1 text of two lines");
    assert_eq!(describe_test(&answer(Command::Data, 250)), Ok(text(250)));
    assert_eq!(describe_test(&answer(Command::Rcpt, 550)), Err(text(550)));
}
