//! Lists with filters: each filter finds the matching rows, and a page costs the same with any filter.

use super::seeded::Seed;
use super::world::{World, story};
use domain::{AppId, EventId, Outcome, State, Timestamp, UserId};
use std::collections::BTreeSet;
use storage::{EventFilter, NotificationFilter, OutcomeFilter, Page, PurchaseFilter, Store};
use system_tests::rows;

const TYPES: [&str; 3] = [
    "purchase.updated",
    "user.subscription.renewed",
    "user.subscription.expired",
];

#[derive(Debug, Clone)]
struct Row {
    id: EventId,
    app: AppId,
    is_on_platform: bool,
    user: UserId,
    event_type: &'static str,
    environment: domain::Environment,
    at: i64,
}

/// Inserts events of two apps, with every combination of app, platform, user, type and environment.
async fn insert(world: &World) -> Vec<Row> {
    let other = world.store.new_app("other").await.unwrap().id;
    let mut rows = Vec::new();
    for number in 0..240_i64 {
        let is_own = number % 3 > 0;
        let app = if is_own { world.app.id } else { other };
        let is_on_platform = is_own && number % 2 == 0;
        let environment = if number % 5 == 0 {
            domain::Environment::Sandbox
        } else {
            domain::Environment::Production
        };
        let event_type = TYPES[usize::try_from(number / 7).unwrap() % 3];
        let user = UserId::new(uuid::Uuid::from_u128(u128::try_from(number % 4).unwrap()));
        let (event, key) = (
            EventId::new(uuid::Uuid::from_u128(
                1000 + u128::try_from(number).unwrap(),
            )),
            if is_on_platform {
                world.key("r1").to_string()
            } else {
                format!("k{number}")
            },
        );
        rows.push(Row {
            id: event,
            app,
            is_on_platform,
            user,
            event_type,
            environment,
            at: number * 1_000_000,
        });
        let environment = environment.as_str();
        let key = uuid::Uuid::try_parse(&key).unwrap_or(uuid::Uuid::from_u128(5));
        let row = rows::events()
            .text("id", event)
            .text("collapse_key", key)
            .text("app_id", app)
            .text("user_id", user);
        let row = row
            .text("event_type", event_type)
            .sql("revision", number)
            .text("environment", environment);
        world.raw().run(&row.sql("created_at", number * 1_000_000));
    }
    rows
}

