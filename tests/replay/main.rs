//! Histories of earlier runs still replay, so that a changed workflow can continue the open runs of the previous
//! version.
//!
//! `renew-histories` created the histories (see README.md of this package). A release's histories, in the folder with
//! its version, are like those of its open runs: they are never renewed, and must always replay. A replay compares the
//! order and types of commands but not the inputs of activities, so it does not detect every change.

mod imitation;
mod released;
mod stored;

use imitation::{Changed, Faithful};
use std::collections::BTreeSet;
use std::path::Path;
use system_tests::folder::Folder;
use system_tests::histories;
use temporalio_client::WorkflowHistory;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::History;
use temporalio_sdk::workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions};
use workflows::{Claims, Destination, DeviceStream, Purchase, Sweep};

/// Event types that each history must contain, so that a renewed one still represents what its name says.
const SHOWN: &[(&str, &[EventType])] = &[
    (
        "one-notification",
        &[EventType::TimerFired, EventType::ActivityTaskCompleted],
    ),
    (
        "rearmed-burst",
        &[EventType::TimerFired, EventType::WorkflowExecutionCompleted],
    ),
    ("open-window", &[EventType::TimerStarted]),
    (
        "retried-lane",
        &[
            EventType::ActivityTaskStarted,
            EventType::ActivityTaskCompleted,
        ],
    ),
    (
        "hold-and-release",
        &[
            EventType::WorkflowExecutionSignaled,
            EventType::WorkflowExecutionCompleted,
        ],
    ),
    (
        "flush",
        &[
            EventType::TimerStarted,
            EventType::WorkflowExecutionCompleted,
        ],
    ),
    (
        "discard",
        &[
            EventType::WorkflowExecutionSignaled,
            EventType::WorkflowExecutionCompleted,
        ],
    ),
    (
        "redeliver",
        &[
            EventType::WorkflowExecutionSignaled,
            EventType::WorkflowExecutionCompleted,
        ],
    ),
    (
        "continued-first",
        &[
            EventType::ActivityTaskCanceled,
            EventType::WorkflowExecutionContinuedAsNew,
        ],
    ),
    (
        "continued-second",
        &[
            EventType::WorkflowExecutionStarted,
            EventType::ActivityTaskCompleted,
        ],
    ),
    (
        "failed-over-settling",
        &[EventType::MarkerRecorded, EventType::ActivityTaskCompleted],
    ),
    (
        "queried-twice",
        &[EventType::TimerFired, EventType::ActivityTaskCompleted],
    ),
    (
        "destination-recovered",
        &[EventType::TimerFired, EventType::WorkflowExecutionCompleted],
    ),
    (
        "destination-continued",
        &[
            EventType::TimerStarted,
            EventType::WorkflowExecutionContinuedAsNew,
        ],
    ),
    (
        "destination-switched-off",
        &[
            EventType::MarkerRecorded,
            EventType::WorkflowExecutionCompleted,
        ],
    ),
    (
        "destination-at-rest",
        &[
            EventType::ActivityTaskCompleted,
            EventType::WorkflowExecutionCompleted,
        ],
    ),
    (
        "claims",
        &[
            EventType::WorkflowExecutionSignaled,
            EventType::ActivityTaskCompleted,
            EventType::WorkflowExecutionCompleted,
        ],
    ),
    (
        "stream",
        &[
            EventType::WorkflowExecutionSignaled,
            EventType::ActivityTaskCompleted,
            EventType::WorkflowExecutionCompleted,
        ],
    ),
    (
        "sweep",
        &[EventType::TimerFired, EventType::ActivityTaskCompleted],
    ),
];

