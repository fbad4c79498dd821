//! Erasing a customer: none of the customer's names remain in the database or in later bodies, whatever was in
//! progress, and the ledger stays.

use super::environments::list;
use super::sending::{lease, must_send};
use super::world::{Raw, Report, World, happened, is_missing, record, reported, story};
use domain::user::USER_ERASED;
use domain::{CollapseKey, DestinationId, NotificationKind, TransitionKind, UserId};
use std::collections::BTreeSet;
use storage::{
    CustomerName, DeletionStatus, Erase, Erasure, ErasureStage, EventFilter, ExposeSecret,
    NewDestination, Owner, Page, RequestOutcome, Traits, Verdict,
};
use system_tests::rows;

/// The store's id and the app's id of the erased customer.
pub const STORE_ID: &str = "l3HL7XppEMhrOGDnur9-ulvqomrSg6qyODKmah76lJU=";
pub const OWN_ID: &str = "anna.erased@example.com";

pub fn by_own_id(world: &World) -> Erase {
    by(world, CustomerName::ExternalId(OWN_ID.to_owned()))
}

pub fn by(world: &World, name: CustomerName) -> Erase {
    Erase {
        app: world.app.id,
        name,
        by: "support".to_owned(),
        reason: "request 17".to_owned(),
    }
}

/// Returns the text columns, each as table and column.
pub fn text_columns(world: &World) -> BTreeSet<String> {
    let mut raw = world.raw();
    let columns = match &raw {
        Raw::Sqlite(_) => {
            "SELECT m.name || ' ' || c.name AS value FROM sqlite_master m JOIN pragma_table_info(m.name) c
                 WHERE m.type = 'table' AND c.type = 'TEXT'"
        }
        Raw::Postgres(_) => {
            "SELECT table_name || ' ' || column_name AS value FROM information_schema.columns
                 WHERE table_schema = 'public' AND data_type = 'text'"
        }
    };
    let columns: BTreeSet<String> = raw.texts(columns).into_iter().collect();
    assert!(columns.len() > 100, "only {} columns", columns.len());
    columns
}

/// Returns all texts of the database that contain one of these names, each after its table and column.
pub fn left(world: &World, names: &[&str]) -> Vec<String> {
    let (mut raw, mut found) = (world.raw(), Vec::new());
    for column in text_columns(world) {
        let (table, name) = column.split_once(' ').unwrap();
        for text in names {
            let like = text.replace('_', "\\_");
            let count = raw.number(&format!(
                "SELECT COUNT(*) AS value FROM {table} WHERE {name} LIKE '%{like}%' ESCAPE '\\'"
            ));
            if count > 0 {
                found.push(format!("{table}.{name} has `{text}` {count} times"));
            }
        }
    }
    found
}

/// Accepts a notification of the customer's purchase with the store's id.
pub async fn notify(world: &World, receipt: &str, number: i64) -> CollapseKey {
    world.pass(1000);
    let report = Report {
        kind: NotificationKind::Renewed,
        customer: Some(STORE_ID),
        related: None,
    };
    world
        .accept(reported(
            world.platform.id,
            &format!("{receipt}-{number}"),
            receipt,
            number * 1000,
            report,
        ))
        .await;
    world.key(receipt)
}

pub async fn renew(world: &World, receipt: &str, number: i64) -> CollapseKey {
    let key = notify(world, receipt, number).await;
    let settled = record(key, &world.load(key).await);
    world
        .done(happened(settled, &[TransitionKind::Renewed]))
        .await;
    key
}

/// Takes all steps of the erasure, a few rows at a time.
pub async fn finish(world: &World, begun: &Erasure) -> Erasure {
    for _ in 0..1000 {
        if !world.store.continue_erasure(2).await.unwrap() {
            return world.store.erasure(world.app.id, begun.id).await.unwrap();
        }
    }
    panic!(
        "it does not end: {:?}",
        world.store.erasure(world.app.id, begun.id).await
    );
}

