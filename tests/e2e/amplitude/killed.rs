//! `kill -9` of the worker while it sends to Amplitude: events that were sent but not recorded as delivered are sent
//! again and counted once; recorded ones are not sent again.

use super::settings::patch;
use super::{Analysts, KEY, MINUTE};
use serde_json::json;
use std::os::unix::process::ExitStatusExt;
use system_tests::subscription::Subscription;

/// The fail points at which the worker aborts, and whether Amplitude receives the same events again.
const POINTS: [(&str, bool); 2] = [
    ("deliver.after_send", true),
    ("deliver.after_finish", false),
];
/// Number of events of a new trial.
const EVENTS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_sending_to_amplitude_counts_once() {
    let mut own = Analysts::start("info", &["*"]).await;
    for (number, (point, is_repeated)) in POINTS.into_iter().enumerate() {
        let customer = format!("amzn1.account.KILLED{number}");
        own.name(&customer, &format!("killed{number}@shop")).await;
        let before = own.amplitude.repeated(KEY);
        let mut bought =
            bought_and_killed(&mut own, point, &format!("killed-{number}"), &customer).await;
        let repeated = own.amplitude.repeated(KEY);
        assert_eq!(
            repeated - before,
            if is_repeated { EVENTS } else { 0 },
            "after {point}"
        );
        check_counted_once(&own, point).await;

        // The new worker continues.
        let notifications = bought.switch_off(own.now());
        own.happen(vec![(bought, notifications)]).await;
        own.drain(MINUTE).await;
        check_counted_once(&own, point).await;
        assert_eq!(
            own.amplitude.repeated(KEY),
            repeated,
            "nothing more comes twice after {point}"
        );
    }
    own.finish().await;
}

/// Begins a trial, whose events are sent in one request, and waits until the worker has aborted. Nothing else is sent
/// meanwhile, so that the worker aborts at this request.
async fn bought_and_killed(
    own: &mut Analysts,
    point: &str,
    receipt_id: &str,
    customer: &str,
) -> Subscription {
    let webhook = own.world().destination_id.clone();
    patch(own, &webhook, &json!({ "enabled": false })).await;
    own.calendar
        .restart_with(&format!("{point}=1*return"))
        .await;
    let before = own.amplitude.requests().len();
    let (bought, notifications) = Subscription::begin(receipt_id, customer, own.now(), Some(3));
    own.world().show(&bought);
    let messages: Vec<_> = notifications
        .iter()
        .map(|rtn| own.world().sns.notification(rtn))
        .collect();
    for message in &messages {
        own.calendar.world.post_until_accepted(message).await;
    }
    let exit = own.calendar.world.worker().wait_end().await;
    assert_eq!(
        exit.signal(),
        Some(6),
        "{point}: ended with {exit} and not by aborting itself"
    );
    let sent = own.amplitude.requests().split_off(before);
    let counts: Vec<_> = sent
        .iter()
        .map(|exchange| exchange.events().len())
        .collect();
    assert_eq!(counts, [EVENTS], "{point}: one request: {sent:?}");

    own.calendar.restart().await;
    patch(own, &webhook, &json!({ "enabled": true })).await;
    for message in &messages {
        own.world().wait_outcome(&message.id).await;
    }
    own.drain(MINUTE).await;
    bought
}

/// Checks that each event is counted once, and that each profile shows the latest state.
async fn check_counted_once(own: &Analysts, point: &str) {
    let count = own.same_events(KEY).await;
    let users = own.newest_profiles(KEY);
    println!("{point}: {count} events of {users} users");
}
