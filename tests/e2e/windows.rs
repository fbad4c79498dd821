//! The quiet window: one event per purchase two minutes after its last notification.

use std::time::Duration;
use system_tests::process::Backend;
use system_tests::runs;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tokio::time::Instant;

/// Alternating types of notifications, so that each one changes the purchase.
const KINDS: [&str; 2] = [
    "SUBSCRIPTION_AUTO_RENEWAL_OFF",
    "SUBSCRIPTION_AUTO_RENEWAL_ON",
];
const WINDOW: Duration = Duration::from_secs(120);
/// Tolerance for timers, which are set in milliseconds.
const ROUNDING: Duration = Duration::from_millis(100);
/// The window of the test in real time, and the pause between its notifications: together the pauses are longer than
/// the window.
const SHORT_WINDOW: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(800);

fn kind(number: usize) -> &'static str {
    KINDS
        .iter()
        .cycle()
        .nth(number)
        .copied()
        .unwrap_or_default()
}

/// Checks in the history that the last window lasted two minutes from its last notification, and that its timer was not
/// set to a later time. All times are workflow time, whatever the real time on a busy machine is.
async fn check_last_window(world: &World, receipt_id: &str) {
    let history = world.temporal.history(&world.workflow(receipt_id)).await;
    let (signalled, notified) = runs::notified(&history).pop().expect("a signal");
    // A signal that was sent late contains the rest of the window.
    let waited = WINDOW.saturating_sub(notified.quiet);
    let notified = signalled.saturating_sub(waited);
    let recorded = runs::recorded(&history).pop().expect("a settling");
    let after = recorded.saturating_sub(notified);
    assert!(
        after >= WINDOW,
        "it was settled {after:?} after the last notification"
    );
    let fired = runs::times(&history, EventType::TimerFired)
        .pop()
        .expect("a timer that fired");
    let after = fired.saturating_sub(notified);
    assert!(
        after >= WINDOW,
        "the timer fired {after:?} after the last notification"
    );
    // A busy worker handles the signal later, or retries it after ten seconds.
    let tasks = runs::tasks(&history);
    let handled = tasks
        .iter()
        .find(|began| **began >= signalled)
        .expect("the task of the signal");
    let set_at = runs::times(&history, EventType::TimerStarted)
        .pop()
        .expect("a timer");
    let set_in = tasks
        .iter()
        .rfind(|began| **began <= set_at)
        .expect("the task of the timer");
    let length = runs::timers(&history).pop().expect("a timer");
    let after = (*set_in + length).saturating_sub(handled.saturating_sub(waited));
    assert!(
        after < WINDOW + ROUNDING,
        "the timer was set to {after:?} after the last notification was handled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_notification_is_one_event_after_two_minutes() {
    let mut world = World::start(Setting::default()).await;
    let message_id = world.send("SUBSCRIPTION_PURCHASED", "one").await;
    world.wait_notified("one", 1).await;
    world.pass("one", 115).await;
    world.check_waiting("one").await;
    world.pass("one", 6).await;
    let received = world.wait_received("one", 1).await;
    world.wait_asleep("one").await;
    check_last_window(&world, "one").await;
    let body = received
        .first()
        .map(|request| request.body["attributes"].clone())
        .unwrap_or_default();
    assert_eq!(
        (body["revision"].as_i64(), body["coalesced"].as_i64()),
        (Some(1), Some(1)),
        "{body}"
    );
    let outcome = world.wait_outcome(&message_id).await;
    assert_eq!(
        outcome.first().map(|one| one["outcome"].as_str()),
        Some(Some("settled"))
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_notifications_in_five_minutes_are_one_event() {
    let mut world = World::start(Setting::default()).await;
    for number in 0..10 {
        world.send(kind(number), "ten").await;
        // The first notification is signalled at once, later ones every ten seconds of real time. Those not signalled
        // when the timer fires are found in the inbox and get a new window. Both cases occur.
        if number % 3 == 0 {
            world
                .wait_notified("ten", i64::try_from(number + 1).unwrap_or_default())
                .await;
        }
        if number < 9 {
            world.pass("ten", 30).await;
        }
        world.check_waiting("ten").await;
    }
    world.pass("ten", 100).await;
    world.check_waiting("ten").await;
    world.pass("ten", 21).await;
    let received = world.wait_received("ten", 1).await;
    world.wait_asleep("ten").await;
    check_last_window(&world, "ten").await;
    let body = received
        .first()
        .map(|request| request.body["attributes"].clone())
        .unwrap_or_default();
    assert_eq!(
        (body["revision"].as_i64(), body["coalesced"].as_i64()),
        (Some(1), Some(10)),
        "{body}"
    );
    assert_eq!(world.events("ten").await.len(), 1, "one event");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_without_a_signal_gets_a_window_of_its_own() {
    // The process that accepts the second notification dies before it sends the signal.
    let dies = (
        "FAILPOINTS".to_owned(),
        "accept.after_commit=1*off->1*return".to_owned(),
    );
    let setting = Setting {
        backend: Backend::Postgres,
        variables: vec![dies],
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.send("SUBSCRIPTION_PURCHASED", "unsignalled").await;
    world.wait_notified("unsignalled", 1).await;
    let second = world
        .sns
        .notification(&Rtn::new("SUBSCRIPTION_AUTO_RENEWAL_OFF", "unsignalled"));
    let answer = world.post(&second).await;
    assert!(
        answer.is_err(),
        "it was answered by a dead process: {answer:?}"
    );
    world.serve().wait_end().await;
    world.pass("unsignalled", 121).await;
    let workflow = world.workflow("unsignalled");
    wait::until(SOON, "a second timer", async || {
        match world
            .temporal
            .count(&workflow, EventType::TimerStarted)
            .await
        {
            2 => Ok(()),
            other => Err(format!("{other} timers")),
        }
    })
    .await;
    world.check_waiting("unsignalled").await;
    world.pass("unsignalled", 121).await;
    let received = world.wait_received("unsignalled", 1).await;
    assert_eq!(
        received
            .first()
            .map(|request| request.body["attributes"]["coalesced"].as_i64()),
        Some(Some(2))
    );
    world.start_with(&[("FAILPOINTS", "")]).await;
    world.post_until_accepted(&second).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recheck_inside_the_window_does_not_shorten_it() {
    let mut world = World::start(Setting::default()).await;
    world.send("SUBSCRIPTION_PURCHASED", "looked").await;
    world.wait_notified("looked", 1).await;
    let workflow = world.workflow("looked");
    // As sent by the sweep.
    let line = format!(
        "temporal workflow signal-with-start --workflow-id {workflow} --type purchase --task-queue settle \
         --signal-name wake"
    );
    world.temporal.run_line(&line).await;
    wait::until(SOON, "a check", async || {
        let loads = runs::done(&world.temporal.history(&workflow).await, "settle");
        if loads.is_empty() {
            Err("none".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    world.pass("looked", 115).await;
    world.check_waiting("looked").await;
    world.pass("looked", 6).await;
    world.wait_acked("looked", 1).await;
    world.finish().await;
}

/// A notification that was sent in real time.
struct Sent {
    message_id: String,
    sent_at: Instant,
    answered_at: Instant,
}

/// Notifications that are each stored before the previous one's window ends result in one event, which is sent a whole
/// window after the last. On a machine that stalls for a whole window, there are more events.
#[tokio::test(flavor = "multi_thread")]
async fn in_real_time_each_notification_restarts_the_window() {
    let window_seconds = SHORT_WINDOW.as_secs();
    let mut world = World::start(Setting {
        window_seconds,
        ..Setting::default()
    })
    .await;
    let mut sent = Vec::new();
    for number in 0..10 {
        let sent_at = Instant::now();
        let message_id = world.send(kind(number), "real").await;
        sent.push(Sent {
            message_id,
            sent_at,
            answered_at: Instant::now(),
        });
        wait::pass(PAUSE).await;
    }
    let mut revisions = Vec::new();
    for one in &sent {
        revisions.push(
            world.wait_outcome(&one.message_id).await[0]["revision"]
                .as_i64()
                .expect("a revision"),
        );
    }
    for (together, of) in sent.windows(2).zip(revisions.windows(2)) {
        let gap = together[1].answered_at - together[0].sent_at;
        assert!(
            gap >= SHORT_WINDOW || of[0] == of[1],
            "{gap:?} apart, and not one event: {revisions:?}"
        );
    }
    let newest = *revisions.last().expect("a revision");
    world.wait_acked("real", newest).await;
    let received = world.receiver.about(&world.key("real").to_string());
    for (number, one) in received.iter().enumerate() {
        let last = revisions
            .iter()
            .rposition(|revision| *revision == one.revision())
            .expect("its notifications");
        let quiet = one.began.duration_since(sent[last].sent_at);
        assert!(
            quiet > SHORT_WINDOW - ROUNDING,
            "request {number} was sent after {quiet:?}"
        );
        let count = revisions
            .iter()
            .filter(|revision| **revision == one.revision())
            .count();
        assert_eq!(
            one.body["attributes"]["coalesced"].as_u64(),
            u64::try_from(count).ok(),
            "{revisions:?}"
        );
    }
    world.wait_asleep("real").await;
    assert_eq!(
        i64::try_from(world.events("real").await.len()),
        Ok(newest),
        "one event for each revision"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_burst_is_the_next_revision() {
    let mut world = World::start(Setting::default()).await;
    for (revision, burst) in [["SUBSCRIPTION_PURCHASED"; 1].as_slice(), &KINDS]
        .into_iter()
        .enumerate()
    {
        for kind in burst {
            world.send(kind, "bursts").await;
        }
        world
            .wait_notified("bursts", i64::try_from(burst.len()).unwrap_or_default())
            .await;
        world.pass("bursts", 122).await;
        world
            .wait_acked("bursts", i64::try_from(revision + 1).unwrap_or_default())
            .await;
        world.wait_asleep("bursts").await;
    }
    let bodies = world.wait_received("bursts", 2).await;
    let attributes: Vec<_> = bodies.iter().map(|one| &one.body["attributes"]).collect();
    assert_eq!(
        attributes
            .iter()
            .map(|one| one["revision"].as_i64())
            .collect::<Vec<_>>(),
        [Some(1), Some(2)]
    );
    assert_eq!(
        attributes
            .iter()
            .map(|one| one["coalesced"].as_i64())
            .collect::<Vec<_>>(),
        [Some(1), Some(2)]
    );
    let previous: Vec<_> = attributes
        .iter()
        .map(|one| one["previous_acked_revision"].as_i64())
        .collect();
    assert_eq!(previous, [None, Some(1)]);
    assert_eq!(
        world.temporal.runs(&world.workflow("bursts")).await.len(),
        2,
        "one run per burst"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_change_nothing_inside_the_window_or_after_it() {
    let mut world = World::start(Setting::default()).await;
    let rtn = Rtn::new("SUBSCRIPTION_PURCHASED", "twice");
    let (first, other) = (world.sns.notification(&rtn), world.sns.notification(&rtn));
    for message in [&first, &first, &other] {
        world.post_until_accepted(message).await;
    }
    world.wait_notified("twice", 1).await;
    world.pass("twice", 121).await;
    let received = world.wait_received("twice", 1).await;
    assert_eq!(
        received
            .first()
            .map(|request| request.body["attributes"]["coalesced"].as_i64()),
        Some(Some(1))
    );
    world.wait_asleep("twice").await;

    let late = world.sns.notification(&rtn);
    for message in [&first, &other, &late] {
        world.post_until_accepted(message).await;
    }
    for (message, outcome) in [
        (&first, "settled"),
        (&other, "duplicate"),
        (&late, "duplicate"),
    ] {
        let notifications = world.wait_outcome(&message.id).await;
        let outcomes: Vec<_> = notifications
            .iter()
            .map(|one| one["outcome"].as_str().unwrap_or_default())
            .collect();
        assert_eq!(outcomes, [outcome], "{notifications:?}");
    }
    wait::throughout(Duration::from_secs(2), "the purchase sleeps", async || {
        let is_open = world.temporal.is_open(&world.workflow("twice")).await;
        if is_open {
            Err("a run is open".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    assert_eq!(world.receiver.all().len(), 1, "nothing more was sent");
    assert_eq!(world.events("twice").await.len(), 1, "one event");
    world.finish().await;
}
