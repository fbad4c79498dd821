//! A customer's device id at an integration, by which the integration recognizes repeated events: it is fixed at the
//! first attempt of an event.

use super::erasure::{by, finish as erased, left};
use super::people::{device as described, log_in, place};
use super::sending::{RETRY, Sent, finish, lease, must_send, rendering};
use super::world::{World, secret, story};
use domain::device::Device;
use domain::user::{Attributes, PROFILE_UPDATED};
use domain::{CollapseKey, DestinationId, RedeliverySelector, TransitionKind, UserId};
use storage::{
    CustomerKey, CustomerName, CustomerNames, Lease, Owner, Page, Render, Rendered, Run, Verdict,
};

/// Returns a renderer whose body names the device.
fn devices() -> Render {
    rendering(|unsent| {
        Rendered::Body(format!(
            "{} {:?}",
            unsent.event_type,
            unsent.analytics_device_id.as_deref()
        ))
    })
}

async fn send(world: &World, key: CollapseKey, to: DestinationId) -> Sent {
    must_send(
        &world.store,
        Lease {
            render: devices(),
            ..lease(key, to, "a")
        },
    )
    .await
}

/// Sends a purchase's pending deliveries up to an event of this type, and returns that event's body.
async fn send_until(
    world: &World,
    key: CollapseKey,
    event_type: &str,
    to: DestinationId,
) -> String {
    loop {
        let sent = send(world, key, to).await;
        world.finish(&sent, Verdict::Delivered).await;
        if sent.body.starts_with(event_type) {
            return sent.body.clone();
        }
    }
}

async fn name(world: &World, customer: &str, external_id: &str, device: Option<&str>) {
    let analytics_device_id = device.map(str::to_owned);
    let names = CustomerNames {
        external_id: external_id.to_owned(),
        analytics_device_id,
    };
    world
        .store
        .name_customer(
            world.app.id,
            Owner::AppUser(customer.to_owned()),
            names,
            None,
        )
        .await
        .unwrap();
}

/// Returns the stored device id of a customer.
async fn device(world: &World, external_id: &str) -> Option<String> {
    let key = CustomerKey::ExternalId(external_id.to_owned());
    world
        .store
        .customer(world.app.id, key)
        .await
        .unwrap()
        .analytics_device_id
}

const PURCHASED: &str = "user.subscription.purchased";
const RENEWED: &str = "user.subscription.renewed";

