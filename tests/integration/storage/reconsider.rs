//! A change that affects more purchases than one transaction should: the first are rechecked with the change, the
//! others in batches by the sweep of any process.

use super::batches::{fail_no_more, fail_where};
use super::seeded::Seed;
use super::world::{REFUSAL, World, of_secret, record, story};
use domain::{CollapseKey, Environment};
use storage::{Change, PlatformSettings, Product, Recorded, Run};

const MANY: i64 = 2_500;
/// Number of purchases in a batch.
const BATCH: i64 = 1_000;
/// A limit that no test reaches.
const ALL: i64 = 10_000;

/// Inserts many purchases, half of `month` and half of `year`, with keys that precede those of all others.
fn crowd(world: &World) {
    let many = world
        .purchases()
        .numbered(1, MANY)
        .sql("receipt_id", "'c' || i")
        .text("product_id", "plan");
    let many = many
        .sql(
            "collapse_key",
            "'00000000-0000-5000-8000-' || (100000000000 + i)",
        )
        .sql("verify_attempts", 3);
    let many = many
        .sql(
            "term_sku",
            "CASE WHEN i % 2 = 0 THEN 'month' ELSE 'year' END",
        )
        .sql("unverified_since", 1);
    world.raw().run(&many);
}

/// Inserts the crowd, and settles one purchase whose key comes last.
async fn crowd_and_one(world: &World) -> CollapseKey {
    crowd(world);
    world.revise("r1", 1).await;
    world.key("r1")
}

/// Returns the reasons of the recorded rechecks.
fn noted(world: &World) -> Vec<String> {
    world
        .raw()
        .texts("SELECT why AS value FROM rechecks ORDER BY why")
}

fn count(world: &World, which: &str) -> i64 {
    world.count(&format!("purchases WHERE {which}"))
}

story! {
    async fn a_change_wakes_the_first_at_once_and_the_rest_in_batches(world: World) {
        let key = crowd_and_one(&world).await;
        let before = world.load(key).await;
        world.set_secret(Some("another")).await;
        assert_eq!((world.woken(), noted(&world)), (BATCH, vec!["secret".to_owned()]));
        assert_eq!(world.store.continue_rechecks(1).await.unwrap(), BATCH, "a batch is not cut");
        assert_eq!(world.woken(), BATCH * 2);
        assert_eq!(world.store.continue_rechecks(ALL).await.unwrap(), MANY + 1 - BATCH * 2);
        assert_eq!((world.woken(), noted(&world).len()), (MANY + 1, 0));
        assert_eq!(count(&world, "settling = 2"), MANY + 1, "each once");
        assert_eq!(count(&world, "causes LIKE '%shared_secret%'"), MANY + 1, "each with the cause");
        let began_before = world.store.record(record(key, &before)).await.unwrap();
        assert_eq!(began_before, Recorded::Moved, "the decision used the settings before the change");
        assert_eq!(world.store.continue_rechecks(ALL).await.unwrap(), 0);
        world.settle(key).await;
        assert_eq!(world.woken(), MANY);
    }
}

story! {
    async fn a_purchase_recorded_before_its_batch_is_rechecked(world: World) {
        let key = crowd_and_one(&world).await;
        let before = world.load(key).await;
        world.set(|settings| settings.environment = Environment::Sandbox).await;
        assert_eq!((world.woken(), noted(&world)), (0, vec!["environment".to_owned()]), "all of these were accepted");
        let parked = |loaded| {
            let mut parked = record(key, loaded);
            parked.decision.waits = Some(domain::Waits::Parked(domain::Parked::UnknownReceipt));
            parked
        };
        let outdated = world.store.record(parked(&before)).await.unwrap();
        assert_eq!(outdated, Recorded::Moved, "the store's other environment may know it");
        world.done(parked(&world.load(key).await)).await;
        assert_eq!(count(&world, "waits_for = 'parked'"), 1);
        world.store.continue_rechecks(ALL).await.unwrap();
        assert_eq!((world.woken(), count(&world, "waits_for = 'parked' AND settling = 3")), (1, 1));
    }
}

story! {
    async fn a_sweep_that_dies_between_batches_is_resumed(world: World) {
        crowd_and_one(&world).await;
        fail_where(&world, "purchases", "NEW.next_wake_at IS NOT NULL AND NEW.receipt_id = 'c2100'");
        world.set_secret(Some("another")).await;
        world.store.continue_rechecks(ALL).await.unwrap_err();
        assert_eq!((world.woken(), noted(&world).len()), (BATCH * 2, 1));
        let second = world.second_process().await;
        second.continue_rechecks(ALL).await.unwrap_err();
        assert_eq!(world.woken(), BATCH * 2, "a batch that fails again is left again");
        fail_no_more(&world, "purchases");
        assert_eq!(second.continue_rechecks(ALL).await.unwrap(), MANY + 1 - BATCH * 2,
            "it continues where it was interrupted");
        assert_eq!((count(&world, "settling = 2"), noted(&world).len()), (MANY + 1, 0));
    }
}

story! {
    async fn a_change_whose_first_batch_fails_is_rolled_back(world: World) {
        crowd(&world);
        fail_where(&world, "purchases", "NEW.next_wake_at IS NOT NULL AND NEW.receipt_id = 'c7'");
        let rename = |settings: &mut PlatformSettings| settings.name = "renamed".to_owned();
        world.store.update_platform(world.platform.id, of_secret(Some("another")), rename).await.unwrap_err();
        assert_eq!((world.woken(), noted(&world).len()), (0, 0));
        assert_eq!(world.store.platform(world.platform.id).await.unwrap(), world.platform);
    }
}