/// Creates a webhook for all events, and for `user.erased` by name.
pub async fn webhook(world: &World) -> DestinationId {
    let hook = world.destination("hook").await;
    world
        .alter(hook.id, |common| {
            common.events = vec!["*".to_owned(), USER_ERASED.to_owned()]
        })
        .await
        .id
}

pub async fn integration(world: &World) -> DestinationId {
    let traits = Traits {
        per_user: true,
        ..Traits::default()
    };
    let new = NewDestination {
        kind: "amplitude".to_owned(),
        traits,
        ..super::world::new_destination(&world.app, "numbers")
    };
    world.store.new_destination(new).await.unwrap().id
}

/// Sends a purchase's pending deliveries; returns their bodies.
async fn send_all(world: &World, key: CollapseKey, to: DestinationId) -> Vec<String> {
    let mut bodies = Vec::new();
    let pending = format!(
        "SELECT COUNT(*) AS value FROM deliveries WHERE status = 'pending' AND destination_id = '{to}'"
    );
    while world
        .raw()
        .number(&format!("{pending} AND collapse_key = '{key}'"))
        > 0
    {
        let sent = must_send(
            &world.store,
            lease(key, to, &format!("token-{}", bodies.len())),
        )
        .await;
        bodies.extend(
            sent.batch
                .attempts
                .iter()
                .map(|attempt| attempt.body.clone()),
        );
        world.finish(&sent, Verdict::Delivered).await;
    }
    bodies
}

/// Inserts a device of the customer, with a claim and a report.
fn device(world: &World, user: UserId) {
    let (platform, key) = (world.platform.id, world.key("r1"));
    let device = "5d2b9f0e-52cf-4a8e-b6a4-8f6ad6a7c001";
    let described = serde_json::json!({
        "id": device, "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "web/1",
        "os": { "name": "fireos", "version": "8" }, "analytics_device_id": OWN_ID,
    });
    let mut raw = world.raw();
    let row = rows::device(platform, device)
        .text("device", described)
        .text("user_id", user);
    raw.run(&row.sql("is_signed", "TRUE"));
    let claim = rows::claims(platform, device)
        .text("collapse_key", key)
        .text("receipt_id", "r1");
    raw.run(&claim.text("app_user_id", STORE_ID));
    let body = serde_json::json!({ "data": { "user_id": user, "receipts": [{ "app_user_id": STORE_ID }] } });
    let event =
        rows::device_event(platform, device).text("id", "0c3f8a52-7a0b-5d1e-9a55-3f1c4be6d001");
    raw.run(&event.text("body", body));
    raw.run(&format!(
        "INSERT INTO transfers (id, app_id, from_user_id, to_user_id, cause, moved, created_at)
             VALUES ('0c3f8a52-7a0b-5d1e-9a55-3f1c4be6d002', '{app}', '{user}', '{user}', 'admin',
             '{{\"customers\":[{{\"store\":\"amazon\",\"app_user_id\":\"{STORE_ID}\"}}],\"announced\":[]}}', 1);
         INSERT INTO alarms (at, last_at, times, kind, detail, id) VALUES (1, 1, 1, 'odd', 'the customer {OWN_ID} is odd', 'a')",
        app = world.app.id
    ));
}

