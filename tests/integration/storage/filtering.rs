//! Filtered destinations: each receives the user's state computed only from the purchases that match its filter.

use super::profiling::{PURCHASED, entitlements};
use super::sending::{Sent, lease, must_send, rendering};
use super::world::{World, happened, new_destination, new_platform, record, renewal, story};
use domain::user::{Attributes, PROFILE_UPDATED};
use domain::{CollapseKey, DestinationId, PlatformId, TransitionKind};
use serde_json::Value;
use storage::{
    Change, EntitlementText, Filter, Lease, LeaseResult, Product, Rendered, Run, Verdict,
};

impl World {
    /// Creates another platform of the app.
    async fn other(&self) -> PlatformId {
        self.store
            .new_platform(new_platform(&self.app, "other"))
            .await
            .unwrap()
            .id
    }

    /// Creates a destination that is filtered to these platforms: an integration if `profile` is given, else a webhook.
    async fn of_platforms(
        &self,
        name: &str,
        platforms: &[PlatformId],
        profile: Option<Attributes>,
    ) -> DestinationId {
        let mut new = new_destination(&self.app, name);
        (new.traits.per_user, new.traits.profile) = (profile.is_some(), profile);
        new.common.events = vec![PURCHASED.to_owned()];
        new.common.filter = Filter {
            platforms: platforms.to_vec(),
            environments: Vec::new(),
        };
        self.store.new_destination(new).await.unwrap().id
    }

    /// Settles transitions of the same customer's receipt on a platform, for this product.
    async fn happens_on(
        &self,
        platform: PlatformId,
        receipt: &str,
        sku: &str,
        whats: &[TransitionKind],
    ) -> CollapseKey {
        let key = CollapseKey::of(platform, receipt);
        let number = self.load(key).await.revision + 1;
        self.accept(renewal(
            platform,
            &format!("{receipt}-{number}"),
            receipt,
            number * 1000,
        ))
        .await;
        self.settle_as(key, sku, whats).await;
        key
    }

    async fn settle_as(&self, key: CollapseKey, sku: &str, whats: &[TransitionKind]) {
        let mut record = happened(record(key, &self.load(key).await), whats);
        let mut purchase: Value = serde_json::to_value(&record.decision.purchase).unwrap();
        rename(&mut purchase, sku);
        record.decision.purchase = serde_json::from_value(purchase).unwrap();
        self.done(record).await;
    }

    /// Adds a product and an entitlement, both named `sku`, to the catalogue.
    async fn list(&self, sku: &str) {
        let named = Change::SetEntitlement(
            sku.to_owned(),
            EntitlementText {
                name: sku.to_owned(),
                description: None,
            },
        );
        let product = Product {
            entitlements: vec![sku.to_owned()],
            ..Product::default()
        };
        for change in [named, Change::SetProduct(sku.to_owned(), product)] {
            self.store
                .change_catalogue(self.app.id, change, Run::Real)
                .await
                .unwrap();
        }
    }

    /// Delivers all pending events of a lane, and returns the entitlements in each body.
    async fn shown(&self, key: CollapseKey, to: DestinationId) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        while let LeaseResult::Send(batch) = self.lease(key, to, "shown").await {
            let sent = Sent {
                batch,
                key,
                to,
                token: "shown".to_owned(),
                mode: storage::Mode::Lane,
            };
            for one in &sent.batch.attempts {
                let body: Value = serde_json::from_str(&one.body).unwrap();
                all.push(entitlements(&body).into_iter().map(str::to_owned).collect());
            }
            self.finish(&sent, Verdict::Delivered).await;
        }
        all
    }
}

/// Replaces each text `term` with another SKU.
fn rename(value: &mut Value, sku: &str) {
    match value {
        Value::String(text) if text == "term" => sku.clone_into(text),
        Value::Array(all) => all.iter_mut().for_each(|one| rename(one, sku)),
        Value::Object(fields) => fields.values_mut().for_each(|one| rename(one, sku)),
        _ => {}
    }
}

story! {
    async fn a_filtered_destination_gets_states_of_its_platforms_only(world: World) {
        let (x, y) = (world.platform.id, world.other().await);
        for sku in ["on-x", "on-y"] {
            world.list(sku).await;
        }
        let stored = world.of_platforms("kept", &[y], Some(Attributes::Extended)).await;
        let hook = world.of_platforms("hook", &[y], None).await;
        let both = world.of_platforms("both", &[y, x], Some(Attributes::Documented)).await;
        let all = world.of_platforms("all", &[], Some(Attributes::Documented)).await;
        let a = world.happens_on(x, "a", "on-x", &[TransitionKind::Purchased]).await;
        let b = world.happens_on(y, "b", "on-y", &[TransitionKind::Purchased]).await;
        for (to, shown) in [(stored, vec!["on-y"]), (hook, vec!["on-y"]), (both, vec!["on-x", "on-y"]), (all, vec!["on-x", "on-y"])] {
            assert_eq!(world.shown(b, to).await, [shown]);
        }
        world.happens_on(x, "a", "on-x", &[TransitionKind::Renewed]).await;
        world.list("gold").await;
        let listed = Product { entitlements: vec!["gold".to_owned()], ..Product::default() };
        world.store.change_catalogue(world.app.id, Change::SetProduct("on-x".to_owned(), listed), Run::Real).await.unwrap();
        world.settle_as(a, "on-x", &[]).await;
        assert_eq!((world.profiles(stored), world.profiles(all)), (0, 1),
            "the change is not on the destination's platforms");
        assert_eq!(world.profiles(both), 1);
        let listed = Product { entitlements: vec!["gold".to_owned()], ..Product::default() };
        world.store.change_catalogue(world.app.id, Change::SetProduct("on-y".to_owned(), listed), Run::Real).await.unwrap();
        world.settle_as(b, "on-y", &[]).await;
        assert_eq!((world.profiles(stored), world.profiles(hook)), (1, 0));
        let profile = world.attempt(b, stored, "profile").await;
        assert_eq!(entitlements(&serde_json::from_str::<Value>(&profile.body).unwrap()), ["gold"]);
        assert!(profile.event_type == PROFILE_UPDATED && !profile.body.contains("on-x"), "{}", profile.body);
        world.finish(&profile, Verdict::Delivered).await;
        assert_eq!(world.count(&format!("deliveries WHERE destination_id = '{stored}' AND collapse_key = '{a}'")), 0, "nothing is pending in the lane of a purchase outside the filter");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_state_missing_for_a_filter_is_not_in_profiles(world: World) {
        let (x, y) = (world.platform.id, world.other().await);
        for sku in ["on-x", "on-y"] {
            world.list(sku).await;
        }
        let to = world.of_platforms("late", &[], Some(Attributes::Documented)).await;
        world.happens_on(x, "a", "on-x", &[TransitionKind::Purchased]).await;
        let b = world.happens_on(y, "b", "on-y", &[TransitionKind::Purchased]).await;
        world.alter(to, move |common| common.filter.platforms = vec![y]).await;
        let render = rendering(|unsent| Rendered::Body(unsent.user_state.to_string()));
        let lease = Lease { render, ..lease(b, to, "late") };
        assert_eq!(must_send(&world.store, lease).await.body, "null");
    }
}
