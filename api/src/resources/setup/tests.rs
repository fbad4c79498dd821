//! What was last seen of a step, and what to do next, for each kind of evidence.

use super::{Setup, SetupState, SetupStep, sentence, steps};
use domain::{AppId, PlatformId, Timestamp};
use protocols::form::{Remedy, SetupEvidence, Step};
use serde_json::json;
use storage::{ArrivalView, Platform, PlatformSettings, SetupFacts, StoreTest};
use uuid::Uuid;

const REMEDIES: &[Remedy] = &[Remedy {
    reason: "wrong account",
    action: "Enter the account.",
}];
const RIGHTS: &[&str] = &["the account has no rights: grant them"];
const MESSAGE: SetupEvidence = SetupEvidence::Message(REMEDIES);
const QUERY: SetupEvidence = SetupEvidence::Query(RIGHTS);
const CREDENTIALS: SetupEvidence = SetupEvidence::Credentials(&["the key is refused"]);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn arrival(reason: &str, last: i64) -> ArrivalView {
    ArrivalView {
        reason: reason.to_owned(),
        times: 1,
        first_at: at(0),
        last_at: at(last),
    }
}

fn arrivals(all: &[(&str, i64)]) -> SetupFacts {
    SetupFacts {
        arrivals: all
            .iter()
            .map(|(reason, last)| arrival(reason, *last))
            .collect(),
        ..SetupFacts::default()
    }
}

/// A platform whose credentials were set at second 100.
fn platform() -> Platform {
    Platform {
        id: PlatformId::new(Uuid::from_u128(1)),
        app_id: AppId::new(Uuid::from_u128(2)),
        store: "shop".to_owned(),
        settings: PlatformSettings::new("Shop", "com.example.app", 120_000),
        has_login_secret: false,
        has_shared_secret: false,
        unsigned_login_at: None,
        secret_refused_at: None,
        publishable_key: "pk_test".to_owned(),
        store_settings: Some(json!({ "account": "a@example.com" })),
        store_credentials_at: Some(at(100)),
        created_at: at(0),
    }
}

fn judged(evidence: Option<SetupEvidence>, setup: &Setup<'_>) -> SetupStep {
    let step = Step {
        title: "Do it",
        text: "Do it well.",
        place: "the console",
        copy: None,
        url: None,
        evidence,
    };
    steps(&[step], setup).remove(0)
}

/// Returns the state of a step, the second at which it was seen, and what to do next.
fn seen(
    evidence: SetupEvidence,
    platform: &Platform,
    facts: &SetupFacts,
) -> (SetupState, Option<i64>, Option<String>) {
    let setup = Setup {
        platform,
        facts,
        takes_samples: false,
    };
    let step = judged(Some(evidence), &setup);
    let second = step.last_seen_at.map(|at| at.micros() / 1_000_000);
    (step.state, second, step.next)
}

/// Returns the state of a step of the usual platform, and the second at which it was seen.
fn state(evidence: SetupEvidence, facts: &SetupFacts) -> (SetupState, Option<i64>) {
    let (state, second, _) = seen(evidence, &platform(), facts);
    (state, second)
}

#[test]
fn a_step_without_evidence_shows_nothing() {
    let (platform, facts) = (platform(), arrivals(&[("", 5)]));
    let setup = Setup {
        platform: &platform,
        facts: &facts,
        takes_samples: false,
    };
    let step = judged(None, &setup);
    assert_eq!(step.state, SetupState::Unknown);
    assert_eq!((step.last_seen, step.next), (None, None));
    let hidden = judged(Some(SetupEvidence::Invisible("Check it.")), &setup);
    assert_eq!(hidden.state, SetupState::Unknown);
    assert_eq!(
        (hidden.last_seen, hidden.next.as_deref()),
        (None, Some("Check it."))
    );
}

#[test]
fn an_accepted_message_is_a_problem_only_after_a_later_refusal() {
    assert_eq!(state(MESSAGE, &arrivals(&[])), (SetupState::Open, None));
    assert_eq!(
        state(MESSAGE, &arrivals(&[("", 5)])),
        (SetupState::Done, Some(5))
    );
    let earlier = arrivals(&[("", 5), ("wrong account", 4)]);
    assert_eq!(state(MESSAGE, &earlier), (SetupState::Done, Some(5)));
    let later = arrivals(&[("", 5), ("wrong account", 6)]);
    let (state_of, second, next) = seen(MESSAGE, &platform(), &later);
    assert_eq!((state_of, second), (SetupState::Problem, Some(6)));
    assert_eq!(next.as_deref(), Some("Enter the account."));
    let another = arrivals(&[("", 5), ("database away", 7)]);
    assert_eq!(state(MESSAGE, &another), (SetupState::Done, Some(5)));
    let last = SetupEvidence::LastMessage(REMEDIES);
    let (state_of, second, next) = seen(last, &platform(), &another);
    assert_eq!((state_of, second), (SetupState::Problem, Some(7)));
    assert!(next.is_some_and(|next| next.starts_with("Correct the step")));
    let (_, _, next) = seen(last, &platform(), &later);
    assert_eq!(next.as_deref(), Some("Enter the account."));
    assert_eq!(state(last, &earlier), (SetupState::Done, Some(5)));
}

