//! Settings of an app and a platform: the catalogue, rates, and the purchases that a change causes to be rechecked.

use super::seeded::Seed;
use super::world::{World, is_missing, story};
use domain::catalogue::{Price, ProductRef};
use std::collections::BTreeMap;
use storage::{
    Catalogue, Change, EntitlementText, Error, ExposeSecret, Page, PlatformChange,
    PlatformSettings, Product, Rate, Run, entitlement_id,
};

fn named(name: &str) -> EntitlementText {
    EntitlementText {
        name: name.to_owned(),
        description: Some(format!("about {name}")),
    }
}

fn lists(refs: &[&str]) -> Product {
    let price = Price {
        country: Some("DE".to_owned()),
        currency: "EUR".to_owned(),
        price: "9.90".parse().unwrap(),
        since: Some("2026-03-01".parse().unwrap()),
    };
    Product {
        name: Some("a product".to_owned()),
        entitlements: refs.iter().map(|text| (*text).to_owned()).collect(),
        prices: vec![price],
    }
}

fn catalogue() -> Catalogue {
    Catalogue {
        entitlements: ["tv", "gold"].map(|id| (id.to_owned(), named(id))).into(),
        products: [("month", lists(&["tv", "gold"])), ("parent", lists(&[]))]
            .map(|(sku, p)| (sku.to_owned(), p))
            .into(),
    }
}

/// Inserts five purchases: `r1` of `month` and `parent`, `r2` of `month`, `r3` of `parent`, `r4` of neither, and `r5`
/// without SKUs.
fn seed(world: &World) {
    let of = |receipt, term_sku, product| {
        world.seed(&Seed {
            receipt,
            term_sku,
            product,
            ..Seed::default()
        })
    };
    of("r1", Some("month"), Some("parent"));
    of("r2", Some("month"), Some("else"));
    of("r3", None, Some("parent"));
    of("r4", Some("year"), Some("else"));
    of("r5", None, None);
}

story! {
    async fn a_catalogue_is_read_as_it_was_written(world: World) {
        let app = world.app.id;
        assert_eq!(world.store.catalogue(app).await.unwrap(), Catalogue::default());
        world.store.change_catalogue(app, Change::Replace(catalogue()), Run::Real).await.unwrap();
        assert_eq!(world.store.catalogue(app).await.unwrap(), catalogue(), "in the order of the product");
        let ids = "SELECT COUNT(*) AS value FROM entitlements WHERE id = ";
        let expected = format!("{ids}'{}'", entitlement_id(app, "gold"));
        assert_eq!(world.raw().number(&expected), 1);
        let other = world.store.new_app("Other").await.unwrap().id;
        world.store.change_catalogue(other, Change::Replace(catalogue()), Run::Real).await.unwrap();
        world.store.change_catalogue(app, Change::Replace(Catalogue::default()), Run::Real).await.unwrap();
        assert_eq!(world.store.catalogue(app).await.unwrap(), Catalogue::default());
        assert_eq!(world.store.catalogue(other).await.unwrap(), catalogue());
        world.store.change_catalogue(app, Change::Replace(catalogue()), Run::Real).await.unwrap();
        assert_eq!(world.raw().number(&expected), 1, "the same reference id has the same id again");
        let nowhere = domain::AppId::new(uuid::Uuid::from_u128(1));
        let error = world.store.change_catalogue(nowhere, Change::DeleteProduct("month".to_owned()), Run::Real).await;
        assert!(is_missing(&error.unwrap_err()));
    }
}

