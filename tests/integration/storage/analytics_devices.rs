//! The app's own device id of a customer, by which an integration recognizes a repeated event: it is decided with the
//! first attempt of an event.

use super::sending::{RETRY, Sent, claim, finish, must_send, rendering};
use super::world::{World, story};
use domain::{CollapseKey, DestinationId, RedeliverySelector, TransitionKind};
use storage::{Claim, CustomerKey, CustomerNames, Owner, Page, Render, Rendered, Run, Verdict};

/// A body that names the device.
fn devices() -> Render {
    rendering(|unsent| Rendered::Body(format!("{} {:?}", unsent.event_type, unsent.analytics_device_id.as_deref())))
}

async fn send(world: &World, key: CollapseKey, to: DestinationId) -> Sent {
    must_send(&world.store, Claim { render: devices(), ..claim(key, to, "a") }).await
}

async fn name(world: &World, customer: &str, external_id: &str, device: Option<&str>) {
    let analytics_device_id = device.map(str::to_owned);
    let names = CustomerNames { external_id: external_id.to_owned(), analytics_device_id };
    world.store.name_customer(world.app.id, Owner::AppUser(customer.to_owned()), names).await.unwrap();
}

/// The device id of a customer, as it is stored.
async fn device(world: &World, external_id: &str) -> Option<String> {
    let key = CustomerKey::ExternalId(external_id.to_owned());
    world.store.customer(world.app.id, key).await.unwrap().analytics_device_id
}

const PURCHASED: &str = "user.subscription.purchased";
const RENEWED: &str = "user.subscription.renewed";

story! {
    async fn every_attempt_and_redelivery_of_an_event_has_the_device_id_of_the_first(world: World) {
        let (to, hook) = (world.analytics("analytics").await.id, world.destination("hook").await.id);
        world.happen_to("anna's", "r1", &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        let first = send(&world, key, to).await;
        assert_eq!(first.body, format!("{PURCHASED} None"));
        world.finish(&first, RETRY).await;
        name(&world, "anna's", "anna", Some("tv-1")).await;
        world.pass(5_001);
        let retried = send(&world, key, to).await;
        assert_eq!(retried.body, first.body, "the retry is frozen");
        // It dies without a clear answer, and a person sends it again: Amplitude may have it.
        world.end(finish(&retried, Verdict::Dead)).await;
        let again = RedeliverySelector::Event(first.event_id).to(Some(to));
        assert_eq!(world.store.redeliver_all(again, Page::default(), Run::Real).await.unwrap().owing.owed, 1);
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let sent = send(&world, key, to).await;
            bodies.push(sent.body.clone());
            world.finish(&sent, Verdict::Delivered).await;
        }
        bodies.sort();
        assert_eq!(bodies, ["purchase.updated Some(\"tv-1\")".to_owned(), format!("{PURCHASED} None")]);
        assert_eq!(send(&world, key, hook).await.body, format!("{PURCHASED} None"), "it is no matter of a webhook");

        world.happen_to("anna's", "r1", &[TransitionKind::Renewed]).await;
        let sent = send(&world, key, to).await;
        assert_eq!(sent.body, format!("{RENEWED} Some(\"tv-1\")"));
        world.finish(&sent, RETRY).await;
        name(&world, "anna's", "anna", Some("tv-2")).await;
        world.pass(5_001);
        assert_eq!(send(&world, key, to).await.body, sent.body);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_device_id_is_set_kept_and_taken_along(world: World) {
        name(&world, "anna's", "anna", Some("tv-1")).await;
        name(&world, "anna's", "anna", None).await;
        assert_eq!(device(&world, "anna").await.as_deref(), Some("tv-1"), "an absent one leaves it");
        name(&world, "otto's", "otto", None).await;
        world.happen_to("guest", "r1", &[]).await;
        world.raw().run("UPDATE users SET analytics_device_id = 'tv-2' WHERE external_id IS NULL");
        name(&world, "guest", "otto", None).await;
        assert_eq!(device(&world, "otto").await.as_deref(), Some("tv-2"), "a guest who turns out to be known brings it");
        world.happen_to("second guest", "r2", &[]).await;
        world.raw().run("UPDATE users SET analytics_device_id = 'tv-3' WHERE external_id IS NULL");
        name(&world, "second guest", "anna", None).await;
        assert_eq!(device(&world, "anna").await.as_deref(), Some("tv-1"), "a known one stays");
    }
}