story! {
    async fn an_erased_customer_renews_and_nothing_comes_back(world: World) {
        list(&world);
        let (hook, numbers) = (webhook(&world).await, integration(&world).await);
        let user = UserId::anonymous(world.app.id, "amazon", STORE_ID);
        let old_user = user.to_string();
        let names = [STORE_ID, OWN_ID];
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), OWN_ID, None).await.unwrap();
        let key = renew(&world, "r1", 1).await;
        send_all(&world, key, hook).await;
        renew(&world, "r1", 2).await;
        // The test has a frozen body that was not delivered, a response that repeats a name, and an open notification.
        let frozen = must_send(&world.store, lease(key, hook, "frozen")).await;
        assert!(frozen.body.contains(OWN_ID), "{}", frozen.body);
        world.finish(&frozen, Verdict::Retry { delay: std::time::Duration::ZERO }).await;
        world.raw().run(&format!("UPDATE attempts SET response = 'no {OWN_ID}', error = '{STORE_ID} is refused'"));
        device(&world, user);
        notify(&world, "r1", 3).await;
        assert!(left(&world, &names).len() > 10, "{:?}", left(&world, &names));
        let revisions = world.count("events");

        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        assert_ne!(begun.user_id, user);
        let again = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        assert_eq!((again.id, again.user_id), (begun.id, begun.user_id), "a repeated request is the same");
        let report = finish(&world, &begun).await;
        assert_eq!(report.stage, ErasureStage::Destinations);
        assert!(report.removed_at.is_some() && report.counts["events"] > 0 && report.counts["purchases"] == 1, "{report:?}");
        assert_eq!(left(&world, &names), [""; 0]);
        assert_eq!(world.count("events"), revisions + 1, "the ledger stays");

        let due = world.store.due_deletions().await.unwrap();
        assert_eq!((due.len(), &due[0].destinations), (1, &vec![numbers]));
        assert_eq!(due[0].user_ids, [OWN_ID.to_owned(), old_user.clone()]);
        world.store.note_deletions(begun.id, vec![(numbers, RequestOutcome::Failed("later".to_owned()))]).await.unwrap();
        assert_eq!(world.store.due_deletions().await.unwrap(), [], "after a wait");
        world.store.note_deletions(begun.id, vec![(numbers, RequestOutcome::Accepted)]).await.unwrap();
        let report = world.store.erasure(world.app.id, begun.id).await.unwrap();
        assert_eq!((report.stage, report.destinations[0].status), (ErasureStage::Done, DeletionStatus::Accepted));
        assert_eq!((report.destinations[0].attempts, report.finished_at.is_some()), (2, true));
        assert_eq!(world.raw().number("SELECT COUNT(names) AS value FROM erasures"), 0);

        // The open notification is settled; a renewal and a new purchase of the same store customer follow.
        let settled = record(key, &world.load(key).await);
        world.done(happened(settled, &[TransitionKind::Renewed])).await;
        renew(&world, "r1", 4).await;
        let other = renew(&world, "r2", 5).await;
        assert_eq!(left(&world, &names), [""; 0]);
        let bodies = [send_all(&world, key, hook).await, send_all(&world, other, hook).await].concat();
        assert!(bodies.len() > 4, "{bodies:?}");
        let mut announced = 0;
        for body in &bodies {
            assert!(!body.contains(STORE_ID) && !body.contains(OWN_ID) && !body.contains("app_user_id"), "{body}");
            announced += usize::from(body.contains(USER_ERASED));
            assert_eq!(body.contains(&old_user), body.contains(USER_ERASED), "{body}");
        }
        assert_eq!(announced, 1);
        let owners = world.owners();
        assert_eq!(owners, [begun.user_id.to_string()], "one anonymous user");
        let app_users = world.raw().texts("SELECT DISTINCT app_user_id AS value FROM purchases");
        assert!(app_users.len() == 1 && app_users[0].starts_with("erased-"), "{app_users:?}");
        assert_eq!(world.broken(1000).await, []);
    }
}

