//! One user in two environments: what is sent about one environment does not affect the other.

use super::claims::snapshot;
use super::many_purchases::shown;
use super::sending::{RETRY, Sent, finish, lease, must_send, rendering};
use super::world::{
    BEGINNING, World, happened, new_destination, new_platform, record, renewal, story,
};
use domain::time::{duration, millis};
use domain::{
    CollapseKey, DestinationId, Environment, PlatformId, RedeliverySelector, Snapshot, Timestamp,
    TransitionKind,
};
use serde_json::{Value, json};
use storage::{
    CustomerName, DestinationNeed, EndpointSignal, Filter, Idle, Lease, LeaseResult, Page,
    Rendered, Run, Verdict,
};

const TEN_MINUTES_MS: i64 = 600_000;

/// Creates a sandbox platform in addition to the world's own.
pub async fn sandbox(world: &World) -> PlatformId {
    let mut new = new_platform(&world.app, "sandbox");
    new.settings.environment = Environment::Sandbox;
    world.store.new_platform(new).await.unwrap().id
}

/// Settles a transition of the same customer's purchase on another platform.
async fn happen_on(
    world: &World,
    platform: PlatformId,
    receipt: &str,
    what: TransitionKind,
) -> CollapseKey {
    world
        .accept(renewal(
            platform,
            &format!("{receipt}-there"),
            receipt,
            1_000,
        ))
        .await;
    let key = CollapseKey::of(platform, receipt);
    world
        .done(happened(record(key, &world.load(key).await), &[what]))
        .await;
    key
}

/// Returns the acknowledged revision of the only user's state in an environment; 0 if there is none.
fn acknowledged(world: &World, environment: &str) -> i64 {
    world.raw().number(&format!(
        "SELECT COALESCE(MAX(acked_revision), 0) AS value FROM user_lanes WHERE environment = '{environment}'"
    ))
}

story! {
    async fn a_state_is_stale_by_its_own_environment_only(world: World) {
        let to = world.analytics("analytics").await.id;
        let there = sandbox(&world).await;
        let tested = happen_on(&world, there, "t1", TransitionKind::Renewed).await;
        let stuck = world.attempt(tested, to, "a").await;
        assert!(!stuck.is_stale);
        world.finish(&stuck, RETRY).await;
        world.happen("p1", 1, &[TransitionKind::Expired]).await;
        let newer = world.attempt(world.key("p1"), to, "b").await;
        assert!(!newer.is_stale);
        world.finish(&newer, Verdict::Delivered).await;
        assert_eq!((acknowledged(&world, "production"), acknowledged(&world, "sandbox")), (2, 0));
        world.pass(5_001);
        let state = world.attempt(tested, to, "c").await;
        world.finish(&state, Verdict::Delivered).await;
        let again = world.attempt(tested, to, "d").await;
        assert!(again.event_type == "user.subscription.renewed" && !again.is_stale,
            "nothing newer was sent about the sandbox");
        world.finish(&again, RETRY).await;
        let newest = happen_on(&world, there, "t2", TransitionKind::Purchased).await;
        let newest = world.attempt(newest, to, "e").await;
        world.finish(&newest, Verdict::Delivered).await;
        world.pass(5_001);
        let again = world.attempt(tested, to, "f").await;
        assert!(again.is_stale, "now a newer state was sent about the sandbox");
        world.finish(&again, Verdict::Delivered).await;
        assert_eq!((acknowledged(&world, "production"), acknowledged(&world, "sandbox")), (2, 3));
        assert_eq!(world.broken(1000).await, []);
        world.raw().run("UPDATE user_lanes SET acked_revision = NULL WHERE environment = 'sandbox'");
        assert_eq!(world.broken(1000).await, [("a_users_state_is_recorded", 2)],
            "the state of the other environment does not count");
    }
}

