//! Erasure of a customer's data outside purchases and of data that arrives later, and a check that every column is
//! covered.

use super::devices::{report, start};
use super::erasure::{OWN_ID, STORE_ID, by, by_own_id, finish, integration, left, text_columns};
use super::redelivery::drain;
use super::world::{Report, World, new_platform, reported, story};
use domain::device::{Content, DeviceTransaction, Impression};
use domain::user::REMOVED;
use domain::{NotificationKind, Outcome, RedeliverySelector};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use storage::{
    Accepted, Actor, CustomerName, Erase, ErasureStage, Handling, NewNotification, Owner, Page,
    RequestOutcome, RunMode,
};

/// The columns that never name a customer: other names, ids and states, hashes, and encrypted values. The `user_id` of
/// leases and lanes, and the ids of reviews, may be those of former users, like `users.id`.
const NAMELESS: &str = "
    acceptances notifications
    alarms app_id platform_id destination_id kind id announced_through
    api_keys id name folded_name role app_id hash
    apps id name
    arrivals platform_id reason
    attempts delivery_id token mode class
    audit_log id key_id operation app_id subject old_fields new_fields
    claims platform_id device_id collapse_key receipt_id status reason kind sku price currency marketplace
    deliveries id destination_id event_id event_type collapse_key status environment revenue traceparent
    destinations id app_id kind name events wildcards filter settings secret profile schedule state
    device_days platform_id
    device_deliveries destination_id device_id status batch_id last_class
    device_events id platform_id device_id event_type session_id environment
    device_sessions platform_id device_id id
    devices platform_id id secret_hash
    duties id kind platform_id collapse_key order_id failure result
    encryption_keys id
    entitlements app_id ref_id id name description
    erasures id request app_id user_id names stage counts destinations
    events id collapse_key app_id event_type environment traceparent
    first_deliveries platform_id
    health destination_id last_failed_subject
    installation org_id lineage names_key
    lanes destination_id collapse_key
    leases destination_id collapse_key user_id lease_token
    minutes series app_id destination_id
    notifications platform_id message_id receipt_id collapse_key store_type traceparent waiting_topic_id outcome
    pages cursor request_digest answer
    payments collapse_key app_id environment kind event_id other_event_id sku price currency usd unknown_because source
    payments transaction_id priced_on rate_day store_transaction amount tax country
    platforms id app_id store name package_name environment shared_secret product_ref unknown_receipts transfers
    platforms ingress_hash ingress_key old_ingress_hash old_ingress_key publishable_key login_secret
    platforms store_settings store_credentials
    probes id filler
    processes id role version host stores
    product_entitlements app_id sku ref_id
    products app_id sku name prices
    profiles destination_id user_id environment digest arrival shown
    purchases collapse_key platform_id app_id receipt_id digest content_digest state environment purchase term_sku
    purchases product_id part_skus waits_for fingerprint urgency
    rates app_id currency day usd
    recheck_skus app_id sku
    rechecks why subject_id app_id cause after_key
    repairs platform_id kind place failure
    replacements old_key new_key
    sales app_id transaction_id kind receipt_id sku price currency day
    sign_in_links hash name role app_id key_id token_hash
    sign_ins id hash name role app_id key_id token_hash
    store_users app_id store
    streams destination_id lease_token
    sweeps run_id
    tombstones tombstone app_id sealed
    topics id platform_id arn state subscribe_url
    transfer_reviews id app_id platform_id from_user_id to_user_id
    transfers id app_id cause undoes unannounced_after
    user_lanes destination_id user_id environment
    user_leases destination_id user_id lease_token
    users id app_id
";

story! {
    async fn each_text_column_is_erased_or_names_nobody(world: World) {
        let nameless = NAMELESS.lines().filter_map(|line| line.trim().split_once(' '));
        let nameless = nameless.flat_map(|(table, columns)| columns.split(' ').map(move |one| format!("{table} {one}")));
        let nameless: BTreeSet<String> = nameless.collect();
        let erased = storage::erased_columns().into_iter().map(|(table, column)| format!("{table} {column}"));
        let erased: BTreeSet<String> = erased.collect();
        assert!(nameless.is_disjoint(&erased), "{:?}", nameless.intersection(&erased));
        let schema: BTreeSet<String> =
            text_columns(&world).into_iter().filter(|one| !one.starts_with("sqlite_") && !one.starts_with("fingerprints ")).collect();
        let decided: BTreeSet<String> = nameless.union(&erased).cloned().collect();
        let undecided: Vec<_> = schema.difference(&decided).collect();
        assert!(undecided.is_empty(), "erase these columns, or list them here: {undecided:?}");
        let gone: Vec<_> = decided.difference(&schema).collect();
        assert!(gone.is_empty(), "{gone:?} are gone");
    }
}