/// Returns all events that match a filter, from as many pages as needed.
async fn walked(store: &Store, filter: &EventFilter, limit: i64) -> Vec<EventId> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = store
            .events(filter.clone(), Page { cursor, limit })
            .await
            .unwrap();
        assert!(i64::try_from(page.items.len()).unwrap() <= limit);
        found.extend(page.items.into_iter().map(|event| event.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

story! {
    async fn each_filter_of_events_finds_what_it_names(world: World) {
        world.seed(&Seed { receipt: "r1", ..Default::default() });
        let rows = insert(&world).await;
        let micros = Timestamp::from_micros;
        let mut seen = BTreeSet::new();
        for number in 0..256_u32 {
            let has = |bit: u32| number & (1 << bit) != 0;
            let mut types: Vec<String> = Vec::new();
            types.extend(has(2).then(|| TYPES[0].to_owned()));
            types.extend(has(3).then(|| TYPES[2].to_owned()));
            let filter = EventFilter {
                app_id: has(0).then_some(world.app.id),
                platform_id: has(1).then_some(world.platform.id),
                user_id: has(4).then(|| rows[1].user),
                environment: has(5).then_some(domain::Environment::Sandbox),
                from: has(6).then(|| micros(60_000_000)),
                until: has(7).then(|| micros(200_000_000)),
                types,
                ..EventFilter::default()
            };
            let is_wanted = |row: &&Row| {
                filter.app_id.is_none_or(|app| row.app == app)
                    && (filter.platform_id.is_none() || row.is_on_platform)
                    && (filter.types.is_empty() || filter.types.iter().any(|name| *name == row.event_type))
                    && filter.user_id.is_none_or(|user| row.user == user)
                    && filter.environment.is_none_or(|environment| row.environment == environment)
                    && filter.from.is_none_or(|from| row.at >= from.micros())
                    && filter.until.is_none_or(|until| row.at < until.micros())
            };
            let expected: Vec<EventId> = rows.iter().rev().filter(is_wanted).map(|row| row.id).collect();
            assert_eq!(walked(&world.store, &filter, 7).await, expected, "{filter:?}");
            seen.insert(expected.len());
        }
        assert!(seen.len() > 10, "{seen:?}");
        let one = EventFilter { id: Some(rows[9].id), ..EventFilter::default() };
        assert_eq!(walked(&world.store, &one, 7).await, [rows[9].id]);
        let late = EventFilter { from: Some(micros(240_000_000)), ..EventFilter::default() };
        assert_eq!(walked(&world.store, &late, 7).await, []);
    }
}

story! {
    async fn a_page_walks_a_bounded_number_of_rows(world: World) {
        let app = world.app.id;
        let insert = |from: i64, to: i64, what: &str| {
            let events = rows::events().numbered(from, to).sql("id", "'e' || i").sql("collapse_key", "'k' || i");
            let events = events.text("app_id", app).text("event_type", what).sql("revision", "i");
            world.raw().run(&events.sql("created_at", "i"));
        };
        let [event, key] = [1, 2].map(uuid::Uuid::from_u128);
        world.raw().run(&rows::events().text("id", event).text("collapse_key", key).text("app_id", app));
        insert(2, 50_000, "user.subscription.renewed");
        let rare = EventFilter {
            app_id: Some(app),
            types: vec!["purchase.updated".to_owned(), "user.subscription.expired".to_owned()],
            ..EventFilter::default()
        };
        let first = world.store.events(rare.clone(), Page::default()).await.unwrap();
        assert_eq!(first.items, [], "it is far behind");
        let cursor = first.next_cursor.clone().expect("the walk goes on");
        assert!(cursor.parse::<i64>().unwrap() > 29_000, "{cursor}");
        let (mut pages, mut page, mut found) = (1, first, 0);
        while let Some(cursor) = page.next_cursor {
            page = world.store.events(rare.clone(), Page { cursor: Some(cursor), limit: 10 }).await.unwrap();
            (pages, found) = (pages + 1, found + page.items.len());
        }
        assert_eq!((pages, found), (3, 1));
        // Of two possible indexes, the more selective one is walked: a rare type is found at once.
        let one_type = EventFilter { types: vec!["purchase.updated".to_owned()], ..rare };
        let found = world.store.events(one_type, Page::default()).await.unwrap();
        assert_eq!((found.items.len(), found.next_cursor), (1, None));
    }
}

story! {
    async fn a_customer_with_more_purchases_than_a_page_walks_is_listed(world: World) {
        let purchases = rows::purchases(world.platform.id, world.app.id).numbered(1, 25_000).text("app_user_id", "none");
        let key = "substr('00000000-0000-4000-8000-000000000000', 1, 36 - length(i || '')) || i";
        let purchases = purchases.sql("collapse_key", key).text("receipt_id", "r").sql("updated_at", "i");
        world.raw().run(&purchases.sql("state", "CASE i WHEN 1 THEN 'expired' ELSE 'active' END"));
        let of = |state| PurchaseFilter { app_user_id: Some("none".to_owned()), state, ..PurchaseFilter::default() };
        let list = async |filter: &PurchaseFilter, cursor| {
            world.store.purchases(filter.clone(), Page { cursor, limit: 10 }).await.unwrap()
        };
        let (all, held) = (of(None), PurchaseFilter { held: Some(true), ..of(None) });
        let first = list(&all, None).await;
        let at: Vec<i64> = first.items.iter().map(|one| one.updated_at.micros()).collect();
        assert_eq!(at, (24_991..=25_000).rev().collect::<Vec<_>>());
        let second = list(&all, first.next_cursor).await;
        assert_eq!(second.items[0].updated_at.micros(), 24_990);
        let rare = list(&of(Some(State::Expired)), None).await;
        assert_eq!((rare.items.len(), rare.next_cursor), (1, None), "few are in this state");
        // The customer and the state both have many purchases, so the newest purchases in the state are walked.
        let both = PurchaseFilter { held: Some(false), ..of(Some(State::Active)) };
        assert_eq!(list(&both, None).await.items.len(), 10);
        let _hook = world.destination("hook").await;
        let failing = PurchaseFilter { failing: Some(true), ..of(Some(State::Active)) };
        let nothing = list(&failing, None).await;
        assert_eq!((nothing.items.len(), nothing.next_cursor), (0, None), "no delivery fails");
        let nobody = list(&held, None).await;
        assert_eq!((nobody.items.len(), nobody.next_cursor), (0, None), "nothing is held");
    }
}

story! {
    async fn notifications_are_found_by_outcome_and_time(world: World) {
        for number in 1..=40_i64 {
            world.notify(&format!("m{number}"), "r1", number).await;
        }
        world.raw().run(
            "UPDATE notifications SET accepted_at = seq * 60000000;
             UPDATE notifications SET outcome = CASE seq % 4 WHEN 1 THEN 'settled' WHEN 2 THEN 'refused' WHEN 3 THEN 'unknown' END;",
        );
        let list = async |filter: NotificationFilter| {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let page = world.store.notifications(filter.clone(), Page { cursor, limit: 3 }).await.unwrap();
                found.extend(page.items.into_iter().map(|one| one.seq));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    return found;
                }
            }
        };
        let outcomes = [
            (None, None),
            (Some(OutcomeFilter::Open), Some(0)),
            (Some(OutcomeFilter::Is(Outcome::Settled)), Some(1)),
            (Some(OutcomeFilter::Is(Outcome::Refused)), Some(2)),
            (Some(OutcomeFilter::Is(Outcome::Unknown)), Some(3)),
            (Some(OutcomeFilter::Is(Outcome::Abandoned)), Some(9)),
        ];
        let minute = |number: i64| Timestamp::from_micros(number * 60_000_000);
        let nothing = domain::PlatformId::new(uuid::Uuid::from_u128(3));
        for (outcome, rest) in outcomes {
            for (from, until) in [(None, None), (Some(10), None), (None, Some(20)), (Some(5), Some(30)), (Some(50), None)] {
                for platform in [None, Some(world.platform.id), Some(nothing)] {
                    let filter = NotificationFilter {
                        app: platform.map(|_| world.app.id),
                        platform,
                        outcome,
                        from: from.map(minute),
                        until: until.map(minute),
                    };
                    let expected: Vec<i64> = (1..=40)
                        .rev()
                        .filter(|seq| rest.is_none_or(|rest| seq % 4 == rest))
                        .filter(|seq| from.is_none_or(|from| *seq >= from) && until.is_none_or(|until| *seq < until))
                        .filter(|_| platform != Some(nothing))
                        .collect();
                    assert_eq!(list(filter.clone()).await, expected, "{filter:?}");
                }
            }
        }
    }
}

