//! What a transfer leaves behind: the profiles of both users at an integration, and what undoing it gives back.

use super::people::by;
use super::profiling::{PURCHASED, entitlements};
use super::world::{World, story};
use domain::user::{Attributes, PROFILE_UPDATED};
use domain::{CollapseKey, DestinationId, TransferId, TransitionKind, UserId};
use serde_json::Value;
use std::collections::BTreeMap;
use storage::{CustomerKey, CustomerMove, Owner, Page, Run};

/// What each user has by the newest state that an integration got.
type Held = BTreeMap<String, Vec<String>>;

impl World {
    /// Moves a customer of the store by a person.
    pub async fn hand_over(&self, app_user_id: &str, to: &str) -> TransferId {
        let customer = CustomerKey::Owner(Owner::AppUser(app_user_id.to_owned()));
        let wanted = CustomerMove { app: self.app.id, customer, to: to.to_owned(), author: by("ticket 1") };
        self.store.move_customer(wanted).await.unwrap().id
    }

    /// Delivers everything of a lane, and notes the entitlements that the integration knows each user by.
    async fn keep(&self, lane: (CollapseKey, DestinationId), held: &mut Held) -> Vec<String> {
        let sent = self.drain(lane).await;
        for (_, body) in sent.iter().filter(|(kind, _)| kind == PROFILE_UPDATED || kind == PURCHASED) {
            let names = entitlements(body).into_iter().map(str::to_owned).collect();
            held.insert(body["user_id"].as_str().unwrap().to_owned(), names);
        }
        sent.into_iter().map(|(kind, _)| kind).collect()
    }

    /// The sum of the payments in the newest profile of a user.
    fn paid(&self, user: UserId) -> Value {
        let newest = format!(
            "SELECT profile AS value FROM events WHERE user_id = '{user}' AND profile IS NOT NULL ORDER BY seq DESC LIMIT 1"
        );
        serde_json::from_str::<Value>(&self.raw().texts(&newest)[0]).unwrap()["ltv_usd"].clone()
    }
}

fn holding(all: &[(UserId, &[&str])]) -> Held {
    all.iter().map(|(user, names)| (user.to_string(), names.iter().map(|name| (*name).to_owned()).collect())).collect()
}

story! {
    async fn after_a_transfer_each_user_has_their_own_profile(world: World) {
        let to = world.keeping("analytics", Attributes::Extended).await;
        let anna = world.name("c1", "anna").await;
        let key = world.entitling("c1", "r1").await;
        let mut held = Held::new();
        world.keep((key, to), &mut held).await;
        assert_eq!(held, holding(&[(anna, &["premium"])]));

        let moved = world.hand_over("c1", "otto").await;
        let otto = world.owner_of(key).await;
        assert_eq!(world.keep((key, to), &mut held).await, [PROFILE_UPDATED, PROFILE_UPDATED], "one of each user");
        assert_eq!(held, holding(&[(anna, &[]), (otto, &["premium"])]));
        assert_eq!(world.paid(anna), "0", "a payment is one user's");

        // Before anything of the undoing is sent, the purchase moves once more: of each user the newest profile counts.
        world.store.undo_transfer(moved, by("by mistake")).await.unwrap();
        world.hand_over("c1", "otto").await;
        assert_eq!(world.keep((key, to), &mut held).await, [PROFILE_UPDATED, PROFILE_UPDATED]);
        assert_eq!(held, holding(&[(anna, &[]), (otto, &["premium"])]));
        world.happen_to("c1", "r1", &[TransitionKind::Renewed]).await;
        world.keep((key, to), &mut held).await;
        assert_eq!(held, holding(&[(anna, &[]), (otto, &["premium"])]));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_snapshot_owes_what_another_users_profile_superseded(world: World) {
        let to = world.keeping("analytics", Attributes::Documented).await;
        let anna = world.name("c1", "anna").await;
        let key = world.entitling("c1", "r1").await;
        let mut held = Held::new();
        world.keep((key, to), &mut held).await;
        world.hand_over("c1", "otto").await;
        let otto = world.owner_of(key).await;
        // As earlier versions ended it.
        world.raw().run(&format!(
            "UPDATE deliveries SET status = 'superseded', finished_at = created_at WHERE event_id IN
                 (SELECT id FROM events WHERE user_id = '{anna}' AND event_type = '{PROFILE_UPDATED}')"
        ));
        world.keep((key, to), &mut held).await;
        assert_eq!(held, holding(&[(anna, &["premium"]), (otto, &["premium"])]), "both have it there");
        assert_eq!(world.broken(1000).await, [("superseded_by_a_newer", 1)], "the audit says so");

        let snapshot = async |run| world.store.backfill(to, Page::default(), run).await.unwrap().owed;
        assert_eq!(snapshot(Run::Dry).await, [key]);
        assert_eq!(snapshot(Run::Real).await, [key]);
        assert_eq!(snapshot(Run::Real).await, [], "it is owed once");
        assert_eq!(world.keep((key, to), &mut held).await, [PROFILE_UPDATED]);
        assert_eq!(held, holding(&[(anna, &[]), (otto, &["premium"])]));
        assert_eq!((snapshot(Run::Dry).await, snapshot(Run::Real).await), (vec![], vec![]));
        assert_eq!(world.broken(1000).await, []);
    }
}
