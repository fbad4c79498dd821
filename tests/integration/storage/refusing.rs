//! Writes that a database permanently refuses, and texts that it must never get.

use super::sending::lease;
use super::world::{World, record, renewal, story};
use domain::{CollapseKey, Snapshot, Verification};
use std::time::Duration;
use storage::{
    DestinationNeed, Error, Idle, LeaseResult, Mode, NewNotification, Record, Refusal, Verdict,
};

/// Makes the database refuse every new event.
fn forbid_events(world: &World) {
    world.raw().run(if world.is_postgres() {
        "ALTER TABLE events ADD CONSTRAINT planted CHECK (seq < 0) NOT VALID"
    } else {
        "CREATE TRIGGER planted BEFORE INSERT ON events
         BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: planted'); END"
    });
}

fn allow_events(world: &World) {
    let allow = if world.is_postgres() {
        "ALTER TABLE events DROP CONSTRAINT planted"
    } else {
        "DROP TRIGGER planted"
    };
    world.raw().run(allow);
}

/// Records a purchase's loaded notifications, which must be refused; returns the error.
async fn refused(world: &World, key: CollapseKey) -> Error {
    let loaded = world.load(key).await;
    world.store.record(record(key, &loaded)).await.unwrap_err()
}

story! {
    async fn a_forbidden_change_is_never_called_passing_and_loses_nothing(world: World) {
        world.notify("one", "r1", 1).await;
        let key = world.key("r1");
        forbid_events(&world);
        let error = refused(&world, key).await;
        assert!(matches!(&error, Error::Refused { refusal: Refusal::Rule, .. }), "{error:?}");
        assert!(error.is_permanent() && !error.is_of_request());
        assert!(error.to_string().contains("trying again does not help: "), "{error}");
        assert!(storage::chain(&error).contains("planted"), "the log names the constraint: {error:?}");
        allow_events(&world);
        assert_eq!(world.settle(key).await.0, 1, "the notification is still there");
    }
}

story! {
    async fn a_purchase_that_is_refused_holds_up_no_other(world: World) {
        for receipt in ["r1", "r2"] {
            world.notify(receipt, receipt, 1).await;
        }
        let (bad, good) = (world.key("r1"), world.key("r2"));
        let planted = format!("'{bad}'");
        world.raw().run(&if world.is_postgres() {
            format!("ALTER TABLE events ADD CONSTRAINT planted CHECK (collapse_key <> {planted}) NOT VALID")
        } else {
            format!(
                "CREATE TRIGGER planted BEFORE INSERT ON events WHEN NEW.collapse_key = {planted}
                 BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: planted'); END"
            )
        });
        let (first, second) = (world.load(bad).await, world.load(good).await);
        let (store, other) = (world.store.clone(), world.store.clone());
        let (refused, settled) = tokio::join!(store.record(record(bad, &first)), other.record(record(good, &second)));
        assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
        assert!(settled.is_ok(), "{settled:?}");
    }
}

/// PostgreSQL's error code, SQLite's message for the corresponding error, and the resulting refusal.
const REFUSALS: [(&str, &str, Refusal); 6] = [
    ("22021", "string or blob too big", Refusal::Value),
    ("22003", "integer overflow", Refusal::Value),
    ("23514", "CHECK constraint failed: planted", Refusal::Rule),
    (
        "42501",
        "attempt to write a readonly database",
        Refusal::Rights,
    ),
    ("42883", "no such function: planted", Refusal::Statement),
    ("XX001", "database disk image is malformed", Refusal::Damage),
];

story! {
    async fn each_class_of_errors_names_the_next_step(world: World) {
        world.notify("one", "r1", 1).await;
        let key = world.key("r1");
        for (code, message, refusal) in REFUSALS {
            world.raw().run(&if world.is_postgres() {
                format!(
                    "CREATE OR REPLACE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '{code}'; END $$;
                     CREATE OR REPLACE TRIGGER planted BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION planted()"
                )
            } else {
                format!(
                    "DROP TRIGGER IF EXISTS planted;
                     CREATE TRIGGER planted BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, '{message}'); END"
                )
            });
            let error = refused(&world, key).await;
            assert!(matches!(&error, Error::Refused { refusal: found, .. } if *found == refusal), "{code}: {error:?}");
        }
        world.raw().run(if world.is_postgres() { "DROP TRIGGER planted ON events" } else { "DROP TRIGGER planted" });
        assert_eq!(world.settle(key).await.0, 1, "nothing was lost");
    }
}

