//! Operators' events about a failing destination: each is sent once to another destination that subscribes to them, by
//! that destination's run and without the sweep, and is counted in the metrics.

use crate::metrics::wait_shown;
use domain::{CollapseKey, DestinationId};
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::receiver::{Received, Receiver, Reply};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use workflows::contract;

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const STOPPED: &str = "SUBSCRIPTION_AUTO_RENEWAL_OFF";
const PURCHASED: &str = "user.subscription.purchased";
const CANCELLED: &str = "user.subscription.cancelled";
/// The purchase whose first event is refused.
const REFUSED: &str = "refused";
/// Number of refusals after which an event is given up.
const REFUSALS: usize = 5;
/// Number of purchases: more than are needed to open a breaker.
const MANY: usize = 12;
/// Expected events: type, state and part of the reason.
const EVENTS: [(&str, &str, Option<&str>); 4] = [
    (
        "destination.exhausted",
        "failing",
        Some("the endpoint answered 404, and refused it 5 times"),
    ),
    (
        "destination.failing",
        "open",
        Some("the endpoint answered 500"),
    ),
    ("destination.recovered", "healthy", None),
    (
        "destination.disabled",
        "disabled",
        Some("the endpoint answered 410"),
    ),
];

/// A failing destination, one that receives the events about it, and one that receives those about alarms. The world's
/// own destination subscribes to `*`.
struct Pair {
    failing: Receiver,
    failing_id: String,
    watching: Receiver,
    alarmed: Receiver,
}

impl Pair {
    /// Adds the destinations to the world's app. The failing one also subscribes to operators' events; the one that
    /// watches it fails its first request.
    async fn join(world: &World) -> Self {
        let [failing, watching, alarmed] = [
            Receiver::start().await,
            Receiver::start().await,
            Receiver::start().await,
        ];
        let failing_id = add(world, &failing, &["user.*", "destination.*", "alarm.*"]).await;
        add(world, &watching, &["destination.*"]).await;
        add(world, &alarmed, &["alarm.*"]).await;
        watching.answer_next(1, &Reply::Status(500));
        Self {
            failing,
            failing_id,
            watching,
            alarmed,
        }
    }