story! {
    async fn a_change_wakes_exactly_what_it_concerns(world: World) {
        let app = world.app.id;
        seed(&world);
        let change = async |change: Change| {
            world.sleep();
            let before = world.store.catalogue(app).await.unwrap();
            let dry = world.store.change_catalogue(app, change.clone(), Run::Dry).await.unwrap();
            assert_eq!((world.woken(), world.store.catalogue(app).await.unwrap()), (0, before), "a dry run changes nothing");
            let real = world.store.change_catalogue(app, change, Run::Real).await.unwrap();
            assert_eq!((dry, world.woken()), (real, real));
            real
        };
        assert_eq!(change(Change::Replace(catalogue())).await, 3);
        assert_eq!(change(Change::Replace(catalogue())).await, 0);
        assert_eq!(change(Change::SetEntitlement("tv".to_owned(), named("Television"))).await, 2);
        assert_eq!(change(Change::SetProduct("parent".to_owned(), lists(&["tv"]))).await, 2);
        assert_eq!(change(Change::SetProduct("else".to_owned(), lists(&["tv"]))).await, 2);
        assert_eq!(change(Change::DeleteEntitlement("tv".to_owned())).await, 4);
        assert_eq!(world.store.catalogue(app).await.unwrap().products["month"].entitlements, ["gold"]);
        assert_eq!(change(Change::DeleteProduct("month".to_owned())).await, 2);
        let error = world.store.change_catalogue(app, Change::DeleteProduct("month".to_owned()), Run::Dry).await;
        assert!(is_missing(&error.unwrap_err()));
        let unknown = Change::SetProduct("month".to_owned(), lists(&["silver"]));
        for run in [Run::Dry, Run::Real] {
            let error = world.store.change_catalogue(app, unknown.clone(), run).await.unwrap_err();
            assert!(matches!(&error, Error::Invalid { field: "entitlements", detail } if detail.contains("`silver`")), "{error}");
        }
    }
}

story! {
    async fn unlisted_skus_of_purchases_are_shown(world: World) {
        seed(&world);
        let unmapped = async || {
            let found = world.store.unmapped(world.app.id).await.unwrap();
            assert!(!found.1);
            found.0.into_iter().map(|one| (one.sku, one.purchases)).collect::<Vec<_>>()
        };
        let expected = [("month", 2), ("parent", 1), ("year", 1)].map(|(sku, count)| (sku.to_owned(), count));
        assert_eq!(unmapped().await, expected);
        let products = BTreeMap::from([("else".to_owned(), lists(&[]))]);
        let change = Change::Replace(Catalogue { products, ..Catalogue::default() });
        world.store.change_catalogue(world.app.id, change, Run::Real).await.unwrap();
        let expected = [("month", 1), ("parent", 1)].map(|(sku, count)| (sku.to_owned(), count));
        assert_eq!(unmapped().await, expected, "a listed parent is enough");
    }
}

story! {
    async fn the_later_rate_of_a_day_holds(world: World) {
        let rate = |day: &str, currency: &str, usd: &str| Rate {
            day: day.to_owned(),
            currency: currency.to_owned(),
            usd: usd.to_owned(),
        };
        let (first, second) = (rate("2026-01-31", "EUR", "1.08"), rate("2026-01-30", "EUR", "1.07"));
        let rates = vec![rate("2026-01-31", "EUR", "1"), first.clone(), second.clone(), rate("2026-01-31", "GBP", "1.3")];
        world.store.put_rates(world.app.id, rates).await.unwrap();
        let page = |cursor| Page { cursor, limit: 1 };
        let one = world.store.rates(world.app.id, "EUR", page(None)).await.unwrap();
        assert_eq!((one.items, one.next_cursor.as_deref()), (vec![second], Some("2026-01-30")));
        let two = world.store.rates(world.app.id, "EUR", page(one.next_cursor)).await.unwrap();
        assert_eq!((two.items, two.next_cursor), (vec![first], None));
        world.store.put_rates(world.app.id, vec![rate("2026-01-31", "EUR", "1.09")]).await.unwrap();
        let all = world.store.rates(world.app.id, "EUR", Page::default()).await.unwrap();
        assert_eq!(all.items[1].usd, "1.09");
        assert!(is_missing(&world.store.put_rates(domain::AppId::new(uuid::Uuid::from_u128(1)), Vec::new()).await.unwrap_err()));
    }
}

story! {
    async fn a_new_secret_is_tried_on_unanswered_purchases(world: World) {
        world.seed(&Seed { receipt: "r1", product: Some("p"), ..Seed::default() });
        world.seed(&Seed { receipt: "r2", ..Seed::default() });
        world.seed(&Seed { receipt: "r3", product: Some("p"), waits_for: Some("verification"), ..Seed::default() });
        world.seed(&Seed { receipt: "r4", product: Some("p"), ..Seed::default() });
        world.set_state(world.key("r1"), "expired");
        world.refuse_secret(5);
        let refused = world.store.platform(world.platform.id).await.unwrap().secret_refused_at;
        assert_eq!(refused.map(domain::Timestamp::micros), Some(5));
        let changed = world.set_secret(Some("another")).await;
        assert_eq!((changed.secret_refused_at, world.woken()), (None, 3), "what ended before is left alone");
        world.sleep();
        world.refuse_secret(1);
        world.set_secret(Some("another")).await;
        assert_eq!(world.woken(), 4, "what was settled since the store refused is settled again");
        world.sleep();
        world.set_secret(None).await;
        assert!(world.set(|settings| settings.flush_on_revoke = true).await.settings.flush_on_revoke);
        assert_eq!(world.woken(), 0);
    }
}