story! {
    async fn a_user_lease_spans_environments_and_a_pause_does_not(world: World) {
        let to = world.analytics("analytics").await.id;
        let there = sandbox(&world).await;
        let tested = happen_on(&world, there, "t1", TransitionKind::Renewed).await;
        for receipt in ["p1", "p2"] {
            world.happen(receipt, 1, &[TransitionKind::Renewed]).await;
        }
        let here = world.attempt(world.key("p1"), to, "a").await;
        for key in [world.key("p2"), tested] {
            let second = world.lease(key, to, "b").await;
            assert!(matches!(second, LeaseResult::Idle(Idle::UserBusy { .. })), "a notification of a platform may be of either: {second:?}");
        }
        assert!(matches!(world.store.destination_need(to, 9).await.unwrap(), DestinationNeed::Pause { .. }), "nothing can be sent now");
        world.finish(&here, RETRY).await;
        let other = world.attempt(tested, to, "c").await;
        let second = world.lease(world.key("p2"), to, "d").await;
        assert!(matches!(second, LeaseResult::Idle(Idle::UserBusy { .. })), "{second:?}");
        let mut throttled = finish(&other, RETRY);
        (throttled.result.endpoint_signal, throttled.result.user_pause) = (EndpointSignal::Success, Some(duration(TEN_MINUTES_MS)));
        world.end(throttled).await;
        world.pass(6_000);
        let leased = world.lease(tested, to, "e").await;
        assert!(matches!(leased, LeaseResult::Idle(Idle::Wait { wait, .. }) if millis(wait) > TEN_MINUTES_MS - 60_000), "{leased:?}");
        let DestinationNeed::Drain { mut keys, .. } = world.store.destination_need(to, 9).await.unwrap() else { panic!("nothing to drain") };
        keys.sort_unstable();
        let mut pending = [world.key("p1"), world.key("p2")];
        pending.sort_unstable();
        assert_eq!(keys, pending);
        let second = world.attempt(world.key("p2"), to, "f").await;
        world.finish(&second, Verdict::Delivered).await;
        world.pass(TEN_MINUTES_MS);
        world.attempt(tested, to, "g").await;
    }
}