/// Returns a message about another package that names the customer.
fn foreign(world: &World, number: u32) -> NewNotification {
    let report = Report {
        kind: NotificationKind::Renewed,
        customer: Some(STORE_ID),
        related: None,
    };
    let reason = "appPackageName is `com.example.other`, expected `com.example.app`".to_owned();
    NewNotification {
        collapse_key: None,
        store_time: None,
        body: "{}".to_owned(),
        handling: Handling::Final(Outcome::Refused, reason),
        ..reported(
            world.platform.id,
            &format!("foreign-{number}"),
            "elsewhere",
            1000,
            report,
        )
    }
}

/// Returns an unreadable message whose body contains the customer's id.
fn unreadable(world: &World, number: u32, body: &str) -> NewNotification {
    NewNotification {
        message_id: format!("unreadable-{number}"),
        receipt_id: String::new(),
        store_type: "unreadable".to_owned(),
        app_user_id: None,
        body: body.to_owned(),
        handling: Handling::Final(Outcome::Unknown, "it is not a JSON object".to_owned()),
        ..foreign(world, number)
    }
}

/// Returns unreadable messages: not JSON, another key, a number in an escape, JSON within JSON, and a truncated one.
fn unreadable_bodies() -> [String; 5] {
    let escaped = STORE_ID.replace('=', "\\u003d");
    let inner = json!({ "appUserId": STORE_ID }).to_string();
    [
        format!("about {STORE_ID}, and no JSON"),
        json!({ "notificationType": 7, "customers": { STORE_ID: [STORE_ID] } }).to_string(),
        format!("{{\"appUserId\":\"{escaped}\"}}"),
        json!({ "Message": inner }).to_string(),
        format!("{{\"appUserId\":\"{STORE_ID}"),
    ]
}

async fn accept_all(world: &World, from: u32) {
    assert!(matches!(
        world.accept(foreign(world, from)).await,
        Accepted::New { .. }
    ));
    for (number, body) in (from..).zip(unreadable_bodies()) {
        assert!(
            matches!(
                world.accept(unreadable(world, number, &body)).await,
                Accepted::New { .. }
            ),
            "{body}"
        );
    }
}

/// Parts of the store's id that remain recognizable in any encoding.
const PARTS: [&str; 3] = [STORE_ID, "l3HL7XppEMhrOGDnur9", "ODKmah76lJU"];

story! {
    async fn messages_without_a_purchase_name_no_erased_customer(world: World) {
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), OWN_ID, None).await.unwrap();
        accept_all(&world, 0).await;
        let elsewhere = world.store.new_app("Other").await.unwrap();
        let elsewhere = world.store.new_platform(new_platform(&elsewhere, "elsewhere")).await.unwrap().id;
        let other = NewNotification { platform_id: elsewhere, ..unreadable(&world, 99, "{\"of\":\"another app\"}") };
        world.accept(other).await;
        // The notification was refused with its topic, and its purchase was never recorded.
        let report = Report { kind: NotificationKind::Renewed, customer: Some(STORE_ID), related: None };
        let handling = Handling::Final(Outcome::Refused, "its topic was refused".to_owned());
        let refused = NewNotification { handling, ..reported(world.platform.id, "refused", "r9", 1000, report) };
        world.accept(refused).await;
        assert!(left(&world, &PARTS).len() > 6, "{:?}", left(&world, &PARTS));

        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        let report = finish(&world, &begun).await;
        assert_eq!((report.stage, report.counts["notifications"]), (ErasureStage::Done, 7));
        assert_eq!(left(&world, &PARTS), [""; 0]);
        assert_eq!(left(&world, &["of\":\"another app"]).len(), 1, "other apps are left alone");

        accept_all(&world, 50).await;
        assert_eq!(left(&world, &PARTS), [""; 0], "nor does what arrives later");
        let bodies = "SELECT DISTINCT body AS value FROM notifications WHERE message_id LIKE 'unreadable-%' AND platform_id";
        let bodies = world.raw().texts(&format!("{bodies} = '{}' ORDER BY body", world.platform.id));
        assert!(bodies.contains(&json!({ "appUserId": "…" }).to_string()), "the fields stay: {bodies:?}");
        let foreign = "SELECT DISTINCT app_user_id AS value FROM notifications WHERE message_id LIKE 'foreign-%'";
        let foreign = world.raw().texts(foreign);
        assert!(foreign.len() == 1 && foreign[0].starts_with("erased-"), "{foreign:?}");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn another_erasure_removes_what_an_earlier_release_left(world: World) {
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), OWN_ID, None).await.unwrap();
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        world.accept(foreign(&world, 1)).await;
        world.accept(unreadable(&world, 2, "{}")).await;
        world.raw().run(&format!(
            "UPDATE notifications SET app_user_id = '{STORE_ID}' WHERE app_user_id IS NOT NULL;
             UPDATE notifications SET body = 'about {STORE_ID}' WHERE message_id = 'unreadable-2'"
        ));
        let again = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        assert_eq!(again.user_id, begun.user_id, "without a name there is nothing to erase");
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), "anew", None).await.unwrap();
        let name = CustomerName::ExternalId("anew".to_owned());
        let again = world.store.erase_customer(by(&world, name)).await.unwrap();
        assert_ne!(again.user_id, begun.user_id);
        finish(&world, &again).await;
        assert_eq!(left(&world, &[STORE_ID, OWN_ID, "anew"]), [""; 0]);
        let query = format!("SELECT COUNT(*) AS value FROM tombstones WHERE app_id = '{}'", world.app.id);
        assert_eq!(world.raw().number(&query), 1, "the store's id stays the same tombstone");
    }
}