story! {
    async fn a_second_change_restarts_and_loses_nothing_of_the_first(world: World) {
        crowd(&world);
        let change = async |sku: &str| {
            let product = Change::SetProduct(sku.to_owned(), Product::default());
            world.store.change_catalogue(world.app.id, product, Run::Real).await.unwrap()
        };
        assert_eq!(change("month").await, MANY / 2);
        assert_eq!((world.woken(), noted(&world)), (BATCH / 2, vec!["catalogue".to_owned()]));
        world.store.continue_rechecks(1).await.unwrap();
        assert_eq!((world.woken(), count(&world, "next_wake_at IS NOT NULL AND term_sku = 'year'")), (BATCH, 0));
        assert_eq!(change("year").await, MANY / 2);
        assert_eq!(world.woken(), BATCH + BATCH / 2, "an unfinished recheck starts again");
        world.store.continue_rechecks(ALL).await.unwrap();
        assert_eq!((world.woken(), noted(&world).len()), (MANY, 0));
        assert_eq!(world.count("recheck_skus"), 0);
        world.sleep();
        world.seed(&Seed { receipt: "r1", term_sku: Some("rare"), product: Some("dear"), ..Seed::default() });
        for sku in ["rare", "dear"] {
            assert_eq!((change(sku).await, world.woken(), noted(&world).len()), (1, 1, 0), "few are woken at once");
            world.sleep();
        }
        assert_eq!(change("plan").await, MANY);
        world.store.continue_rechecks(ALL).await.unwrap();
        assert_eq!(world.woken(), MANY, "by the SKU of the product too, and no other");
    }
}

story! {
    async fn purchases_closed_since_the_first_refusal_are_retried(world: World) {
        crowd(&world);
        world.raw().run("UPDATE purchases SET state = 'expired', updated_at = 5");
        world.refuse_secret(5);
        world.set_secret(Some("one")).await;
        world.set_secret(Some("two")).await;
        world.store.continue_rechecks(ALL).await.unwrap();
        assert_eq!((world.woken(), noted(&world).len()), (MANY, 0));
    }
}

story! {
    async fn failures_restart_with_the_change_not_its_batch(world: World) {
        let key = crowd_and_one(&world).await;
        let fail = async || world.store.verify_failed(key, "HTTP 503").await.unwrap().attempts;
        assert_eq!((fail().await, fail().await), (1, 2));
        world.pass(1_000);
        world.set_secret(Some("another")).await;
        assert_eq!(count(&world, "unverified_since IS NOT NULL"), MANY + 1 - BATCH);
        world.pass(1_000);
        assert_eq!((fail().await, fail().await), (1, 2));
        world.store.continue_rechecks(ALL).await.unwrap();
        assert_eq!((count(&world, "unverified_since IS NOT NULL"), fail().await), (1, 3),
            "failures after the change count");
        world.sleep();
        world.raw().run("UPDATE purchases SET unverified_since = 1");
        let query = world.store.store_query(key).await.unwrap().unwrap();
        assert!(world.store.refuse_secret(&query, REFUSAL).await.unwrap());
        assert_eq!((fail().await, noted(&world)), (1, vec!["failures".to_owned()]));
        world.store.continue_rechecks(ALL).await.unwrap();
        assert_eq!((count(&world, "unverified_since = 1"), world.woken(), noted(&world).len()), (0, 0, 0));
    }
}

story! {
    async fn parked_purchases_are_woken_at_once_when_few_wait(world: World) {
        let key = crowd_and_one(&world).await;
        let retry = async || world.store.retry_parked(world.platform.id).await.unwrap();
        world.raw().run(&format!("UPDATE purchases SET waits_for = 'parked' WHERE collapse_key = '{key}'"));
        assert_eq!((retry().await, world.woken(), noted(&world).len()), (1, 1, 0));
        world.sleep();
        world.raw().run("UPDATE purchases SET waits_for = 'parked'");
        assert_eq!((retry().await, world.woken(), noted(&world)), (MANY + 1, BATCH, vec!["parked".to_owned()]));
        world.store.continue_rechecks(ALL).await.unwrap();
        assert_eq!((world.woken(), noted(&world).len()), (MANY + 1, 0));
    }
}

story! {
    async fn the_open_duties_of_a_platform_are_due_batch_by_batch(world: World) {
        crowd(&world);
        let columns = "id, kind, platform_id, collapse_key, created_at, answer_by";
        world.raw().run(&format!(
            "INSERT INTO duties ({columns}) SELECT collapse_key, 'acknowledge', platform_id, collapse_key, 1, 1 FROM purchases"
        ));
        let (platform, unsettled) = (world.platform.id, world.key("unsettled"));
        world.raw().run(&format!(
            "INSERT INTO duties ({columns}) VALUES ('{unsettled}', 'acknowledge', '{platform}', '{unsettled}', 1, 1)"
        ));
        let due = || world.count("duties WHERE due_at IS NOT NULL");
        world.set_secret(Some("another")).await;
        assert_eq!(due(), BATCH);
        world.store.continue_rechecks(1).await.unwrap();
        assert_eq!(due(), BATCH * 2);
        world.store.continue_rechecks(ALL).await.unwrap();
        assert_eq!(due(), MANY + 1);
    }
}