story! {
    async fn purchases_are_found_by_state_hold_and_trouble(world: World) {
        let keys = ["a", "b", "c", "d"].map(|receipt| world.seed(&Seed { receipt, ..Default::default() }));
        let destination = world.destination("hook").await.id;
        let later = world.store.now().await.unwrap().plus_millis(3_600_000).micros();
        world.raw().run(&format!(
            "UPDATE purchases SET state = 'grace' WHERE collapse_key = '{}';
             UPDATE purchases SET held_until = {later} WHERE collapse_key = '{}';
             UPDATE purchases SET held_until = 5 WHERE collapse_key = '{}';",
            keys[0], keys[1], keys[2]
        ));
        for (number, (key, tried)) in [(keys[2], "7"), (keys[3], "NULL")].into_iter().enumerate() {
            world.seed_event(key, 1);
            let event = EventId::of(key, 1, 1, "purchase.updated", 0);
            let delivery = rows::deliveries().text("id", format!("d{number}")).text("destination_id", destination);
            let delivery = delivery.text("event_id", event).text("collapse_key", key).sql("attempts", 1);
            world.raw().run(&delivery.sql("tried_at", tried));
        }
        let list = async |filter: PurchaseFilter| {
            let found = world.store.purchases(filter, Page::default()).await.unwrap().items;
            let receipts: BTreeSet<String> = found.into_iter().map(|one| one.receipt_id).collect();
            receipts.into_iter().collect::<String>()
        };
        let none = PurchaseFilter::default;
        assert_eq!(list(none()).await, "abcd");
        assert_eq!(list(PurchaseFilter { state: Some(domain::State::Grace), ..none() }).await, "a");
        assert_eq!(list(PurchaseFilter { state: Some(domain::State::Active), ..none() }).await, "bcd");
        assert_eq!(list(PurchaseFilter { held: Some(true), ..none() }).await, "b");
        assert_eq!(list(PurchaseFilter { held: Some(false), ..none() }).await, "acd");
        assert_eq!(list(PurchaseFilter { failing: Some(true), ..none() }).await, "c");
        assert_eq!(list(PurchaseFilter { failing: Some(false), ..none() }).await, "abd");
        let both = PurchaseFilter { failing: Some(false), held: Some(false), app_id: Some(world.app.id), ..none() };
        assert_eq!(list(both).await, "ad");
        assert_eq!(list(PurchaseFilter { held: Some(true), failing: Some(true), ..none() }).await, "");
    }
}