/// Writes the names into every column of the existing rows that may contain one.
fn name_everywhere(world: &World, hook: DestinationId, user: UserId) {
    let somebody = "0c3f8a52-7a0b-4d1e-9a55-3f1c4be6d00a";
    let body =
        serde_json::json!({ "external_id": OWN_ID, "receipts": [{ "app_user_id": STORE_ID }] });
    let text = format!("no {OWN_ID}");
    let causes = serde_json::json!([{ "kind": "login", "by": text }]);
    let impression = serde_json::json!({
        "attributes": { "event_type": "device.impression" },
        "data": { "placement": format!("for {STORE_ID}"), "device": { "app_version": OWN_ID }, "user_id": user },
    });
    world.raw().run(&format!(
        "UPDATE purchases SET answered_customer = app_user_id, held_by = '{text}', held_reason = '{text}', unverified_because = '{text}',
             causes = '{causes}';
         UPDATE notifications SET app_user_id = '{STORE_ID}', body = '{body}', reason = '{text}';
         UPDATE events SET state_apart = '{body}', profile = '{body}', views = '{body}', causes = '{causes}';
         UPDATE device_events SET client_id = '1-{OWN_ID}', body = '{impression}';
         UPDATE audit_log SET actor = '{text} (support)', reason = '{text}';
         INSERT INTO pages (run, cursor, request_digest, answer, at) VALUES ('{text}', '', 'd', '{{}}', 1);
         INSERT INTO users (id, app_id, revision, created_at) VALUES ('{somebody}', '{app}', 0, 1);
         INSERT INTO erasures (id, request, app_id, user_id, requested_by, reason, stage, after_seq, counts, destinations,
                 due_at, requested_at, finished_at)
             VALUES ('0c3f8a52-7a0b-4d1e-9a55-3f1c4be6d009', 'r', '{app}', '{somebody}', '{text}', '{text}', 'done', 0,
                 '{{}}', '[]', 1, 1, 1);
         UPDATE lanes SET nameless_device_id = '{OWN_ID}';
         UPDATE deliveries SET body = '{body}', analytics_device_id = '{OWN_ID}', joined_device_id = '{OWN_ID}',
             last_error = '{text}';
         UPDATE attempts SET headers = '{text}', response = '{text}', error = '{text}';
         INSERT INTO device_deliveries (destination_id, event_seq, device_id, status, attempts, next_due_at, last_error)
             SELECT '{hook}', seq, device_id, 'failed', 1, 1, '{text}' FROM device_events;
         UPDATE claims SET network = 'a hash', failure = '{text}';
         UPDATE health SET last_error = '{text}';
         UPDATE destinations SET reason = '{text}';
         UPDATE alarms SET acknowledged_by = '{text}', note = '{text}';
         UPDATE transfers SET author = '{text}', reason = '{text}'",
        app = world.app.id
    ));
    let event = rows::events()
        .text("id", "e")
        .text("collapse_key", hook)
        .text("app_id", world.app.id);
    let event = event
        .text("event_type", "destination.failing")
        .sql("environment", "NULL")
        .sql("occurred_at", 1);
    world
        .raw()
        .run(&event.text("body", serde_json::json!({ "reason": text })));
}

story! {
    async fn no_column_keeps_a_name(world: World) {
        let hook = webhook(&world).await;
        let user = UserId::anonymous(world.app.id, "amazon", STORE_ID);
        let key = renew(&world, "r1", 1).await;
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), OWN_ID, None).await.unwrap();
        renew(&world, "r1", 2).await;
        let sent = must_send(&world.store, lease(key, hook, "a")).await;
        world.finish(&sent, Verdict::Retry { delay: std::time::Duration::ZERO }).await;
        notify(&world, "r1", 3).await;
        device(&world, user);
        name_everywhere(&world, hook, user);
        let named = left(&world, &[STORE_ID, OWN_ID, &user.to_string()]);
        for (table, column) in storage::erased_columns() {
            // The first of these columns contains a hash, the second another customer's devices.
            let is_apart = ["claims.network", "users.analytics_device_id"].contains(&format!("{table}.{column}").as_str());
            let is_named = named.iter().any(|one| one.starts_with(&format!("{table}.{column} ")));
            assert!(is_named || is_apart, "no name is written into {table}.{column}: {named:?}");
        }
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(left(&world, &[STORE_ID, OWN_ID]), [""; 0]);
        // The former user's id remains in the table of users, in the event about the erasure, and in the audit entry of
        // the naming.
        let of_user = left(&world, &[&user.to_string()]);
        let columns: Vec<&str> = of_user.iter().filter_map(|one| one.split(' ').next()).collect();
        assert_eq!(columns, ["audit_log.subject", "events.body", "users.id"]);
        assert_eq!(world.raw().texts("SELECT network AS value FROM claims"), [""]);
    }
}