story! {
    async fn a_purchase_stays_in_its_first_announced_environment(world: World) {
        let to = world.analytics("analytics").await.id;
        world.happen("p1", 1, &[TransitionKind::Renewed]).await;
        let stuck = world.attempt(world.key("p1"), to, "a").await;
        world.finish(&stuck, RETRY).await;
        world.set(|settings| settings.environment = Environment::Sandbox).await;
        world.pass(5_001);
        for token in ["b", "c"] {
            let sent = world.attempt(world.key("p1"), to, token).await;
            world.finish(&sent, Verdict::Delivered).await;
        }
        assert_eq!((acknowledged(&world, "production"), acknowledged(&world, "sandbox")), (1, 0));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_test_purchase_of_a_production_platform_is_sandbox(world: World) {
        let to = world.analytics("analytics").await.id;
        world.happen("t1", 1, &[TransitionKind::Renewed]).await;
        world.raw().run(
            "UPDATE events SET body = REPLACE(body, '\"is_production\":true', '\"is_production\":false')
                 WHERE event_type = 'purchase.updated'",
        );
        world.happen("p1", 1, &[TransitionKind::Renewed]).await;
        for (receipt, environments) in [("t1", (0, 1)), ("p1", (2, 1))] {
            let sent = world.attempt(world.key(receipt), to, receipt).await;
            assert_eq!(sent.types(), ["user.subscription.renewed"]);
            world.finish(&sent, Verdict::Delivered).await;
            let found = (acknowledged(&world, "production"), acknowledged(&world, "sandbox"));
            assert_eq!(found, environments, "{receipt}");
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

/// Adds the product of all purchases in this file to the catalogue.
pub fn list(world: &World) {
    world.list_product("term", &json!([]), &["premium"]);
}

/// Buys and pays for `months` months as the same customer, optionally as a test purchase.
pub async fn buy(
    world: &World,
    platform: PlatformId,
    receipt: &str,
    months: i64,
    is_test: bool,
) -> CollapseKey {
    let key = CollapseKey::of(platform, receipt);
    for month in 1..=months {
        let mut new = renewal(
            platform,
            &format!("{receipt}-{month}"),
            receipt,
            month * 1000,
        );
        if is_test {
            new.body = new.body.replace("\"is_test\":false", "\"is_test\":true");
        }
        world.accept(new).await;
        let settled = record(key, &world.load(key).await);
        let whats: &[TransitionKind] = if month == months {
            &[TransitionKind::Purchased]
        } else {
            &[]
        };
        world.done(happened(settled, whats)).await;
    }
    key
}

/// Sends a purchase's next event. The request contains the event's environment, and the end of the user's access twice:
/// in that environment, and in the state that the destination wants.
async fn send_ends(world: &World, lane: (CollapseKey, DestinationId)) -> Sent {
    let render = rendering(|unsent| {
        let end = |state: &Value| state["active_entitlements"][0]["expiration"].clone();
        Rendered::Body(
            json!([
                unsent.environment.as_str(),
                end(&unsent.user_state),
                end(&unsent.body)
            ])
            .to_string(),
        )
    });
    let sent = must_send(
        &world.store,
        Lease {
            render,
            ..lease(lane.0, lane.1, "ends")
        },
    )
    .await;
    world.finish(&sent, Verdict::Delivered).await;
    sent
}

fn after(months: i64) -> Value {
    json!(Timestamp::from_micros(BEGINNING).plus_millis(months * 30 * 24 * 3600 * 1000))
}

story! {
    async fn each_environment_gets_its_own_purchases(world: World) {
        let to = world.analytics("analytics").await.id;
        let both = world.destination("both").await.id;
        world.alter(both, |common| common.both_environments = true).await;
        list(&world);
        let (here, there) = (world.platform.id, sandbox(&world).await);
        for (number, (platform, months, is_test, environment, ends)) in [
            (there, 2, false, "sandbox", (2, 2)),
            (here, 1, false, "production", (1, 2)),
            (here, 4, true, "sandbox", (4, 4)),
            (here, 3, false, "production", (3, 4)),
            (here, 5, false, "production", (5, 5)),
            (there, 1, false, "sandbox", (4, 5)),
        ]
        .into_iter()
        .enumerate()
        {
            let key = buy(&world, platform, &format!("r{number}"), months, is_test).await;
            let sent = send_ends(&world, (key, to)).await;
            assert_eq!(sent.types(), ["user.subscription.purchased"]);
            let received: Value = serde_json::from_str(&sent.body).unwrap();
            assert_eq!(received, json!([environment, after(ends.0), after(ends.0)]), "r{number}");
            let sent = send_ends(&world, (key, both)).await;
            let received: Value = serde_json::from_str(&sent.body).unwrap();
            assert_eq!(received, json!([environment, after(ends.0), after(ends.1)]), "r{number} to who wants both");
            let stored = world.bodies_like("user.subscription.purchased").pop().unwrap();
            assert_eq!(stored["active_entitlements"][0]["expiration"], after(ends.0), "r{number} in lists and pages");
        }
        // An event of release 0.1.0 contains the state over both environments in its body, and the environment's own
        // state in `state_apart`.
        let key = buy(&world, here, "old", 6, false).await;
        world.raw().run(
            "UPDATE events SET state_apart = '{\"active_entitlements\": [], \"active_skus\": []}', views = NULL
                 WHERE user_revision = (SELECT MAX(user_revision) FROM events)",
        );
        for (to, end) in [(to, Value::Null), (both, after(6))] {
            let sent = send_ends(&world, (key, to)).await;
            let received: Value = serde_json::from_str(&sent.body).unwrap();
            assert_eq!(received[2], end);
        }
    }
}

story! {
    async fn what_the_test_environment_knows_stays_a_test(world: World) {
        list(&world);
        world.set(|settings| settings.environment = Environment::Sandbox).await;
        world.notify("m1", "tested", 1_000).await;
        let tried = Snapshot { environment: Environment::Sandbox, ..snapshot(world.store.now().await.unwrap()) };
        world.done(happened(shown(&world, "tested", tried.clone()).await, &[TransitionKind::Purchased])).await;
        world.set(|settings| settings.environment = Environment::Production).await;
        let key = world.key("tested");
        let query = world.store.store_query(key).await.unwrap().expect("it can be verified");
        assert_eq!(query.environment, Environment::Sandbox, "where the store knows it");
        world.done(happened(shown(&world, "tested", tried).await, &[TransitionKind::Renewed])).await;
        let renewed = world.bodies_like("user.subscription.renewed").pop().unwrap();
        assert_eq!(renewed["environment"], "sandbox");
        let name = CustomerName::User(world.store.purchase(key).await.unwrap().standing.user_id.unwrap());
        let state = world.store.customer_state(world.app.id, name, Environment::Production).await.unwrap();
        assert_eq!(state.state.unwrap().active_entitlements.len(), 0, "it gives nothing where money counts");
        // A purchase that the store does not know belongs to the platform's environment.
        world.notify("m2", "new", 2_000).await;
        world.settle(world.key("new")).await;
        let query = world.store.store_query(world.key("new")).await.unwrap().expect("it can be verified");
        assert_eq!(query.environment, Environment::Production);
    }
}

story! {
    async fn a_state_of_another_environment_is_never_sent(world: World) {
        let to = world.analytics("analytics").await.id;
        list(&world);
        let key = buy(&world, world.platform.id, "r1", 1, false).await;
        world.set(|settings| settings.environment = Environment::Sandbox).await;
        let sent = send_ends(&world, (key, to)).await;
        assert_eq!(sent.types(), ["user.subscription.purchased"]);
        let received: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!(received, json!(["sandbox", null, after(1)]));
    }
}

/// Creates a webhook that is filtered to these environments.
async fn wanting(world: &World, name: &str, environments: &[Environment]) -> DestinationId {
    let mut new = new_destination(&world.app, name);
    new.common.filter = Filter {
        platforms: Vec::new(),
        environments: environments.to_vec(),
    };
    world.store.new_destination(new).await.unwrap().id
}

/// Delivers all events of these purchases; returns, for each `user.*` event, the index of its purchase and the end of
/// access.
async fn received_by(
    world: &World,
    to: DestinationId,
    keys: &[CollapseKey],
) -> Vec<(usize, Value)> {
    let mut found = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        while let LeaseResult::Send(batch) = world.lease(*key, to, "all").await {
            let sent = Sent {
                batch,
                key: *key,
                to,
                token: "all".to_owned(),
                mode: storage::Mode::Lane,
            };
            let body: Value = serde_json::from_str(&sent.body).unwrap();
            if sent.types() != ["purchase.updated"] {
                found.push((number, body["active_entitlements"][0]["expiration"].clone()));
            }
            world.finish(&sent, Verdict::Delivered).await;
        }
    }
    found
}

story! {
    async fn a_production_destination_gets_no_test_purchase(world: World) {
        list(&world);
        let [money, test] = [Environment::Production, Environment::Sandbox];
        let production = wanting(&world, "production", &[money]).await;
        let sandbox = wanting(&world, "sandbox", &[test]).await;
        let all = wanting(&world, "all", &[]).await;
        let both = wanting(&world, "both", &[money, test]).await;
        let together = wanting(&world, "together", &[money, test]).await;
        world.alter(together, |common| common.both_environments = true).await;
        world.pass(120_000);
        let here = world.platform.id;
        let keys = [buy(&world, here, "money", 2, false).await, buy(&world, here, "test", 4, true).await,
            buy(&world, here, "more", 3, false).await];
        let of = |received: &[(usize, i64)]| received.iter().map(|(key, ends)| (*key, after(*ends))).collect::<Vec<_>>();
        assert_eq!(received_by(&world, production, &keys).await, of(&[(0, 2), (2, 3)]),
            "the state of its own environment");
        assert_eq!(received_by(&world, sandbox, &keys).await, of(&[(1, 4)]));
        assert_eq!(received_by(&world, all, &keys).await, of(&[(0, 2), (1, 4), (2, 3)]),
            "no test purchase where money counts");
        assert_eq!(received_by(&world, both, &keys).await, of(&[(0, 2), (1, 4), (2, 3)]));
        assert_eq!(received_by(&world, together, &keys).await, of(&[(0, 2), (1, 4), (2, 4)]));
        world.pass(120_000);
        assert_eq!(world.broken(1000).await, []);
        for (to, wanted) in [(production, [true, false, true]), (sandbox, [false, true, false]), (all, [true; 3])] {
            let mut expected: Vec<_> = keys.into_iter().zip(wanted).filter(|(_, wants)| *wants).map(|(key, _)| key).collect();
            expected.sort_unstable();
            let fed = world.store.feed(world.app.id, Some(to), Page::default()).await.unwrap().items;
            assert_eq!(fed.iter().map(|one| one.collapse_key).collect::<Vec<_>>(), expected);
            let all = RedeliverySelector::All.to(to);
            let replayed = world.store.resend(all, Page::default(), Run::Dry).await.unwrap();
            assert_eq!(replayed.requeued.pending, i64::try_from(expected.len()).unwrap());
            world.raw().run(&format!("DELETE FROM attempts; DELETE FROM deliveries WHERE destination_id = '{to}'"));
            let (mut missing, mut cursor, mut sorted) = (Vec::new(), None, keys);
            sorted.sort_unstable();
            for key in sorted {
                let page = Page { cursor, limit: 1 };
                let part = world.store.resend(RedeliverySelector::NeverQueued.to(to), page, Run::Dry).await.unwrap();
                missing.extend((part.requeued.pending == 1).then_some(key));
                cursor = part.next_cursor;
            }
            assert_eq!(missing, expected);
        }
        let broken = world.broken(1000).await;
        let (on_sqlite, missing) = (!world.is_postgres(), broken.iter().any(|(rule, _)| *rule == "an_event_was_queued"));
        assert_eq!(missing, on_sqlite, "the check misses what was queued: {broken:?}");
    }
}

story! {
    async fn an_event_is_explained_by_its_recorded_environment(world: World) {
        let key = buy(&world, world.platform.id, "test", 1, true).await;
        let other = buy(&world, world.platform.id, "money", 1, false).await;
        world.set(|settings| settings.environment = Environment::Sandbox).await;
        for (key, environment) in [(key, Environment::Sandbox), (other, Environment::Production)] {
            let received = world.store.explain_purchase(key).await.unwrap().events;
            assert!(!received.is_empty());
            for one in received {
                assert_eq!(one.event.origin.map(|(.., recorded_in)| recorded_in), Some(environment));
            }
        }
        let production = wanting(&world, "production", &[Environment::Production]).await;
        let all = RedeliverySelector::All.to(production);
        let replayed = world.store.resend(all, Page::default(), Run::Dry).await.unwrap();
        assert_eq!(replayed.requeued.pending, 1, "an event that was queued once may be queued again");
    }
}
