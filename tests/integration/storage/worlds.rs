//! One user in two environments: what a destination is told of them in one says nothing of them in the other.

use super::sending::{RETRY, Sent, claim, finish, must_send, rendering};
use super::world::{BEGINNING, World, happened, new_platform, record, story, told};
use domain::{CollapseKey, DestinationId, Environment, PlatformId, Timestamp, What};
use serde_json::{Value, json};
use storage::{Claim, Claimed, Fares, PlatformPatch, Rendered, Tending, Verdict};

const TEN_MINUTES_MS: i64 = 600_000;

/// A platform of the sandbox, beside the world's own.
async fn sandbox(world: &World) -> PlatformId {
    let mut new = new_platform(&world.app, "sandbox");
    new.environment = Environment::Sandbox;
    world.store.new_platform(new).await.unwrap().id
}

/// Something happens to what the same customer bought on another platform.
async fn happen_on(world: &World, platform: PlatformId, (receipt, what): (&str, What)) -> CollapseKey {
    world.accept(told(platform, &format!("{receipt}-there"), receipt, 1_000)).await;
    let key = CollapseKey::of(platform, receipt);
    world.done(happened(record(key, &world.load(key).await), &[what])).await;
    key
}

/// The acknowledged state of the only user in an environment.
fn acknowledged(world: &World, environment: &str) -> i64 {
    world.raw().number(&format!(
        "SELECT COALESCE(MAX(acked_revision), 0) AS value FROM user_lanes WHERE environment = '{environment}'"
    ))
}

story! {
    async fn a_state_is_stale_by_what_was_told_in_its_own_environment(world: World) {
        let to = world.analytics("analytics").await.id;
        let there = sandbox(&world).await;
        let tested = happen_on(&world, there, ("t1", What::Renewed)).await;
        let stuck = world.attempt(tested, to, "a").await;
        assert!(!stuck.is_stale);
        world.finish(&stuck, RETRY).await;
        world.happen("p1", 1, &[What::Expired]).await;
        let newer = world.attempt(world.key("p1"), to, "b").await;
        assert!(!newer.is_stale);
        world.finish(&newer, Verdict::Delivered).await;
        assert_eq!((acknowledged(&world, "production"), acknowledged(&world, "sandbox")), (2, 0));
        world.pass(5_001);
        let state = world.attempt(tested, to, "c").await;
        world.finish(&state, Verdict::Delivered).await;
        let again = world.attempt(tested, to, "d").await;
        assert!(again.event_type == "user.subscription.renewed" && !again.is_stale, "the sandbox has nothing newer");
        world.finish(&again, RETRY).await;
        let newest = happen_on(&world, there, ("t2", What::Purchased)).await;
        let newest = world.attempt(newest, to, "e").await;
        world.finish(&newest, Verdict::Delivered).await;
        world.pass(5_001);
        let again = world.attempt(tested, to, "f").await;
        assert!(again.is_stale, "now it has");
        world.finish(&again, Verdict::Delivered).await;
        assert_eq!((acknowledged(&world, "production"), acknowledged(&world, "sandbox")), (2, 3));
        assert_eq!(world.broken(1000).await, []);
        world.raw().run("UPDATE user_lanes SET acked_revision = NULL WHERE environment = 'sandbox'");
        assert_eq!(world.broken(1000).await, [("a_users_state_is_kept", 2)], "the other environment does not stand for it");
    }
}

story! {
    async fn a_lease_of_a_user_holds_in_both_environments_and_a_pause_in_one(world: World) {
        let to = world.analytics("analytics").await.id;
        let there = sandbox(&world).await;
        let tested = happen_on(&world, there, ("t1", What::Renewed)).await;
        for receipt in ["p1", "p2"] {
            world.happen(receipt, 1, &[What::Renewed]).await;
        }
        let here = world.attempt(world.key("p1"), to, "a").await;
        for key in [world.key("p2"), tested] {
            let second = world.claim(key, to, "b").await;
            assert!(matches!(second, Claimed::Leased { .. }), "what a platform tells may be of either: {second:?}");
        }
        assert!(matches!(world.store.tend(to, 9).await.unwrap(), Tending::Pause { .. }), "nobody can be told now");
        world.finish(&here, RETRY).await;
        let other = world.attempt(tested, to, "c").await;
        let second = world.claim(world.key("p2"), to, "d").await;
        assert!(matches!(second, Claimed::Leased { .. }), "{second:?}");
        let mut throttled = finish(&other, RETRY);
        (throttled.fares, throttled.user_pause_ms) = (Fares::Well, Some(TEN_MINUTES_MS));
        world.end(throttled).await;
        world.pass(6_000);
        let claimed = world.claim(tested, to, "e").await;
        assert!(matches!(claimed, Claimed::Wait { ms, .. } if ms > TEN_MINUTES_MS - 60_000), "{claimed:?}");
        let Tending::Drain { mut keys, .. } = world.store.tend(to, 9).await.unwrap() else { panic!("nothing to drain") };
        keys.sort_unstable();
        let mut owed = [world.key("p1"), world.key("p2")];
        owed.sort_unstable();
        assert_eq!(keys, owed);
        let second = world.attempt(world.key("p2"), to, "f").await;
        world.finish(&second, Verdict::Delivered).await;
        world.pass(TEN_MINUTES_MS);
        world.attempt(tested, to, "g").await;
    }
}

