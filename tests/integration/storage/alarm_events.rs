//! Events about alarms: which are recorded, once, and for which destinations.

use super::erasure::{OWN_ID, STORE_ID, by, finish, renew};
use super::operator_events::{chooses, fails};
use super::sending::Sent;
use super::world::{World, new_destination, story};
use domain::{CollapseKey, DestinationId, schemas};
use serde_json::Value;
use std::collections::BTreeSet;
use storage::{
    About, AlarmFilter, CustomerName, EventFilter, LeaseResult, Mode, Owner, Page, Verdict,
};

/// Records events as one sweep would; returns the destinations for which they are queued.
async fn sweep(world: &World) -> BTreeSet<DestinationId> {
    world
        .store
        .announce_alarms(100, Some("https://settle.example.com".into()))
        .await
        .unwrap()
}

/// Returns the bodies of all events of this type, in order, after checking them.
async fn bodies(world: &World, event_type: &str) -> Vec<Value> {
    let filter = EventFilter {
        types: vec![event_type.to_owned()],
        ..EventFilter::default()
    };
    let mut all = world
        .store
        .events(filter, Page::default())
        .await
        .unwrap()
        .items;
    all.reverse();
    let (.., schema) = schemas::all()
        .into_iter()
        .find(|(kind, ..)| *kind == event_type)
        .unwrap();
    for one in &all {
        assert!(jsonschema::is_valid(&schema, &one.body), "{}", one.body);
        assert_eq!(
            (&one.body["event_type"], &one.body["id"]),
            (&event_type.into(), &one.id.to_string().into())
        );
    }
    all.into_iter().map(|one| one.body).collect()
}

/// Acknowledges the open alarms.
async fn acknowledge(world: &World, note: &str) {
    let filter = AlarmFilter {
        open: Some(true),
        ..AlarmFilter::default()
    };
    let open = world
        .store
        .alarms_of(filter, Page::default())
        .await
        .unwrap()
        .items;
    assert_ne!(open, []);
    for one in open {
        world
            .store
            .acknowledge_alarm(one.id, note, None)
            .await
            .unwrap();
    }
}