story! {
    async fn attempts_and_redeliveries_have_the_device_id_of_the_first(world: World) {
        let (to, hook) = (world.analytics("analytics").await.id, world.destination("hook").await.id);
        world.happen_to("anna's", "r1", &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        let first = send(&world, key, to).await;
        assert_eq!(first.body, format!("{PURCHASED} None"));
        world.finish(&first, RETRY).await;
        let state = send(&world, key, to).await;
        assert_eq!(state.body, "purchase.updated None");
        world.finish(&state, Verdict::Delivered).await;
        name(&world, "anna's", "anna", Some("tv-1")).await;
        world.pass(5_001);
        let retried = send(&world, key, to).await;
        assert_eq!(retried.body, first.body, "the retry is frozen");
        // The delivery fails without a clear answer, and is resent by hand: Amplitude may already have the event.
        world.end(finish(&retried, Verdict::Failed)).await;
        let again = RedeliverySelector::Event(first.event_id).to(to);
        assert_eq!(world.store.resend(again, Page::default(), Run::Real).await.unwrap().requeued.pending, 1);
        let again = send(&world, key, to).await;
        assert_eq!((again.body.as_str(), again.number), (first.body.as_str(), 1), "another delivery, and the same device");
        world.finish(&again, Verdict::Delivered).await;
        assert_eq!(send(&world, key, hook).await.body, format!("{PURCHASED} None"), "it is no matter of a webhook");

        world.happen_to("anna's", "r1", &[TransitionKind::Renewed]).await;
        let sent = send(&world, key, to).await;
        assert_eq!(sent.body, format!("{RENEWED} Some(\"tv-1\")"));
        world.finish(&sent, RETRY).await;
        let state = send(&world, key, to).await;
        assert_eq!(state.body, "purchase.updated Some(\"tv-1\")");
        world.finish(&state, Verdict::Delivered).await;
        name(&world, "anna's", "anna", Some("tv-2")).await;
        world.pass(5_001);
        let retried = send(&world, key, to).await;
        assert_eq!(retried.body, sent.body);
        world.end(finish(&retried, Verdict::Failed)).await;
        let again = RedeliverySelector::Event(sent.event_id).to(to);
        assert_eq!(world.store.resend(again, Page::default(), Run::Real).await.unwrap().requeued.pending, 1);
        assert_eq!(send(&world, key, to).await.body, sent.body, "rendered anew, with the device of the first attempt");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_device_id_is_stored_and_taken_along(world: World) {
        name(&world, "anna's", "anna", Some("tv-1")).await;
        name(&world, "anna's", "anna", None).await;
        assert_eq!(device(&world, "anna").await.as_deref(), Some("tv-1"), "an absent one leaves it");
        name(&world, "otto's", "otto", None).await;
        world.happen_to("guest", "r1", &[]).await;
        world.set_device_of_guests("tv-2");
        name(&world, "guest", "otto", None).await;
        assert_eq!(device(&world, "otto").await.as_deref(), Some("tv-2"), "a guest who turns out to be known brings it");
        world.happen_to("second guest", "r2", &[]).await;
        world.set_device_of_guests("tv-3");
        name(&world, "second guest", "anna", None).await;
        assert_eq!(device(&world, "anna").await.as_deref(), Some("tv-1"), "a known one stays");
        drop(world.analytics("analytics").await);
        name(&world, "bert's", "bert", None).await;
        world.happen_to("bert's", "r3", &[TransitionKind::Purchased]).await;
        world.happen_to("third guest", "r4", &[]).await;
        world.set_device_of_guests("tv-4");
        name(&world, "third guest", "bert", None).await;
        assert_eq!(device(&world, "bert").await, None, "who was announced keeps the id of that time");
    }
}

story! {
    async fn a_verified_claim_gives_the_customer_the_id_of_its_device(world: World) {
        let to = world.analytics("analytics").await.id;
        let [first, second, own, annas, ottos, late] = [1, 2, 3, 4, 5, 6].map(|number| place(&world, number));
        for place in [first, second, annas, ottos, late] {
            world.know(place, &described(place));
        }
        world.know(own, &Device { analytics_device_id: Some("tv-2".to_owned()), ..described(own) });
        for (customer, receipt) in [("guest 1", "r1"), ("guest 2", "r2"), ("id 3", "r3"), ("id 4", "r4")] {
            world.happen_to(customer, receipt, &[]).await;
        }
        world.happen_to("guest 5", "r5", &[TransitionKind::Purchased]).await;
        let key = world.key("r5");
        let before = send(&world, key, to).await;
        assert_eq!(before.body, format!("{PURCHASED} None"));
        world.finish(&before, RETRY).await;
        let state = send(&world, key, to).await;
        world.finish(&state, Verdict::Delivered).await;
        name(&world, "id 3", "anna", Some("tv-1")).await;
        // Otto logged out on a device that still contains his receipt: the device is not his.
        name(&world, "id 4", "otto", None).await;
        log_in(&world.store, ottos, "otto").await;
        world.store.logout(ottos, described(ottos), secret(ottos.device)).await.unwrap();
        for (place, receipt, customer) in [
            (first, "r1", "guest 1"), (second, "r1", "guest 1"), (own, "r2", "guest 2"), (annas, "r3", "id 3"),
            (ottos, "r4", "id 4"), (late, "r5", "guest 5"),
        ] {
            world.claim_known(place, receipt, customer).await;
        }
        let id_of = |customer: &str| {
            let user = domain::UserId::anonymous(world.app.id, "amazon", customer);
            let select = format!("SELECT COALESCE(analytics_device_id, '-') AS value FROM users WHERE id = '{user}'");
            world.raw().texts(&select).remove(0)
        };
        assert_eq!(id_of("guest 1"), first.device.to_string(), "the first claim counts");
        assert_eq!(id_of("guest 2"), "tv-2", "the app's own id stands for the device's");
        assert_eq!(device(&world, "anna").await.as_deref(), Some("tv-1"), "another one was given");
        assert_eq!(device(&world, "otto").await, None, "the device is nobody's");
        assert_eq!(id_of("guest 5"), "-", "another id was announced, without a name");

        world.pass(5_001);
        assert_eq!(send(&world, key, to).await.body, before.body, "what was sent before is frozen");
        world.happen_to("guest 2", "r2", &[TransitionKind::Purchased]).await;
        let sent = send(&world, world.key("r2"), to).await;
        assert_eq!(sent.body, format!("{PURCHASED} Some(\"tv-2\")"));
        name(&world, "guest 1", "bert", Some("tv-3")).await;
        assert_eq!(device(&world, "bert").await.as_deref(), Some("tv-3"), "one that is given later stands for it");
        assert_eq!(world.broken(1000).await, []);
    }
}

/// Returns the user of a customer of the store without an external id.
fn guest(world: &World, customer: &str) -> UserId {
    UserId::anonymous(world.app.id, "amazon", customer)
}

/// Announces a purchase of a guest with this device id in analytics.
async fn announce(world: &World, customer: &str, receipt: &str, to: DestinationId, device: &str) {
    world.happen_to(customer, receipt, &[]).await;
    let user = guest(world, customer);
    world.raw().run(&format!(
        "UPDATE users SET analytics_device_id = '{device}' WHERE id = '{user}'"
    ));
    world
        .happen_to(customer, receipt, &[TransitionKind::Purchased])
        .await;
    let sent = send(world, world.key(receipt), to).await;
    let body = sent.batch.attempts.last().map(|one| one.body.clone());
    assert_eq!(body, Some(format!("{PURCHASED} Some(\"{device}\")")));
    world.finish(&sent, Verdict::Delivered).await;
}

story! {
    async fn what_was_announced_without_a_name_keeps_its_device_id(world: World) {
        let to = world.analytics("analytics").await.id;
        name(&world, "anna's", "anna", Some("tv-1")).await;
        world.happen_to("guest", "r1", &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        assert_eq!(send_until(&world, key, PURCHASED, to).await, format!("{PURCHASED} None"));
        // This guest has no device id yet.
        world.happen_to("silent guest", "r3", &[]).await;
        for guest in ["guest", "silent guest"] {
            name(&world, guest, "anna", None).await;
        }
        world.happen_to("guest", "r1", &[TransitionKind::Renewed]).await;
        world.happen_to("anna's", "r2", &[TransitionKind::Purchased]).await;
        world.happen_to("silent guest", "r3", &[TransitionKind::Renewed]).await;
        let with_name = [
            (key, RENEWED, "None"),
            (world.key("r2"), PURCHASED, "Some(\"tv-1\")"),
            (world.key("r3"), RENEWED, "Some(\"tv-1\")"),
        ];
        for (key, event_type, device) in with_name {
            let sent = send_until(&world, key, event_type, to).await;
            assert_eq!(sent, format!("{event_type} {device}"));
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn another_device_id_counts_once_an_event_with_the_name_arrived(world: World) {
        let (to, other) = (world.analytics("analytics").await.id, world.analytics("other").await.id);
        let key = world.key("r1");
        announce(&world, "guest", "r1", to, "tv-0").await;
        name(&world, "guest", "anna", Some("tv-1")).await;
        world.happen_to("guest", "r1", &[TransitionKind::Renewed]).await;
        let [event, state] = [RENEWED, "purchase.updated"].map(|event_type| format!("{event_type} Some(\"tv-0\")"));
        for body in [&event, &state] {
            let sent = send(&world, key, to).await;
            assert_eq!(sent.body, *body, "nothing with the name has arrived");
            world.finish(&sent, RETRY).await;
        }
        // A newer state is sent in place of the one that did not arrive.
        world.happen_to("guest", "r1", &[]).await;
        assert_eq!(send_until(&world, key, "purchase.updated", to).await, state);
        world.pass(5_001);
        assert_eq!(send_until(&world, key, RENEWED, to).await, event, "it is frozen");
        world.happen_to("guest", "r1", &[TransitionKind::Renewed]).await;
        assert_eq!(send_until(&world, key, RENEWED, to).await, format!("{RENEWED} Some(\"tv-1\")"));
        let first = send(&world, key, other).await;
        assert_eq!(first.body, format!("{PURCHASED} Some(\"tv-1\")"), "nothing was sent there before");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn each_lane_without_a_name_is_sent_it_once(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        world.entitle("gold").await;
        let receipts = [("guest 1", "r1", "tv-1"), ("guest 2", "r2", "tv-2"), ("guest 2", "r3", "tv-2")];
        for (customer, receipt, device) in receipts {
            announce(&world, customer, receipt, to, device).await;
        }
        let before = world.profiles(to);
        for customer in ["guest 1", "guest 2"] {
            name(&world, customer, "anna", Some("tv-9")).await;
        }
        let resettle = async || {
            for (_, receipt, _) in receipts {
                world.resettle(world.key(receipt)).await;
            }
        };
        resettle().await;
        assert_eq!(world.profiles(to), before + 3, "one in each, though only the first one changes something");
        resettle().await;
        assert_eq!(world.profiles(to), before + 3, "they are on their way");
        // Profiles older than the newest sent one name their devices too.
        let mut outdated = 0;
        for (_, receipt, device) in receipts {
            let sent = send(&world, world.key(receipt), to).await;
            assert_eq!(sent.body, format!("{PROFILE_UPDATED} Some(\"{device}\")"));
            outdated += usize::from(sent.batch.attempts[0].is_stale);
            world.finish(&sent, Verdict::Delivered).await;
        }
        assert!(outdated > 0, "a profile of an earlier revision was the last one");
        resettle().await;
        assert_eq!(world.profiles(to), before + 3, "once");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_purchase_that_grants_nothing_is_joined_too(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        announce(&world, "guest", "r1", to, "tv-0").await;
        assert_eq!(world.profiles(to), 0);
        name(&world, "guest", "anna", Some("tv-1")).await;
        world.resettle(world.key("r1")).await;
        let sent = send_until(&world, world.key("r1"), PROFILE_UPDATED, to).await;
        assert_eq!(sent, format!("{PROFILE_UPDATED} Some(\"tv-0\")"));
        world.resettle(world.key("r1")).await;
        assert_eq!(world.profiles(to), 1);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn the_device_id_of_an_erased_customer_is_not_sent_again(world: World) {
        let to = world.analytics("analytics").await.id;
        announce(&world, "guest", "r1", to, "tv-0").await;
        let begun = world.store.erase_customer(by(&world, CustomerName::AppUser("guest".to_owned()))).await.unwrap();
        erased(&world, &begun).await;
        assert_eq!(left(&world, &["tv-0"]), [""; 0]);
        world.happen_to("guest", "r1", &[TransitionKind::Renewed]).await;
        let sent = send_until(&world, world.key("r1"), RENEWED, to).await;
        assert_eq!(sent, format!("{RENEWED} None"));
        assert_eq!(world.broken(1000).await, []);
    }
}