story! {
    async fn renaming_products_wakes_their_purchases(world: World) {
        seed(&world);
        world.set(|settings| settings.product_ref = ProductRef::Term).await;
        assert_eq!(world.woken(), 0, "an unchanged setting rechecks nothing");
        let changed = world.set(|settings| settings.product_ref = ProductRef::Parent).await;
        assert_eq!((changed.settings.product_ref, world.woken()), (ProductRef::Parent, 3));
    }
}

story! {
    async fn parked_purchases_are_rechecked_on_request(world: World) {
        world.seed(&Seed { receipt: "r1", waits_for: Some("parked"), ..Seed::default() });
        world.seed(&Seed { receipt: "r2", waits_for: Some("verification"), ..Seed::default() });
        assert_eq!((world.store.retry_parked(world.platform.id).await.unwrap(), world.woken()), (1, 1));
        let nowhere = domain::PlatformId::new(uuid::Uuid::from_u128(1));
        assert!(is_missing(&world.store.retry_parked(nowhere).await.unwrap_err()));
    }
}

story! {
    async fn a_first_secret_is_tried_on_all_open_purchases(world: World) {
        let key = world.seed(&Seed { receipt: "r1", product: Some("p"), ..Seed::default() });
        for state in ["trial", "trial_off", "active", "off", "grace"] {
            world.set_state(key, state);
            world.set_secret(None).await;
            assert_eq!(world.woken(), 0);
            world.set_secret(Some("new")).await;
            assert_eq!(world.woken(), 1, "{state}");
            world.sleep();
        }
    }
}

story! {
    async fn a_new_environment_is_tried_on_unaccepted_purchases(world: World) {
        world.seed(&Seed { receipt: "r1", product: Some("p"), ..Seed::default() });
        world.seed(&Seed { receipt: "r2", ..Seed::default() });
        world.seed(&Seed { receipt: "r3", product: Some("p"), waits_for: Some("parked"), ..Seed::default() });
        world.set(|settings| settings.environment = domain::Environment::Production).await;
        assert_eq!(world.woken(), 0, "an unchanged setting rechecks nothing");
        world.set(|settings| settings.environment = domain::Environment::Sandbox).await;
        assert_eq!(world.woken(), 2);
    }
}

story! {
    async fn two_changes_of_a_platform_at_once_both_hold(world: World) {
        let id = world.platform.id;
        let rename = |settings: &mut PlatformSettings| settings.name = "renamed".to_owned();
        let rotated = format!("UPDATE platforms SET publishable_key = 'rotated' WHERE id = '{id}'");
        let mut other = world.raw();
        // On SQLite, a writer excludes all others.
        if world.is_postgres() {
            other.run(&format!("BEGIN; {rotated}"));
            let store = world.store.clone();
            let renaming = async move { store.update_platform(id, PlatformChange::default(), rename).await.unwrap() };
            let renaming = tokio::spawn(renaming);
            world.wait_for_locks(1).await;
            other.run("COMMIT");
            renaming.await.unwrap();
        } else {
            other.run(&rotated);
            world.set(rename).await;
        }
        let platform = world.store.platform(id).await.unwrap();
        assert_eq!((platform.settings.name.as_str(), platform.publishable_key.as_str()), ("renamed", "rotated"));
    }
}

story! {
    async fn equal_secrets_have_different_versions(world: World) {
        let (one, other) = (world.destination("one").await.id, world.destination("two").await.id);
        let secret = async |id| world.store.destination_secret(id).await.unwrap().expose_secret().to_owned();
        let version = async |id| world.store.destination_secret_version(id).await.unwrap();
        assert_eq!(secret(one).await, secret(other).await);
        assert_ne!(version(one).await, version(other).await, "a guess cannot be compared with it");
    }
}