story! {
    async fn an_alarm_of_a_customer_is_raised_anew_once(world: World) {
        renew(&world, "r1", 1).await;
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), "customer", None).await.unwrap();
        world.store.alarm(None, "odd", "the customer is odd").await.unwrap();
        let begun = world.store.erase_customer(by(&world, CustomerName::ExternalId("customer".to_owned()))).await.unwrap();
        let report = finish(&world, &begun).await;
        assert_eq!((report.stage, report.counts["alarms"]), (ErasureStage::Done, 1));
        let details = world.raw().texts("SELECT detail AS value FROM alarms WHERE kind = 'odd'");
        assert_eq!(details, [domain::user::REMOVED]);
    }
}

story! {
    async fn an_erased_customer_is_queried_by_the_sealed_id(world: World) {
        let key = renew(&world, "r1", 1).await;
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        let report = finish(&world, &begun).await;
        assert_eq!(report.stage, ErasureStage::Done, "no destination keeps users");
        assert_eq!(left(&world, &[STORE_ID]), [""; 0]);
        let query = world.store.store_query(key).await.unwrap().unwrap();
        assert_eq!(query.app_user_id.as_deref(), Some(STORE_ID));
        assert!(!query.secret.expose_secret().is_empty());
        let found = world.store.customer_state(world.app.id, CustomerName::AppUser(STORE_ID.to_owned()), Default::default());
        let found = found.await.unwrap();
        assert_eq!((found.user_id, found.app_user_ids.len()), (begun.user_id, 0));
        let again = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        assert_eq!(again.id, begun.id);
        let named = world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), "anew", None).await.unwrap();
        assert_eq!(named.user_id, begun.user_id, "whoever comes back is named anew");
        assert_eq!(left(&world, &[STORE_ID]), [""; 0]);
        let error = world.store.erase_customer(by(&world, CustomerName::ExternalId("nobody".to_owned()))).await;
        assert!(is_missing(&error.unwrap_err()));
    }
}

story! {
    async fn a_name_that_is_stored_meanwhile_is_removed_too(world: World) {
        renew(&world, "r1", 1).await;
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        // Like an acceptance of another process that had not seen the tombstone yet.
        world.raw().run("ALTER TABLE tombstones RENAME TO hidden; CREATE TABLE tombstones AS SELECT * FROM hidden WHERE 1 = 0");
        renew(&world, "r3", 2).await;
        world.raw().run("DROP TABLE tombstones; ALTER TABLE hidden RENAME TO tombstones");
        assert_ne!(left(&world, &[STORE_ID]), [""; 0]);
        finish(&world, &begun).await;
        assert_eq!(left(&world, &[STORE_ID]), [""; 0]);
        assert_eq!(world.owners(), [begun.user_id.to_string()]);
    }
}

story! {
    async fn only_a_destination_that_names_the_event_gets_it(world: World) {
        let (hook, other) = (webhook(&world).await, world.destination("other").await.id);
        renew(&world, "r1", 1).await;
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        finish(&world, &begun).await;
        let filter = EventFilter { types: vec![USER_ERASED.to_owned()], ..EventFilter::default() };
        let events = world.store.events(filter, Page::default()).await.unwrap().items;
        assert_eq!(events.len(), 1);
        let user = UserId::anonymous(world.app.id, "amazon", STORE_ID);
        assert_eq!(events[0].body["user_id"], user.to_string());
        let queued = format!("SELECT destination_id AS value FROM deliveries WHERE event_id = '{}'", events[0].id);
        assert_eq!(world.raw().texts(&queued), [hook.to_string()], "not {other}");
    }
}