/// A text that PostgreSQL cannot store unchanged.
const ODD: &str = "a\0b";

story! {
    async fn no_field_of_a_notification_is_refused_by_the_database(world: World) {
        let fields: [fn(&mut NewNotification); 4] = [
            |one| one.message_id = format!("{ODD}-message"),
            |one| one.store_type = ODD.to_owned(),
            |one| one.app_user_id = Some(ODD.to_owned()),
            |one| one.traceparent = Some(ODD.to_owned()),
        ];
        for (number, set) in (1..).zip(fields) {
            let receipt = format!("r{number}");
            let mut notification = renewal(world.platform.id, &receipt, &receipt, number);
            set(&mut notification);
            world.accept(notification).await;
            assert_eq!(world.settle(world.key(&receipt)).await.0, 1, "field {number}");
        }
    }
}

story! {
    async fn no_field_of_a_stores_answer_is_refused_by_the_database(world: World) {
        let fields: [fn(&mut Snapshot); 4] = [
            |one| one.product_id = Some(ODD.to_owned()),
            |one| one.term_sku = Some(ODD.to_owned()),
            |one| one.deferred_sku = Some(ODD.to_owned()),
            |one| one.country = Some(ODD.to_owned()),
        ];
        for (number, set) in (1..).zip(fields) {
            let receipt = format!("r{number}");
            world.notify(&receipt, &receipt, number).await;
            let key = world.key(&receipt);
            let loaded = world.load(key).await;
            let mut snapshot = Snapshot {
                at: loaded.now,
                product_id: Some("com.example.gold".to_owned()),
                purchased_at: Some(loaded.now.plus_millis(-1)),
                renews_at: Some(loaded.now.plus_millis(86_400_000)),
                auto_renewing: Some(true),
                ..Snapshot::default()
            };
            set(&mut snapshot);
            let decided = Record::decided(key, &loaded, &Verification::Verified(Box::new(snapshot)));
            assert_eq!(world.done(decided).await, 1, "field {number}");
            assert!(world.newest_data(key).is_object(), "field {number}");
        }
    }
}

story! {
    async fn a_lane_that_is_refused_frees_its_place_and_waits(world: World) {
        let hook = world.destination("hook").await.id;
        for receipt in ["r1", "r2"] {
            world.revise(receipt, 1).await;
        }
        let (bad, good) = (world.key("r1"), world.key("r2"));
        let set_back = async |token| world.store.set_lane_back(bad, hook, token, "planted\0").await.unwrap();
        let due = async || match world.store.destination_need(hook, 100).await.unwrap() {
            DestinationNeed::Drain { keys, .. } => keys,
            other => panic!("{other:?}"),
        };
        world.attempt_as(Mode::Drain, bad, hook, "one").await;
        assert_eq!(set_back("of another request").await, None);
        assert!(world.store.holds_lease(bad, hook, "one").await.unwrap(), "a lease is its holder's");
        assert_eq!(set_back("one").await, Some(Duration::from_secs(60)));
        assert!(!world.store.holds_lease(bad, hook, "one").await.unwrap());
        assert_eq!(due().await, [good]);
        let waits = world.store.lease(lease(bad, hook, "early")).await.unwrap();
        let LeaseResult::Idle(Idle::Wait { last_error: Some(why), .. }) = &waits else { panic!("{waits:?}") };
        assert!(why.starts_with("planted"), "{why}");
        assert_eq!(set_back("late").await, None, "nothing of it is due");
        // The longer the purchase waits, the rarer its attempts become, even if the lease itself was refused, so that
        // there is none.
        world.age(1_200_000);
        assert_eq!(set_back("refused").await, Some(Duration::from_secs(300)));
        assert_eq!(due().await, [good]);
        world.pass(10);
        world.store.retry_now(hook).await.unwrap();
        assert_eq!(due().await, [good, bad], "a person's request makes it due");
        world.send("r1", hook, Verdict::Delivered).await;
        assert_eq!(due().await, [good]);
    }
}
