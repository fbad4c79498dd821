//! Pages of a resend: each page is recorded once per run, even if its answer was lost and the page is requested again.

use super::aging::DAY_MS;
use super::redelivery::drain;
use super::world::{World, new_platform, story};
use domain::{DestinationId, Receivers, RedeliverySelector, Timestamp};
use storage::{Destination, Error, Page, Redelivered, Run, RunMode};
use system_tests::folder::Folder;
use system_tests::rows;

fn page(cursor: Option<&str>) -> Page {
    Page {
        cursor: cursor.map(str::to_owned),
        limit: 2,
    }
}

fn once(run: &str) -> RunMode {
    RunMode::Once(run.to_owned())
}

async fn replay(
    world: &World,
    to: DestinationId,
    cursor: Option<&str>,
    run: &str,
) -> Result<Redelivered, Error> {
    world
        .store
        .resend(RedeliverySelector::All.to(to), page(cursor), once(run))
        .await
}

/// Settles three purchases, delivers their latest state, and returns the destination.
async fn delivered(world: &World) -> Destination {
    let hook = world.destination("hook").await;
    for receipt in RECEIPTS {
        world.revise(receipt, 1).await;
    }
    arrive(world, hook.id).await;
    hook
}

const RECEIPTS: [&str; 3] = ["r1", "r2", "r3"];

async fn arrive(world: &World, to: DestinationId) {
    for receipt in RECEIPTS {
        drain(world, world.key(receipt), to).await;
    }
}

fn count(world: &World, table: &str) -> i64 {
    world
        .raw()
        .number(&format!("SELECT COUNT(*) AS value FROM {table}"))
}