#[test]
fn a_refused_message_shows_the_steps_that_it_passed() {
    let passage = SetupEvidence::Passage(REMEDIES, &["of another app"]);
    assert_eq!(state(passage, &arrivals(&[])), (SetupState::Open, None));
    let passed = arrivals(&[("of another app", 6)]);
    let (state_of, second, next) = seen(passage, &platform(), &passed);
    assert_eq!((state_of, second, next), (SetupState::Done, Some(6), None));
    let earlier = arrivals(&[("of another app", 6), ("", 5)]);
    assert_eq!(state(passage, &earlier), (SetupState::Done, Some(6)));
    let later = arrivals(&[("of another app", 6), ("", 7)]);
    assert_eq!(state(passage, &later), (SetupState::Done, Some(7)));
    let wrong = arrivals(&[("of another app", 6), ("wrong account", 3)]);
    assert_eq!(state(passage, &wrong), (SetupState::Problem, Some(3)));
    // A reason that shows nothing.
    let another = arrivals(&[("database away", 7)]);
    let (state_of, second, next) = seen(passage, &platform(), &another);
    assert_eq!((state_of, second), (SetupState::Open, Some(7)));
    assert!(next.is_some_and(|next| next.starts_with("Correct the step")));
    // The step that no message has passed shows why.
    assert_eq!(state(MESSAGE, &passed), (SetupState::Open, Some(6)));
}

#[test]
fn a_refused_request_shows_that_the_store_knows_the_url() {
    let request = SetupEvidence::Request;
    assert_eq!(state(request, &arrivals(&[])), (SetupState::Open, None));
    let refused = arrivals(&[("wrong account", 6)]);
    assert_eq!(state(request, &refused), (SetupState::Done, Some(6)));
}

#[test]
fn an_accepted_sample_shows_nothing_about_the_store() {
    let (platform, mut facts) = (platform(), arrivals(&[("", 5)]));
    let state_of = |evidence, facts: &SetupFacts| {
        let setup = Setup {
            platform: &platform,
            facts,
            takes_samples: true,
        };
        judged(Some(evidence), &setup).state
    };
    for evidence in [MESSAGE, SetupEvidence::Request, SetupEvidence::Test("TEST")] {
        assert_eq!(state_of(evidence, &facts), SetupState::Open, "{evidence:?}");
    }
    facts.tested_at = Some(at(4));
    for evidence in [MESSAGE, SetupEvidence::Request, SetupEvidence::Test("TEST")] {
        assert_eq!(state_of(evidence, &facts), SetupState::Done, "{evidence:?}");
    }
}

#[test]
fn a_test_that_was_not_sent_is_not_missed_once_messages_arrive() {
    let test = SetupEvidence::Test("TEST");
    assert_eq!(state(test, &arrivals(&[])), (SetupState::Open, None));
    let refused = arrivals(&[("wrong account", 3)]);
    assert_eq!(state(test, &refused), (SetupState::Problem, Some(3)));
    assert_eq!(
        state(test, &arrivals(&[("", 5)])),
        (SetupState::Done, Some(5))
    );
    let tested = SetupFacts {
        tested_at: Some(at(4)),
        ..arrivals(&[("", 5)])
    };
    assert_eq!(state(test, &tested), (SetupState::Done, Some(4)));
}