story! {
    async fn what_is_told_stays_in_the_environment_in_which_it_was_told_first(world: World) {
        let to = world.analytics("analytics").await.id;
        world.happen("p1", 1, &[What::Renewed]).await;
        let stuck = world.attempt(world.key("p1"), to, "a").await;
        world.finish(&stuck, RETRY).await;
        let patch = PlatformPatch { environment: Some(Environment::Sandbox), ..PlatformPatch::default() };
        world.store.update_platform(world.platform.id, patch).await.unwrap();
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
    async fn a_test_purchase_of_a_platform_for_money_is_of_the_sandbox(world: World) {
        let to = world.analytics("analytics").await.id;
        world.happen("t1", 1, &[What::Renewed]).await;
        world.raw().run(
            "UPDATE events SET body = REPLACE(body, '\"is_production\":true', '\"is_production\":false')
                 WHERE event_type = 'purchase.updated'",
        );
        world.happen("p1", 1, &[What::Renewed]).await;
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

/// Lists the product that everything here is bought of.
fn list(world: &World) {
    let app = world.app.id;
    world.raw().run(&format!(
        "INSERT INTO entitlements (app_id, ref_id, id, name)
             VALUES ('{app}', 'premium', '6f9619ff-8b86-4011-b42d-00c04fc964ff', 'Premium');
         INSERT INTO products (app_id, sku, prices) VALUES ('{app}', 'term', '[]');
         INSERT INTO product_entitlements (app_id, sku, position, ref_id) VALUES ('{app}', 'term', 0, 'premium')"
    ));
}

/// The same customer buys for so many months, perhaps in a test.
async fn buy(world: &World, platform: PlatformId, (receipt, months, is_test): (&str, i64, bool)) -> CollapseKey {
    let key = CollapseKey::of(platform, receipt);
    for month in 1..=months {
        let mut new = told(platform, &format!("{receipt}-{month}"), receipt, month * 1000);
        if is_test {
            new.body = new.body.replace("\"is_test\":false", "\"is_test\":true");
        }
        world.accept(new).await;
        let settled = record(key, &world.load(key).await);
        let whats: &[What] = if month == months { &[What::Purchased] } else { &[] };
        world.done(happened(settled, whats)).await;
    }
    key
}

/// Sends what happened to a purchase. Its body is the end of the user's access in its environment, and over all.
async fn send_ends(world: &World, lane: (CollapseKey, DestinationId)) -> Sent {
    let render = rendering(|unsent| {
        let end = |state: &Value| state["active_entitlements"][0]["expiration"].clone();
        Rendered::Body(json!([unsent.environment.as_str(), end(&unsent.user_state), end(&unsent.body)]).to_string())
    });
    let sent = must_send(&world.store, Claim { render, ..claim(lane.0, lane.1, "ends") }).await;
    world.finish(&sent, Verdict::Delivered).await;
    sent
}

fn after(months: i64) -> Value {
    json!(Timestamp::from_micros(BEGINNING).plus_millis(months * 30 * 24 * 3600 * 1000))
}

story! {
    async fn each_environment_is_told_of_what_was_bought_in_it(world: World) {
        let to = world.analytics("analytics").await.id;
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
            let key = buy(&world, platform, (&format!("r{number}"), months, is_test)).await;
            let sent = send_ends(&world, (key, to)).await;
            assert_eq!(sent.types(), ["user.subscription.purchased"]);
            let told: Value = serde_json::from_str(&sent.body).unwrap();
            assert_eq!(told, json!([environment, after(ends.0), after(ends.1)]), "r{number}");
        }
        let apart = "SELECT COUNT(state_apart) AS value FROM events";
        assert_eq!(world.raw().number(apart), 3, "only where it is another state");
    }
}

story! {
    async fn a_state_of_another_environment_is_told_in_none(world: World) {
        let to = world.analytics("analytics").await.id;
        list(&world);
        let key = buy(&world, world.platform.id, ("r1", 1, false)).await;
        let patch = PlatformPatch { environment: Some(Environment::Sandbox), ..PlatformPatch::default() };
        world.store.update_platform(world.platform.id, patch).await.unwrap();
        let sent = send_ends(&world, (key, to)).await;
        assert_eq!(sent.types(), ["user.subscription.purchased"]);
        let told: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!(told, json!(["sandbox", null, after(1)]));
    }
}