fn shown(placement: &str) -> Content {
    let paywall = json!({ "paywall": "summer", "placement": placement });
    Content::Impression(serde_json::from_value::<Impression>(paywall).unwrap())
}

fn bought(impression_id: &str) -> Content {
    let transaction = json!({
        "kind": "purchased", "receipt_id": "r1", "app_user_id": "another one", "sku": "gold", "impression_id": impression_id,
    });
    Content::Transaction(serde_json::from_value::<DeviceTransaction>(transaction).unwrap())
}

/// Returns this field of each reported event, in order.
fn reported_data(world: &World, pointer: &str) -> Vec<Value> {
    let bodies = world
        .raw()
        .texts("SELECT body AS value FROM device_events ORDER BY seq");
    let read = |body: &String| {
        serde_json::from_str::<Value>(body)
            .unwrap()
            .pointer(pointer)
            .cloned()
    };
    bodies
        .iter()
        .map(|body| read(body).unwrap_or_default())
        .collect()
}

story! {
    async fn texts_of_a_stranger_device_lose_the_name(world: World) {
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), OWN_ID, None).await.unwrap();
        let (named, own) = (format!("for {STORE_ID}"), format!("own-{OWN_ID}"));
        let reports = [report("a", 0, start(1)), report(&own, 1, shown(&named)), report("c", 2, shown("home"))];
        world.report(1, reports.into()).await;
        let found = left(&world, &[STORE_ID, OWN_ID]);
        assert_eq!(found.iter().filter(|one| one.starts_with("device_events.")).count(), 2, "{found:?}");
        let begun = world.store.erase_customer(by_own_id(&world)).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(left(&world, &[STORE_ID, OWN_ID]), [""; 0]);
        assert_eq!(reported_data(&world, "/data/placement"), [Value::Null, json!(REMOVED), json!("home")]);

        // From then on, the store's id is removed wherever a device sends it.
        let id = format!("1 {STORE_ID}");
        let again = || vec![report(&id, 3, shown(&named)), report("e", 4, bought(&id)), report("f", 5, shown("of another-customer"))];
        assert_eq!(world.report(1, again()).await.accepted, 3);
        assert_eq!(left(&world, &[STORE_ID]), [""; 0]);
        let expected = [json!(REMOVED), Value::Null, json!("of another-customer")];
        assert_eq!(reported_data(&world, "/data/placement")[3..], expected);
        assert_eq!(world.report(1, again()).await.repeated, 3, "a repeated report is still recognized");
        let led = reported_data(&world, "/data/impression_event_id")[4].clone();
        assert_eq!(led, reported_data(&world, "/attributes/event_id")[3], "the transaction names its impression");
    }
}

