//! The effects of a transfer: the profiles of both users at an integration, and what undoing it restores.

use super::merging::seen;
use super::people::{by, customer, device, login, place};
use super::profiling::{PURCHASED, entitlements};
use super::world::{World, secret, story};
use domain::device::Device;
use domain::user::{Attributes, PROFILE_UPDATED};
use domain::{CollapseKey, DestinationId, DevicePlace, TransferId, TransitionKind, UserId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use storage::{CustomerKey, CustomerMove, Login, Owner, Run};
use system_tests::rows;

/// The entitlements in the newest state that an integration received, by user.
type Held = BTreeMap<String, Vec<String>>;

impl World {
    /// Moves a customer of the store manually.
    pub async fn hand_over(&self, app_user_id: &str, to: &str) -> TransferId {
        let customer = CustomerKey::Owner(Owner::AppUser(app_user_id.to_owned()));
        let wanted = CustomerMove {
            app: self.app.id,
            customer,
            to: to.to_owned(),
            author: by("ticket 1"),
        };
        self.store.move_customer(wanted).await.unwrap().id
    }

    /// Delivers all pending events of a lane, and records each user's entitlements at the integration.
    async fn keep(&self, key: CollapseKey, to: DestinationId, held: &mut Held) -> Vec<String> {
        let sent = self.drain(key, to).await;
        for (_, body) in sent
            .iter()
            .filter(|(kind, _)| kind == PROFILE_UPDATED || kind == PURCHASED)
        {
            let names = entitlements(body).into_iter().map(str::to_owned).collect();
            held.insert(body["user_id"].as_str().unwrap().to_owned(), names);
        }
        sent.into_iter().map(|(kind, _)| kind).collect()
    }

    /// Inserts a device that has reported before.
    pub fn know(&self, place: DevicePlace, described: &Device) {
        let DevicePlace {
            platform,
            device: id,
        } = place;
        let described = serde_json::to_string(described).unwrap();
        let device = rows::device(platform, id)
            .text("device", described)
            .text("secret_hash", secret(id).hex());
        self.raw().run(&device);
    }

    /// Returns the users of the devices, in order of device ids.
    fn device_owners(&self) -> Vec<String> {
        self.users_of_devices()
    }

    /// Returns the sum of the payments in a user's newest profile.
    fn paid(&self, user: UserId) -> Value {
        let newest = format!(
            "SELECT profile AS value FROM events WHERE user_id = '{user}' AND profile IS NOT NULL ORDER BY seq DESC LIMIT 1"
        );
        serde_json::from_str::<Value>(&self.raw().texts(&newest)[0]).unwrap()["ltv_usd"].clone()
    }
}

fn holding(all: &[(UserId, &[&str])]) -> Held {
    all.iter()
        .map(|(user, names)| {
            (
                user.to_string(),
                names.iter().map(|name| (*name).to_owned()).collect(),
            )
        })
        .collect()
}

story! {
    async fn after_a_transfer_each_user_has_their_own_profile(world: World) {
        let to = world.keeping("analytics", Attributes::Extended).await;
        let anna = world.name("c1", "anna").await;
        let key = world.entitling("c1", "r1").await;
        let mut held = Held::new();
        world.keep(key, to, &mut held).await;
        assert_eq!(held, holding(&[(anna, &["premium"])]));

        let moved = world.hand_over("c1", "otto").await;
        let otto = world.owner_of(key).await;
        assert_eq!(world.keep(key, to, &mut held).await, [PROFILE_UPDATED, PROFILE_UPDATED], "one of each user");
        assert_eq!(held, holding(&[(anna, &[]), (otto, &["premium"])]));
        assert_eq!(world.paid(anna), "0", "a payment is one user's");

        // Before any event of the undoing is sent, the purchase moves once more: each user's newest profile counts.
        world.store.undo_transfer(moved, by("by mistake")).await.unwrap();
        world.hand_over("c1", "otto").await;
        assert_eq!(world.keep(key, to, &mut held).await, [PROFILE_UPDATED, PROFILE_UPDATED]);
        assert_eq!(held, holding(&[(anna, &[]), (otto, &["premium"])]));
        world.happen_to("c1", "r1", &[TransitionKind::Renewed]).await;
        world.keep(key, to, &mut held).await;
        assert_eq!(held, holding(&[(anna, &[]), (otto, &["premium"])]));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_backfill_queues_what_another_users_profile_superseded(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        let anna = world.name("c1", "anna").await;
        let key = world.entitling("c1", "r1").await;
        let mut held = Held::new();
        world.keep(key, to, &mut held).await;
        world.hand_over("c1", "otto").await;
        let otto = world.owner_of(key).await;
        // Like earlier versions ended the delivery.
        world.raw().run(&format!(
            "UPDATE deliveries SET status = 'superseded', finished_at = created_at WHERE event_id IN
                 (SELECT id FROM events WHERE user_id = '{anna}' AND event_type = '{PROFILE_UPDATED}')"
        ));
        world.keep(key, to, &mut held).await;
        assert_eq!(held, holding(&[(anna, &["premium"]), (otto, &["premium"])]), "both have it there");
        assert_eq!(world.broken(1000).await, [("superseded_by_a_newer", 1)], "the check says so");

        assert_eq!(world.backfill(to, Run::Dry).await, 1);
        assert_eq!(world.backfill(to, Run::Real).await, 1);
        assert_eq!(world.backfill(to, Run::Real).await, 0, "it is queued once");
        assert_eq!(world.keep(key, to, &mut held).await, [PROFILE_UPDATED]);
        assert_eq!(held, holding(&[(anna, &[]), (otto, &["premium"])]));
        assert_eq!((world.backfill(to, Run::Dry).await, world.backfill(to, Run::Real).await), (0, 0));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn undoing_a_merge_takes_the_devices_back(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        let anna = world.name("anna's", "anna").await;
        let key = world.entitling("guest", "r1").await;
        let guest = customer(&world, "guest");
        let places = [1, 2, 3].map(|number| place(&world, number));
        for place in places {
            world.know(place, &device(place));
            world.claim_known(place, "r1", "guest").await;
        }
        assert_eq!(world.device_owners(), vec![guest.to_string(); 3]);
        world.drain(key, to).await;
        assert_eq!(world.name("guest", "anna").await, anna);
        assert_eq!(world.device_owners(), vec![anna.to_string(); 3]);
        let events = world.transfers();
        assert_eq!(seen(&events), [(&json!(guest), vec![], 0), (&json!(anna), vec!["premium"], 3)]);
        let profiles = world.drain(key, to).await;
        let [(kind, profile)] = &profiles[..] else { panic!("{profiles:?}") };
        assert_eq!((kind.as_str(), &profile["user_id"]), (PROFILE_UPDATED, &json!(anna)));
        assert_eq!(profile["devices"].as_array().unwrap().len(), 3, "a profile carries the devices");

        // Since then Anna's own server has signed her login on one of the devices, and another customer has logged in
        // on another.
        world.store.login(Login { is_signed: true, ..login(places[1], "anna") }).await.unwrap();
        let otto = world.store.login(login(places[2], "otto")).await.unwrap();
        let moved = world.store.transfers(anna).await.unwrap().into_iter().find(|one| one.from == guest).unwrap();
        assert_eq!(otto.transfers.len(), 1, "his device has the receipt");
        world.store.undo_transfer(otto.transfers[0].id, by("another mistake")).await.unwrap();
        let back = world.store.undo_transfer(moved.id, by("by mistake")).await.unwrap();
        assert_eq!(world.owner_of(key).await, guest);
        let owners = [guest, anna, otto.user_id].map(|user| user.to_string());
        assert_eq!(world.device_owners(), owners);
        let events = world.transfers();
        let [.., from, to_guest] = &events[..] else { panic!("{events:?}") };
        assert_eq!(seen(std::slice::from_ref(from)), [(&json!(anna), vec![], 1)]);
        assert_eq!(seen(std::slice::from_ref(to_guest)), [(&json!(guest), vec!["premium"], 1)]);
        world.store.undo_transfer(back.id, by("it was right")).await.unwrap();
        assert_eq!(world.device_owners(), [anna, anna, otto.user_id].map(|user| user.to_string()));
        assert_eq!(world.broken(1000).await, []);
    }
}