story! {
    async fn an_alarm_is_announced_once_when_it_opens_and_when_it_closes(world: World) {
        let pager = chooses(&world, "pager", &["alarm.*"]).await;
        chooses(&world, "backend", &["*"]).await;
        assert_eq!(sweep(&world).await, [].into());
        for _ in 0..2 {
            world.store.alarm(About::Platform(world.platform.id), "odd", "something is odd").await.unwrap();
        }
        assert_eq!(sweep(&world).await, [pager].into());
        world.store.alarm(About::Platform(world.platform.id), "odd", "something is odd").await.unwrap();
        assert_eq!(sweep(&world).await, [].into(), "it is open, and was announced");
        acknowledge(&world, "seen").await;
        assert_eq!(sweep(&world).await, [pager].into());
        assert_eq!(sweep(&world).await, [].into());
        let opened = bodies(&world, "alarm.opened").await;
        assert_eq!(opened.len(), 1);
        let alarm = &opened[0]["alarm"];
        assert_eq!((&alarm["count"], &alarm["kind"], &alarm["detail"]), (&2.into(), &"odd".into(), &"something is odd".into()));
        assert_eq!(alarm["platform_id"], world.platform.id.to_string());
        assert_eq!(opened[0]["app_name"], world.app.name);
        let page = format!("https://settle.example.com/ui/connect/platforms/{}", world.platform.id);
        assert_eq!((&alarm["url"], alarm.get("cause")), (&page.into(), None));
        assert_eq!(alarm["about"], world.platform.settings.name);
        assert_eq!((&opened[0]["closed_by"], &opened[0]["note"]), (&Value::Null, &Value::Null));
        let closed = bodies(&world, "alarm.closed").await;
        assert_eq!((closed.len(), &closed[0]["note"]), (1, &"seen".into()));
        assert!(closed[0]["closed_by"].is_string(), "{}", closed[0]);
        world.store.alarm(About::Platform(world.platform.id), "odd", "something is odd").await.unwrap();
        assert_eq!(sweep(&world).await, [pager].into(), "it is open again");
        assert_eq!(bodies(&world, "alarm.opened").await.len(), 2);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn the_alarm_of_a_failing_destination_has_cause_and_counts(world: World) {
        let hook = chooses(&world, "hook", &["*"]).await;
        chooses(&world, "pager", &["alarm.opened"]).await;
        for number in 0..10 {
            fails(&world, number, hook).await;
        }
        sweep(&world).await;
        let opened = bodies(&world, "alarm.opened").await;
        assert_eq!(opened.len(), 1, "{opened:?}");
        let alarm = &opened[0]["alarm"];
        assert_eq!((&alarm["kind"], &alarm["cause"]), (&"destination_failing".into(), &"the endpoint answered 500".into()));
        assert_eq!((&alarm["failures"], &alarm["pending"]), (&10.into(), &10.into()));
        assert_eq!(alarm["url"], format!("https://settle.example.com/ui/destinations/{hook}"));
    }
}

story! {
    async fn what_closes_before_a_sweep_is_not_announced(world: World) {
        chooses(&world, "pager", &["alarm.*"]).await;
        world.store.alarm(None, "odd", "something is odd").await.unwrap();
        acknowledge(&world, "").await;
        assert_eq!(sweep(&world).await, [].into());
        assert_eq!(bodies(&world, "alarm.opened").await, [Value::Null; 0]);
    }
}

story! {
    async fn an_alarm_of_no_app_goes_to_all_and_never_to_its_destination(world: World) {
        let pager = chooses(&world, "pager", &["alarm.opened"]).await;
        let elsewhere = world.store.new_app("Other").await.unwrap();
        let mut new = new_destination(&elsewhere, "elsewhere");
        new.common.events = vec!["alarm.*".to_owned()];
        let elsewhere = world.store.new_destination(new).await.unwrap().id;
        world.store.alarm(About::Destination(pager), "odd", "the pager is odd").await.unwrap();
        assert_eq!(sweep(&world).await, [].into(), "it cannot take an event about itself");
        let filter = EventFilter { types: vec!["alarm.opened".to_owned()], ..EventFilter::default() };
        let event = world.store.events(filter, Page::default()).await.unwrap().items.remove(0);
        let explained = world.store.explain_event(event.id).await.unwrap();
        assert_eq!(explained.event.event.concerned.0, Some(pager));
        assert!(explained.addressees.iter().any(|one| one.destination.id == pager), "why it got none is explained");
        world.store.alarm(None, "odd", "all is odd").await.unwrap();
        assert_eq!(sweep(&world).await, [pager, elsewhere].into());
        let bodies = bodies(&world, "alarm.opened").await;
        let about_all = || bodies.iter().filter(|one| one["alarm"]["about"].is_null());
        let apps: BTreeSet<_> = about_all().filter_map(|one| one["app_id"].as_str()).collect();
        assert_eq!((bodies.len(), apps.len()), (3, 2), "one for each app: {bodies:?}");
        let id = about_all().next().unwrap()["alarm"]["id"].as_str().unwrap().parse().unwrap();
        let key = CollapseKey::of_alarm(id, world.app.id);
        let LeaseResult::Send(batch) = world.lease(key, pager, "w").await else { panic!("it is pending") };
        let body: Value = serde_json::from_str(&batch.attempts[0].body).unwrap();
        assert_eq!(body["alarm"]["detail"], "all is odd");
        world.finish(&Sent { batch, key, to: pager, token: "w".to_owned(), mode: Mode::Lane }, Verdict::Delivered).await;
        acknowledge(&world, "").await;
        assert_eq!(sweep(&world).await, [elsewhere].into(), "the pager chose the opening alone");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn an_erased_name_leaves_the_events_of_alarms_of_every_app(world: World) {
        let pager = chooses(&world, "pager", &["alarm.*"]).await;
        let elsewhere = world.store.new_app("Other").await.unwrap();
        let mut new = new_destination(&elsewhere, "elsewhere");
        new.common.events = vec!["alarm.*".to_owned()];
        let elsewhere = world.store.new_destination(new).await.unwrap().id;
        renew(&world, "r1", 1).await;
        let owner = Owner::AppUser(STORE_ID.to_owned());
        world.store.name_customer(world.app.id, owner, OWN_ID, None).await.unwrap();
        for detail in [format!("{OWN_ID} is odd"), format!("the customer {OWN_ID} is odd")] {
            world.store.alarm(None, "odd", &detail).await.unwrap();
        }
        acknowledge(&world, &format!("of {OWN_ID}")).await;
        world.store.alarm(None, "odd", &format!("{OWN_ID} is odd")).await.unwrap();
        assert_eq!(sweep(&world).await, [pager, elsewhere].into());
        let begun = world.store.erase_customer(by(&world, CustomerName::ExternalId(OWN_ID.to_owned()))).await.unwrap();
        finish(&world, &begun).await;
        for table in ["events", "deliveries", "alarms"] {
            let column = if table == "alarms" { "detail || COALESCE(note, '')" } else { "COALESCE(body, '')" };
            let texts = world.raw().texts(&format!("SELECT {column} AS value FROM {table}"));
            assert!(!texts.is_empty() && texts.iter().all(|text| !text.contains(OWN_ID)), "{table}: {texts:?}");
        }
        assert_eq!(sweep(&world).await, [].into(), "nobody is alarmed by an erasure");
        assert_eq!(world.broken(1000).await, []);
    }
}
