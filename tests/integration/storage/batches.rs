//! Work that is too large for one transaction is done in batches, and resumed after an interruption.

use super::world::{Raw, World, story};
use domain::DestinationId;
use storage::{Destination, DestinationChange, Error};
use system_tests::rows;

const MANY: i64 = 2_500;
/// Number of rows in a batch.
const BATCH: i64 = 2_000;

/// Returns a destination with many deliveries in this status.
async fn with_many(world: &World, name: &str, status: &str) -> Destination {
    let to = world.destination(name).await;
    world.revise(name, 1).await;
    let of_it = format!("destination_id = '{}'", to.id);
    world.raw().run(&format!(
        "UPDATE deliveries SET status = '{status}', last_error = 'a reason' WHERE {of_it}"
    ));
    let copies = rows::copies(
        "SUBSTR(d.destination_id, 1, 23) || '-' || (100000000000 + i)",
        "i",
    )
    .numbered(1, MANY - 1);
    world.raw().run(&copies.of_each(format!(
        "deliveries d, numbers WHERE {of_it} AND d.n = 0 ORDER BY i"
    )));
    to
}

fn count(world: &World, to: DestinationId, status: &str) -> i64 {
    world.count(&format!(
        "deliveries WHERE destination_id = '{to}' AND status = '{status}'"
    ))
}

/// Returns the destinations whose waiting deliveries still have to be reconsidered.
fn noted(world: &World) -> Vec<String> {
    world
        .raw()
        .texts("SELECT id AS value FROM destinations WHERE reconsider_after IS NOT NULL")
}

async fn set_anew(world: &World, to: &Destination, url: &str) -> Result<Destination, Error> {
    let change = DestinationChange {
        settings: Some(serde_json::json!({ "url": url })),
        ..Default::default()
    };
    world.store.update_destination(to.id, change, |_| {}).await
}

/// Makes every update fail that would leave a row of this table in this condition.
pub fn fail_where(world: &World, table: &str, which: &str) {
    let text = match world.raw() {
        Raw::Sqlite(_) => format!(
            "CREATE TRIGGER cut_off BEFORE UPDATE ON {table} WHEN {which} BEGIN SELECT RAISE(ABORT, 'cut off'); END"
        ),
        Raw::Postgres(_) => format!(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'cut off'; END $$;
             CREATE TRIGGER cut_off BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({which}) EXECUTE FUNCTION fail()"
        ),
    };
    world.raw().run(&text);
}

pub fn fail_no_more(world: &World, table: &str) {
    let of = if world.is_postgres() {
        format!(" ON {table}")
    } else {
        String::new()
    };
    world.raw().run(&format!("DROP TRIGGER cut_off{of}"));
}

story! {
    async fn a_change_is_stored_with_its_remaining_work(world: World) {
        let hook = world.destination("hook").await;
        fail_where(&world, "destinations", "NEW.reconsider_after IS NOT NULL");
        set_anew(&world, &hook, "https://example.com/other").await.unwrap_err();
        assert_eq!(world.store.destination(hook.id).await.unwrap().settings, hook.settings);
    }
}

story! {
    async fn an_interrupted_change_is_resumed_by_the_next_caller(world: World) {
        let hook = with_many(&world, "hook", "waiting").await;
        fail_where(&world, "deliveries", &format!("NEW.status = 'pending' AND NEW.n >= {BATCH}"));
        let url = "https://example.com/other";
        set_anew(&world, &hook, url).await.unwrap_err();
        assert_eq!(world.store.destination(hook.id).await.unwrap().settings["url"], url, "the change is kept");
        assert_eq!(noted(&world), [hook.id.to_string()], "the rest is noted together with the change");
        assert_eq!((count(&world, hook.id, "pending"), count(&world, hook.id, "waiting")), (BATCH, MANY - BATCH));
        let second = world.second_process().await;
        second.reconsider_left(100).await.unwrap_err();
        assert_eq!(count(&world, hook.id, "waiting"), MANY - BATCH, "a batch that fails again is left again");
        fail_no_more(&world, "deliveries");
        // As if reconsidered deliveries were waiting again under the new settings.
        world.raw().run("UPDATE deliveries SET status = 'waiting' WHERE n < 3");
        assert_eq!(second.reconsider_left(100).await.unwrap(), MANY - BATCH, "a batch is not cut");
        assert_eq!(second.reconsider_left(100).await.unwrap(), 0);
        assert_eq!((count(&world, hook.id, "waiting"), noted(&world).len()), (3, 0),
            "it continues where it was interrupted");
    }
}

story! {
    async fn changed_settings_recheck_thousands_that_wait(world: World) {
        let (hook, other) = (with_many(&world, "hook", "waiting").await, with_many(&world, "other", "waiting").await);
        set_anew(&world, &hook, "https://example.com/other").await.unwrap();
        assert_eq!((count(&world, hook.id, "waiting"), noted(&world).len()), (0, 0));
        assert_eq!(count(&world, other.id, "waiting"), MANY);
        world.alter(other.id, move |common| common.name = "renamed".to_owned()).await;
        assert_eq!(count(&world, other.id, "waiting"), MANY, "a change of the name reconsiders nothing");
    }
}

story! {
    async fn a_deletion_closes_thousands_of_pending_deliveries(world: World) {
        let hook = with_many(&world, "hook", "pending").await;
        let other = world.destination("other").await;
        world.revise("r1", 1).await;
        world.store.delete_destination(hook.id).await.unwrap();
        assert_eq!((count(&world, hook.id, "pending"), count(&world, hook.id, "failed")), (0, MANY + 1));
        assert_eq!(count(&world, other.id, "pending"), 1);
        world.raw().run("UPDATE destinations SET reconsider_after = 0; UPDATE deliveries SET status = 'waiting'");
        assert_eq!(world.store.reconsider_left(10_000).await.unwrap(), 1, "nothing of the deleted is rechecked");
    }
}