story! {
    async fn repeating_a_page_of_a_run_answers_alike_and_queues_nothing(world: World) {
        let hook = delivered(&world).await;
        let first = replay(&world, hook.id, None, "run").await.unwrap();
        assert_eq!((first.checked, first.requeued.pending, count(&world, "deliveries")), (2, 2, 5));
        arrive(&world, hook.id).await;
        assert_eq!(replay(&world, hook.id, None, "run").await.unwrap(), first, "its answer was lost");
        let cursor = first.next_cursor.as_deref();
        let second = replay(&world, hook.id, cursor, "run").await.unwrap();
        assert_eq!((second.requeued.pending, second.next_cursor.as_deref(), count(&world, "deliveries")), (1, None, 6));
        arrive(&world, hook.id).await;
        assert_eq!(replay(&world, hook.id, cursor, "run").await.unwrap(), second);
        assert_eq!(count(&world, "deliveries"), 6);
        assert_eq!(replay(&world, hook.id, None, "another").await.unwrap().requeued.pending, 2);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn repeating_a_page_of_a_backfill_queues_nothing(world: World) {
        let hook = delivered(&world).await;
        let late = world.destination("late").await;
        let request = async |run: &str, cursor: Option<&str>| {
            world.store.resend(RedeliverySelector::NeverQueued.to(late.id), page(cursor), once(run)).await.unwrap()
        };
        let first = request("run", None).await;
        assert_eq!((first.checked, first.requeued.pending, count(&world, "deliveries")), (2, 2, 5));
        assert_eq!(first.requeued.destinations, [late.id]);
        arrive(&world, late.id).await;
        assert_eq!(request("run", None).await, first, "its answer was lost");
        let second = request("run", first.next_cursor.as_deref()).await;
        assert_eq!((second.requeued.pending, second.next_cursor), (1, None));
        let another = request("another", None).await.requeued;
        assert_eq!((another.pending, &another.destinations[..]), (0, &[late.id][..]), "each is queued once, and waits for a signal");
        assert_eq!(count(&world, "deliveries"), 6);
        let other = world.store.resend(RedeliverySelector::NeverQueued.to(hook.id), page(None), once("run")).await;
        assert!(matches!(other, Err(Error::Conflict { what: "run", .. })), "{other:?}");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn repeating_a_page_of_a_time_range_queues_nothing(world: World) {
        let hook = delivered(&world).await;
        let now = world.store.now().await.unwrap();
        let what = RedeliverySelector::Range { from: now.plus_millis(-DAY_MS), until: now.plus_millis(DAY_MS) };
        let what = what.to(hook.id);
        let request = async |run: RunMode| world.store.resend(what.clone(), page(None), run).await.unwrap();
        let first = request(once("run")).await;
        assert_eq!((first.checked, first.requeued.pending), (2, 2));
        arrive(&world, hook.id).await;
        assert_eq!(request(once("run")).await, first);
        assert_eq!(count(&world, "deliveries"), 5);
        assert_eq!(request(RunMode::Anew).await.requeued.pending, 2, "without a name it is queued each time");
    }
}

story! {
    async fn concurrent_requests_for_one_page_get_one_answer(world: World) {
        let hook = delivered(&world).await;
        let other = if world.is_postgres() { world.second_process().await } else { world.store.clone() };
        let request = |store: storage::Store| async move {
            store.resend(RedeliverySelector::All.to(hook.id), page(None), once("run")).await.unwrap()
        };
        let (one, two) = tokio::join!(request(world.store.clone()), request(other));
        assert_eq!((&one, one.requeued.pending, count(&world, "deliveries")), (&two, 2, 5));
    }
}

story! {
    async fn concurrent_requests_for_what_is_missing_both_wake_it(world: World) {
        delivered(&world).await;
        let late = world.destination("late").await.id;
        let other = if world.is_postgres() { world.second_process().await } else { world.store.clone() };
        let request = |store: storage::Store| async move {
            store.resend(RedeliverySelector::NeverQueued.to(late), page(None), once("run")).await.unwrap().requeued
        };
        let (one, two) = tokio::join!(request(world.store.clone()), request(other));
        assert!(one.pending + two.pending >= 2, "what was queued is counted: {one:?} {two:?}");
        assert_eq!((one.destinations, two.destinations), (vec![late], vec![late]));
        assert_eq!(count(&world, "deliveries"), 5);
    }
}

story! {
    async fn a_run_has_one_selector_and_a_dry_run_stores_nothing(world: World) {
        let hook = delivered(&world).await;
        world.store.resend(RedeliverySelector::All.to(hook.id), page(None), Run::Dry).await.unwrap();
        assert_eq!(count(&world, "pages"), 0);
        replay(&world, hook.id, None, "run").await.unwrap();
        let named = |selection, run| world.store.resend(selection, page(None), once(run));
        let refused = named(RedeliverySelector::Behind.to(hook.id), "run").await;
        assert!(matches!(refused, Err(Error::Conflict { what: "run", .. })), "{refused:?}");
        let failed = named(RedeliverySelector::Failed.to(None), "run").await;
        assert!(matches!(failed, Err(Error::Conflict { what: "run", .. })), "{failed:?}");
        let missing = named(RedeliverySelector::Purchases(Vec::new()).to(hook.id), "none").await;
        assert_eq!(missing.unwrap().requeued.pending, 0);
    }
}

story! {
    async fn repeating_the_redelivery_of_a_purchase_queues_nothing(world: World) {
        let hook = delivered(&world).await;
        let request = async |to, run: &str| world.store.redeliver(world.key("r1"), to, Some(run.to_owned())).await;
        assert_eq!(request(None, "run/1").await.unwrap().len(), 1);
        assert_eq!(request(None, "run/1").await.unwrap().len(), 1, "its lane is open still");
        assert_eq!(count(&world, "deliveries"), 4);
        arrive(&world, hook.id).await;
        assert_eq!(request(None, "run/1").await.unwrap(), [], "its answer was lost, and what it queued arrived");
        assert_eq!(count(&world, "deliveries"), 4);
        assert_eq!(request(None, "run/2").await.unwrap().len(), 1);
        assert_eq!(count(&world, "deliveries"), 5);
        let other = request(Some(hook.id), "run/2").await;
        assert!(matches!(other, Err(Error::Conflict { what: "run", .. })), "{other:?}");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn pages_are_deleted_after_a_week_in_batches(world: World) {
        let hook = delivered(&world).await;
        for run in ["a", "b", "c"] {
            replay(&world, hook.id, None, run).await.unwrap();
        }
        world.age(6 * DAY_MS);
        replay(&world, hook.id, None, "young").await.unwrap();
        assert_eq!(world.store.forget_pages(2).await.unwrap(), 0);
        world.age(2 * DAY_MS);
        assert_eq!(world.store.forget_pages(2).await.unwrap(), 2);
        assert_eq!(world.store.forget_pages(2).await.unwrap(), 1);
        assert_eq!(world.store.forget_pages(2).await.unwrap(), 0);
        assert_eq!(world.raw().texts("SELECT run AS value FROM pages"), ["young"]);
    }
}

/// Returns a world for another app in the same database.
async fn beside(world: &World) -> World {
    let app = world.store.new_app("Beside").await.unwrap();
    let platform = world
        .store
        .new_platform(new_platform(&app, "ingress-beside"))
        .await
        .unwrap();
    let (store, config) = (world.store.clone(), world.config.clone());
    World {
        store,
        config,
        app,
        platform,
        now: world.now,
        folder: Folder::new("storage"),
    }
}

story! {
    async fn time_range_and_failed_cover_every_app_unless_one_is_named(world: World) {
        let other = beside(&world).await;
        let (ours, theirs) = (delivered(&world).await.id, delivered(&other).await.id);
        let now = world.store.now().await.unwrap();
        let range = RedeliverySelector::Range { from: now.plus_millis(-DAY_MS), until: now.plus_millis(DAY_MS) };
        let request = async |what: &RedeliverySelector, to: Receivers, run: Run| {
            let done = world.store.resend(what.clone().to(to), Page::default(), run).await.unwrap();
            let mut queued_for = done.requeued.destinations;
            queued_for.sort();
            (done.checked, queued_for)
        };
        let mut both = vec![ours, theirs];
        both.sort();
        let cases = [
            (Receivers::All, both),
            (Receivers::App(world.app.id), vec![ours]),
            (Receivers::App(other.app.id), vec![theirs]),
            (Receivers::One(theirs), vec![theirs]),
        ];
        for (to, queued_for) in &cases {
            let expected = if *to == Receivers::All { 6 } else { 3 };
            assert_eq!(request(&range, *to, Run::Dry).await, (expected, queued_for.clone()), "{to:?}");
        }
        assert_eq!(request(&range, Receivers::App(other.app.id), Run::Real).await, (3, vec![theirs]));
        assert_eq!(drain(&world, world.key("r1"), ours).await, []);
        assert_eq!(drain(&other, other.key("r1"), theirs).await, [("purchase.updated".to_owned(), 1)]);

        world.raw().run("UPDATE deliveries SET status = 'failed' WHERE n = 0");
        world.raw().run("UPDATE lanes SET acked_revision = 0");
        for (to, queued_for) in &cases {
            let (expected, failed) = request(&RedeliverySelector::Failed, *to, Run::Dry).await;
            assert_eq!(expected, if *to == Receivers::All { 6 } else { 3 }, "{to:?}");
            assert!(failed.iter().all(|id| queued_for.contains(id)), "{to:?}: {failed:?}");
        }
        let failed = |to: Receivers| RedeliverySelector::Failed.to(to);
        let named = |to: Receivers| world.store.resend(failed(to), page(None), once("run"));
        named(Receivers::App(other.app.id)).await.unwrap();
        let refused = named(Receivers::All).await;
        assert!(matches!(refused, Err(Error::Conflict { what: "run", .. })), "{refused:?}");
    }
}

story! {
    async fn a_page_of_one_app_passes_a_bounded_number_of_other_rows(world: World) {
        let other = beside(&world).await;
        let theirs = other.destination("theirs").await.id;
        let events = rows::events().numbered(1, 25_000).text("app_id", other.app.id).sql("created_at", "i");
        let events = events.sql("id", "'e' || i").sql("collapse_key", "'k' || i");
        let deliveries = rows::deliveries().numbered(1, 25_000).text("destination_id", theirs).text("status", "failed");
        let deliveries = deliveries.sql("id", "'d' || i").sql("event_id", "'e' || i").sql("collapse_key", "'k' || i");
        world.raw().run(&events);
        world.raw().run(&deliveries);
        let ours = delivered(&world).await.id;
        world.raw().run(&format!("UPDATE deliveries SET status = 'failed' WHERE destination_id = '{ours}'"));
        let checked = async |selector: RedeliverySelector| {
            let (mut pages, mut cursor) = (Vec::new(), None);
            loop {
                let page = Page { cursor, limit: 100 };
                let selection = selector.clone().to(Receivers::App(world.app.id));
                let done = world.store.resend(selection, page, Run::Dry).await.unwrap();
                pages.push(done.checked);
                cursor = done.next_cursor;
                if cursor.is_none() {
                    return pages;
                }
            }
        };
        let until = world.store.now().await.unwrap().plus_millis(DAY_MS);
        assert_eq!(checked(RedeliverySelector::Range { from: Timestamp::from_micros(0), until }).await, [0, 3]);
        assert_eq!(checked(RedeliverySelector::Failed).await, [0, 3]);
    }
}