    /// Waits until exactly these events about the alarm on the failing destination were acknowledged: their types, and
    /// who closed the alarm.
    async fn wait_alarms(&self, wanted: &[(&str, Option<&str>)]) {
        wait::until(SOON, &format!("{wanted:?}"), async || {
            let all = self.alarmed.all();
            let about = all
                .iter()
                .filter(|one| one.body["alarm"]["kind"] == "destination_failing");
            let found: Vec<_> = about
                .map(|one| (one.event_type(), one.body["closed_by"].as_str()))
                .collect();
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }

    /// Waits until the first `count` of [`EVENTS`] were acknowledged.
    async fn wait_received(&self, count: usize) {
        let wanted: Vec<&str> = EVENTS
            .iter()
            .take(count)
            .map(|(event_type, ..)| *event_type)
            .collect();
        wait::until(SOON, &format!("{wanted:?}"), async || {
            let all = self.watching.all();
            let event_types: Vec<&str> = all
                .iter()
                .filter(|one| one.is_acked())
                .map(Received::event_type)
                .collect();
            if event_types == wanted {
                Ok(())
            } else {
                Err(format!("{event_types:?}"))
            }
        })
        .await;
    }

    /// Waits until exactly these events of a receipt were acknowledged.
    async fn wait_events(&self, receipt_id: &str, wanted: &[&str]) {
        wait::until(SOON, &format!("{wanted:?} of {receipt_id}"), async || {
            let types = self.failing.event_types(receipt_id);
            if types == wanted {
                Ok(())
            } else {
                Err(format!("{types:?}"))
            }
        })
        .await;
    }
}

/// Adds a destination with a back-off of one second, and returns its id.
async fn add(world: &World, receiver: &Receiver, events: &[&str]) -> String {
    let events: Vec<String> = events.iter().map(|&name| name.to_owned()).collect();
    let id = world.add_destination(receiver, &events).await;
    let path = format!("/v1/destinations/{id}");
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "schedule": vec![1; 10] }))
            .await
            .ok(),
    );
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn each_health_change_of_a_destination_is_announced_once() {
    let setting = Setting {
        window_seconds: 1,
        events: vec!["*".to_owned()],
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let pair = Pair::join(&world).await;
    refuse_until_failed(&mut world, &pair).await;
    pair.wait_received(1).await;

    pair.failing.answer(Reply::Status(500));
    let receipts: Vec<String> = (0..MANY).map(|number| format!("many-{number}")).collect();
    for receipt_id in &receipts {
        world.send(BOUGHT, receipt_id).await;
    }
    world.wait_state(&pair.failing_id, "open").await;
    pair.wait_received(2).await;
    pair.wait_alarms(&[("alarm.opened", None)]).await;

    pair.failing.answer(Reply::Status(200));
    world
        .request(
            &format!("/v1/destinations/{}/probe", pair.failing_id),
            &json!({}),
        )
        .await;
    pair.wait_received(3).await;
    pair.wait_alarms(&[("alarm.opened", None), ("alarm.closed", Some("settle"))])
        .await;
    for receipt_id in &receipts {
        pair.wait_events(receipt_id, &[PURCHASED]).await;
    }

    pair.failing.answer(Reply::Status(410));
    world.send(BOUGHT, "gone").await;
    world.wait_state(&pair.failing_id, "disabled").await;
    world.let_be_pending(
        &pair.failing_id,
        "its endpoint answers 410, which disables it",
    );
    pair.wait_received(4).await;
    check(&world, &pair).await;
    world.finish().await;
}

/// Refuses the first event of a purchase with 404: after five refusals, the event is given up although its schedule is
/// longer, and the next event arrives.
async fn refuse_until_failed(world: &mut World, pair: &Pair) {
    pair.failing.answer_next(REFUSALS, &Reply::Status(404));
    world.send(BOUGHT, REFUSED).await;
    wait::until(SOON, "the first refusal", async || {
        let count = pair.failing.count();
        if count > 0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
    world.send(STOPPED, REFUSED).await;
    pair.wait_events(REFUSED, &[CANCELLED]).await;
    let all = pair.failing.all();
    let attempts: Vec<_> = all
        .iter()
        .map(|one| (one.event_type(), one.status))
        .collect();
    let mut expected = vec![(PURCHASED, Some(404)); REFUSALS];
    expected.push((CANCELLED, Some(200)));
    assert_eq!(attempts, expected, "of a purchase in order");
    assert!(
        all[..REFUSALS]
            .iter()
            .all(|one| one.webhook_id == all[0].webhook_id),
        "{all:?}"
    );
    let deliveries = world.deliveries(REFUSED).await;
    let failed: Vec<&Value> = deliveries
        .iter()
        .filter(|one| one["status"] == "failed")
        .collect();
    assert_eq!(failed.len(), 1, "{deliveries:?}");
    assert_eq!(
        (
            &failed[0]["event_type"],
            &failed[0]["destination_id"],
            &failed[0]["attempts"]
        ),
        (&json!(PURCHASED), &json!(pair.failing_id), &json!(REFUSALS)),
    );
}

/// Checks that each operators' event is signed, valid and true and arrived once, and that no other destination received
/// one.
async fn check(world: &World, pair: &Pair) {
    pair.watching.check();
    pair.alarmed.check();
    pair.alarmed
        .check_no_duplicates()
        .unwrap_or_else(|broken| panic!("{broken}"));
    for body in pair.alarmed.all().iter().map(|one| &one.body) {
        assert_eq!(
            body["alarm"]["about"].is_string(),
            body["alarm"]["destination_id"] == pair.failing_id.as_str(),
            "{body}"
        );
    }
    let of_failing: Vec<_> = pair.failing.all();
    assert!(
        of_failing
            .iter()
            .all(|one| !one.event_type().starts_with("alarm.")),
        "none about itself"
    );
    pair.watching
        .check_no_duplicates()
        .unwrap_or_else(|broken| panic!("{broken}"));
    let received = pair.watching.all();
    let acked: Vec<&Value> = received
        .iter()
        .filter(|one| one.is_acked())
        .map(|one| &one.body)
        .collect();
    assert_eq!(
        (received.len(), acked.len()),
        (EVENTS.len() + 1, EVENTS.len()),
        "only the first was attempted twice: {received:?}"
    );
    for (body, (event_type, state, reason)) in acked.into_iter().zip(EVENTS) {
        assert_eq!(
            (&body["event_type"], &body["state"]),
            (&json!(event_type), &json!(state)),
            "{body}"
        );
        assert_eq!(
            body["destination"]["id"],
            pair.failing_id.as_str(),
            "{body}"
        );
        let has_reason = match reason {
            Some(reason) => body["reason"]
                .as_str()
                .is_some_and(|text| text.contains(reason)),
            None => body["reason"].is_null(),
        };
        assert!(has_reason, "{body}");
    }
    for other in [&pair.failing, &world.receiver] {
        other.check();
        let found = other
            .all()
            .into_iter()
            .find(|one| one.event_type().starts_with("destination."));
        assert!(found.is_none(), "{found:?}");
    }
    let about: DestinationId = pair.failing_id.parse().expect("a destination id");
    let run = world
        .temporal
        .describe(&contract::workflow_id(CollapseKey::new(about.uuid())))
        .await;
    assert!(run.is_none(), "no purchase's run retries it: {run:?}");
    let of = format!("destination=\"{}\"", pair.failing_id);
    let counted = EVENTS
        .map(|(event, ..)| format!("settle_destination_events_total{{{of},event=\"{event}\"}} 1"));
    wait_shown(world, &counted).await;
}