story! {
    async fn what_people_wrote_about_a_customer_is_replaced(world: World) {
        let numbers = integration(&world).await;
        let key = world.entitling(STORE_ID, "r1").await;
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), OWN_ID, None).await.unwrap();
        let until = world.store.now().await.unwrap().plus_millis(3_600_000);
        let store = world.store.because(Some(format!("{OWN_ID} asked for it")));
        store.hold(key, until, "support", "ticket 3").await.unwrap();
        world.store.because(Some("ticket 4".to_owned())).hold(key, until, "support", "ticket 3").await.unwrap();
        let erase = Erase { by: OWN_ID.to_owned(), reason: format!("request of {OWN_ID}"), ..by_own_id(&world) };
        let begun = store.erase_customer(erase).await.unwrap();
        assert_eq!((begun.by.as_str(), begun.reason.as_str()), (REMOVED, REMOVED), "from the beginning");
        finish(&world, &begun).await;
        let why = RequestOutcome::Failed(format!("no user {OWN_ID}"));
        world.store.note_deletions(begun.id, vec![(numbers, why)]).await.unwrap();
        assert_eq!(left(&world, &[OWN_ID, STORE_ID]), [""; 0]);
        let reasons = "SELECT reason AS value FROM audit_log WHERE reason IS NOT NULL ORDER BY seq";
        assert_eq!(world.raw().texts(reasons), [REMOVED, "ticket 4", REMOVED]);
        let report = world.store.erasure(world.app.id, begun.id).await.unwrap();
        assert_eq!(report.destinations[0].error.as_deref(), Some(REMOVED));
    }
}

story! {
    async fn an_erasure_changes_no_entry_of_others_and_no_name_of_a_key(world: World) {
        world.store.name_customer(world.app.id, Owner::AppUser(STORE_ID.to_owned()), "token", None).await.unwrap();
        let other = world.store.new_app("Other").await.unwrap().id;
        let authors = ["admin token", "Anna (admin token)", "token (admin token)"];
        for (app, author) in [Some(world.app.id), Some(other), None].into_iter().flat_map(|app| authors.map(|one| (app, one))) {
            let actor = Actor { reason: Some("of the token".to_owned()), ..Actor::named(author) };
            world.store.by(actor).record_audit_entry("rehearsal", app, "subject").await.unwrap();
        }
        let begun = world.store.erase_customer(by(&world, CustomerName::ExternalId("token".to_owned()))).await.unwrap();
        finish(&world, &begun).await;
        let query = "SELECT actor || ': ' || reason AS value FROM audit_log WHERE operation = 'rehearsal' ORDER BY seq";
        let removed = format!("{REMOVED} (admin token)");
        let own = [authors[0], authors[1], &removed].map(|author| format!("{author}: {REMOVED}"));
        let of_others = authors.map(|author| format!("{author}: of the token"));
        assert_eq!(world.raw().texts(query), [own, of_others.clone(), of_others].concat());
    }
}

story! {
    async fn a_run_named_after_an_erased_customer_happens_once(world: World) {
        let hook = world.destination("hook").await.id;
        let key = world.entitling(STORE_ID, "r1").await;
        drain(&world, key, hook).await;
        let resend = async || {
            let once = RunMode::Once(format!("for {STORE_ID}"));
            world.store.resend(RedeliverySelector::All.to(hook), Page::default(), once).await.unwrap()
        };
        let first = resend().await;
        assert!(first.requeued.pending > 0);
        world.store.resend(RedeliverySelector::All.to(hook), Page::default(), RunMode::Once("of nobody".to_owned())).await.unwrap();
        drain(&world, key, hook).await;
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        finish(&world, &begun).await;
        assert_eq!(left(&world, &[STORE_ID]), [""; 0]);
        let (deliveries, runs) = (world.count("deliveries"), "SELECT run AS value FROM pages WHERE run = 'of nobody'");
        assert_eq!((resend().await, world.raw().texts(runs).len()), (first, 1));
        assert_eq!(world.count("deliveries"), deliveries, "nothing is sent again");
    }
}

story! {
    async fn later_pages_of_a_concealed_run_do_not_name_the_customer(world: World) {
        let hook = world.destination("hook").await.id;
        for (customer, receipt) in [(STORE_ID, "r1"), ("another", "r2")] {
            let key = world.entitling(customer, receipt).await;
            drain(&world, key, hook).await;
        }
        let resend = async |cursor: Option<String>| {
            let (page, once) = (Page { cursor, limit: 1 }, RunMode::Once(format!("for {STORE_ID}")));
            world.store.resend(RedeliverySelector::All.to(hook), page, once).await.unwrap()
        };
        let first = resend(None).await;
        assert!(first.next_cursor.is_some(), "{first:?}");
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser(STORE_ID.to_owned()))).await.unwrap();
        finish(&world, &begun).await;
        let second = resend(first.next_cursor.clone()).await;
        assert!(second.checked > 0, "{second:?}");
        assert_eq!(left(&world, &[STORE_ID]), [""; 0]);
        assert_eq!(world.count("pages"), 2);
        assert_eq!((resend(None).await, resend(first.next_cursor.clone()).await), (first, second));
    }
}