fn read(name: &str) -> Vec<u8> {
    let file = histories::folder().join(format!("{name}.json"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn names() -> Vec<String> {
    histories::names(&histories::folder())
}

#[tokio::test]
async fn every_history_replays() {
    let options = WorkflowReplayerOptions::new().register_workflow::<Purchase>();
    let options = options.and_then(|options| options.register_workflow::<Destination>());
    let options = options.and_then(|options| options.register_workflow::<DeviceStream>());
    let options = options.and_then(|options| options.register_workflow::<Claims>());
    let options = options
        .and_then(|options| options.register_workflow::<Sweep>())
        .expect("our workflows")
        .build();
    let names = names();
    assert!(
        names.len() >= SHOWN.len(),
        "only {} histories: {names:?}",
        names.len()
    );
    let replayer = WorkflowReplayer::new(options).expect("a replayer");
    for name in names {
        let history = WorkflowHistory::from_json(&read(&name)).expect("a history of the SDK");
        let replayed = replayer.replay_workflow(history).await;
        replayed.unwrap_or_else(|error| panic!("{name} does not replay any more: {error}"));
    }
}

#[test]
fn every_history_shows_what_it_is_named_for() {
    let names = names();
    for (kind, wanted) in SHOWN {
        let of_kind: Vec<_> = names
            .iter()
            .filter(|name| name.rsplit('/').next() == Some(*kind))
            .collect();
        let is_present = of_kind.iter().any(|name| name.as_str() == *kind);
        assert!(
            is_present,
            "no history of {kind}: make it with renew-histories"
        );
        for name in of_kind {
            let history: History =
                serde_json::from_slice(&read(name)).expect("a history of the SDK");
            let seen: Vec<_> = history
                .events
                .iter()
                .map(|event| event.event_type())
                .collect();
            for event in *wanted {
                assert!(seen.contains(event), "{name} has no {event:?}: {seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_workflow_with_one_more_timer_is_noticed() {
    let history =
        || WorkflowHistory::from_json(&read("one-notification")).expect("a history of the SDK");
    let faithful = WorkflowReplayerOptions::new()
        .register_workflow::<Faithful>()
        .expect("an imitation")
        .build();
    let faithful = WorkflowReplayer::new(faithful)
        .expect("a replayer")
        .replay_workflow(history())
        .await;
    faithful.expect("the imitation does what the workflow does: mend it when the workflow was changed on purpose");
    let changed = WorkflowReplayerOptions::new()
        .register_workflow::<Changed>()
        .expect("an imitation")
        .build();
    let changed = WorkflowReplayer::new(changed)
        .expect("a replayer")
        .replay_workflow(history())
        .await;
    let why = changed
        .expect_err("one more timer went unnoticed")
        .to_string();
    assert!(
        why.contains("TMPRL1100"),
        "noticed for another reason: {why}"
    );
}

#[test]
fn the_histories_of_a_release_are_read_and_never_renewed() {
    let root = Folder::new("histories");
    let write =
        |folder: &Path, name: &str| std::fs::write(folder.join(name), "{}").expect("a file");
    write(
        &histories::to_write(root.path(), None).expect("the folder itself"),
        "new.json",
    );
    write(
        &histories::to_write(root.path(), Some("v0.1")).expect("a first time"),
        "old.json",
    );
    let again = histories::to_write(root.path(), Some("v0.1"))
        .expect_err("a second time")
        .to_string();
    assert!(
        again.contains("the histories of v0.1 stay as they are"),
        "{again}"
    );
    assert!(
        histories::to_write(root.path(), Some("../v0.2")).is_err()
            && histories::to_write(root.path(), Some("v")).is_err()
    );
    assert!(
        histories::to_write(root.path(), None).is_ok(),
        "those of the present code are renewed"
    );
    assert_eq!(histories::names(root.path()), ["new", "v0.1/old"]);
}

#[test]
fn no_history_of_a_release_is_deleted() {
    let releases: BTreeSet<String> = names()
        .iter()
        .filter_map(|name| Some(name.split_once('/')?.0.to_owned()))
        .collect();
    assert!(
        releases.contains("v0.1"),
        "the histories of v0.1 were deleted: {releases:?}"
    );
    for release in releases {
        for kind in ["one-notification", "flush", "sweep"] {
            assert!(
                names().contains(&format!("{release}/{kind}")),
                "{release} has no {kind}: a part of it was deleted"
            );
        }
    }
}