#[test]
fn a_requested_test_is_open_until_it_arrives() {
    const TEST: SetupEvidence = SetupEvidence::RequestedTest("TEST", &["no URL: enter it"]);
    let of = |progress: StoreTest, facts: SetupFacts| SetupFacts {
        store_test: Some(progress),
        ..facts
    };
    let tested = |second| SetupFacts {
        tested_at: Some(at(second)),
        ..arrivals(&[("", second)])
    };
    assert_eq!(state(TEST, &arrivals(&[])), (SetupState::Open, None));
    let open = || StoreTest::Open { at: at(200) };
    let accepted = || StoreTest::Accepted { at: at(200) };
    for progress in [open, accepted] {
        let waiting = of(progress(), tested(150));
        assert_eq!(state(TEST, &waiting), (SetupState::Open, Some(200)));
    }
    let arrived = of(accepted(), tested(201));
    assert_eq!(state(TEST, &arrived), (SetupState::Done, Some(201)));
    let refused = of(accepted(), arrivals(&[("wrong account", 202)]));
    assert_eq!(state(TEST, &refused), (SetupState::Problem, Some(202)));
    let before = of(accepted(), arrivals(&[("wrong account", 190)]));
    assert_eq!(state(TEST, &before), (SetupState::Open, Some(200)));
    for (why, expected, action) in [
        ("no URL: enter it", SetupState::Problem, "No URL: enter it."),
        ("HTTP 500", SetupState::Open, "Request another one."),
    ] {
        let (at, why) = (at(200), why.to_owned());
        let failed = |facts| {
            of(
                StoreTest::Failed {
                    at,
                    why: why.clone(),
                },
                facts,
            )
        };
        let (state_of, second, next) = seen(TEST, &platform(), &failed(tested(150)));
        assert_eq!((state_of, second), (expected, Some(200)));
        assert_eq!(next.as_deref(), Some(action));
        let arrived = state(TEST, &failed(tested(201)));
        assert_eq!(arrived, (SetupState::Done, Some(201)));
    }
}

#[test]
fn a_missing_setting_is_a_problem_once_messages_are_refused() {
    let refused = arrivals(&[("wrong account", 3)]);
    let set = SetupEvidence::Setting("account", REMEDIES);
    assert_eq!(state(set, &arrivals(&[])), (SetupState::Done, None));
    assert_eq!(state(set, &refused), (SetupState::Problem, Some(3)));
    let missing = SetupEvidence::Setting("topic", &[]);
    assert_eq!(state(missing, &arrivals(&[])), (SetupState::Open, None));
    assert_eq!(state(missing, &refused), (SetupState::Problem, Some(3)));
}

#[test]
fn rights_are_shown_by_an_answer_to_the_present_credentials() {
    let answered = |second| SetupFacts {
        answered_at: Some(at(second)),
        ..SetupFacts::default()
    };
    assert_eq!(state(QUERY, &answered(150)), (SetupState::Done, Some(150)));
    assert_eq!(state(QUERY, &answered(50)), (SetupState::Open, None));
    let requested = SetupFacts {
        is_query_requested: true,
        ..answered(150)
    };
    assert_eq!(state(QUERY, &requested), (SetupState::Open, None));
    let failed = SetupFacts {
        failure: Some("HTTP 500".to_owned()),
        failed_at: Some(at(160)),
        ..answered(50)
    };
    assert_eq!(state(QUERY, &failed), (SetupState::Open, Some(160)));
    let none = Platform {
        store_credentials_at: None,
        ..platform()
    };
    for evidence in [QUERY, CREDENTIALS] {
        let (state, second, next) = seen(evidence, &none, &answered(150));
        assert_eq!((state, second), (SetupState::Open, None));
        assert!(next.is_some_and(|next| next.starts_with("Enter ")));
    }
    assert_eq!(
        state(CREDENTIALS, &SetupFacts::default()),
        (SetupState::Done, Some(100))
    );
}

#[test]
fn a_refusal_belongs_to_the_step_of_its_reason() {
    let refusing = Platform {
        secret_refused_at: Some(at(170)),
        ..platform()
    };
    let refused = |why: &str| SetupFacts {
        refusal: Some(why.to_owned()),
        answered_at: Some(at(150)),
        ..SetupFacts::default()
    };
    let rights = refused(RIGHTS[0]);
    let (state, second, next) = seen(QUERY, &refusing, &rights);
    assert_eq!((state, second), (SetupState::Problem, Some(170)));
    let grant = "The account has no rights: grant them.";
    assert_eq!(next.as_deref(), Some(grant));
    assert_eq!(seen(CREDENTIALS, &refusing, &rights).0, SetupState::Done);
    let key = refused("the key is refused");
    assert_eq!(seen(CREDENTIALS, &refusing, &key).0, SetupState::Problem);
    let (state, _, next) = seen(QUERY, &refusing, &key);
    assert_eq!(state, SetupState::Open);
    assert_eq!(next.as_deref(), Some("The key is refused."));
    let accepted_again = seen(QUERY, &platform(), &refused(RIGHTS[0]));
    assert_eq!(accepted_again.0, SetupState::Done);
}

#[test]
fn a_text_becomes_a_sentence() {
    assert_eq!(sentence("grant it"), "Grant it.");
    assert_eq!(sentence("Grant it."), "Grant it.");
    assert_eq!(sentence(""), ".");
}
