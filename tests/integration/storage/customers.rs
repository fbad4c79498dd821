//! Naming customers, adopting their purchases, and backfills of later destinations.

use super::seeded::Seed;
use super::world::{World, is_missing, new_destination, new_platform, record, story};
use domain::{DestinationId, Outcome, RedeliverySelector, UserId};
use storage::{Adoption, CustomerKey, Error, Owner, Page, Run};
use system_tests::world::SOON;
use tokio::time::timeout;

fn app_user(name: &str) -> Owner {
    Owner::AppUser(name.to_owned())
}

fn is_conflict(error: &Error, text: &str) -> bool {
    matches!(error, Error::Conflict { detail, .. } if detail.contains(text))
}

story! {
    async fn a_first_id_names_an_anonymous_user_and_wakes_purchases(world: World) {
        let anonymous = UserId::anonymous(world.app.id, "amazon", "u1");
        let named = world.store.name_customer(world.app.id, app_user("u1"), "anna", None).await.unwrap();
        assert_eq!((named.user_id, named.external_id.as_deref()), (anonymous, Some("anna")));
        assert_eq!(named.app_user_ids, ["u1"]);
        world.seed(&Seed { receipt: "r1", app_user: Some("u1"), user: Some(anonymous.to_string()), ..Seed::default() });
        world.seed(&Seed { receipt: "r2", app_user: Some("u2"), ..Seed::default() });
        let again = world.store.name_customer(world.app.id, app_user("u1"), "anna", None).await.unwrap();
        assert_eq!((again, world.woken()), (named.clone(), 0), "the same again changes nothing");
        let found = |by| world.store.customer(world.app.id, by);
        for by in [
            CustomerKey::ExternalId("anna".to_owned()),
            CustomerKey::Owner(app_user("u1")),
            CustomerKey::Owner(Owner::Receipt("r1".to_owned())),
        ] {
            assert_eq!(found(by).await.unwrap(), named);
        }
        assert!(is_missing(&found(CustomerKey::ExternalId("otto".to_owned())).await.unwrap_err()));
        assert!(is_missing(&found(CustomerKey::Owner(app_user("u9"))).await.unwrap_err()));
    }
}

story! {
    async fn naming_wakes_the_purchases_of_a_user_who_was_known(world: World) {
        let user = world.store.name_customer(world.app.id, app_user("u1"), "other", None).await.unwrap().user_id;
        world.name_users(None);
        for receipt in ["r1", "r2"] {
            world.seed(&Seed { receipt, app_user: Some("u1"), user: Some(user.to_string()), ..Seed::default() });
        }
        world.seed(&Seed { receipt: "r3", app_user: Some("u2"), ..Seed::default() });
        world.store.name_customer(world.app.id, Owner::Receipt("r2".to_owned()), "anna", None).await.unwrap();
        assert_eq!(world.woken(), 2);
        let named = world.store.customer(world.app.id, CustomerKey::ExternalId("anna".to_owned())).await.unwrap();
        assert_eq!(named.user_id, user, "the first external id keeps the user");
    }
}

story! {
    async fn another_id_for_a_named_user_is_refused_with_the_first(world: World) {
        world.store.name_customer(world.app.id, app_user("u1"), "anna", None).await.unwrap();
        world.store.name_customer(world.app.id, app_user("u2"), "otto", None).await.unwrap();
        for wanted in ["bert", "otto"] {
            let error = world.store.name_customer(world.app.id, app_user("u1"), wanted, None).await.unwrap_err();
            assert!(is_conflict(&error, "`anna`") && is_conflict(&error, "settle customer move"), "{error}");
        }
        let anna = world.store.customer(world.app.id, CustomerKey::ExternalId("anna".to_owned())).await.unwrap();
        assert_eq!(anna.app_user_ids, ["u1"]);
    }
}

story! {
    async fn an_id_of_another_user_joins_the_two(world: World) {
        let anna = world.store.name_customer(world.app.id, app_user("u1"), "anna", None).await.unwrap();
        let user = UserId::anonymous(world.app.id, "amazon", "u2").to_string();
        world.raw().run(&format!(
            "INSERT INTO users (id, app_id, revision, created_at) VALUES ('{user}', '{app}', 3, 1);
             INSERT INTO store_users (app_id, store, app_user_id, user_id) VALUES ('{app}', 'amazon', 'u2', '{user}')",
            app = world.app.id
        ));
        world.seed(&Seed { receipt: "r1", app_user: Some("u1"), user: Some(anna.user_id.to_string()), ..Seed::default() });
        world.seed(&Seed { receipt: "r2", app_user: Some("u2"), user: Some(user), ..Seed::default() });
        let joined = world.store.name_customer(world.app.id, Owner::Receipt("r2".to_owned()), "anna", None).await.unwrap();
        assert_eq!((joined.user_id, &joined.app_user_ids[..]), (anna.user_id, &["u1".to_owned(), "u2".to_owned()][..]));
        let of_anna = format!("SELECT COUNT(*) AS value FROM purchases WHERE user_id = '{}'", anna.user_id);
        assert_eq!((world.raw().number(&of_anna), world.woken()), (2, 1),
            "the joining purchase is announced, the user's own one is not");
        assert_eq!(world.count("events"), 0);
    }
}

story! {
    async fn two_processes_that_name_at_once_leave_one_user(world: World) {
        let second = world.second_process().await;
        for number in 0..20 {
            let id = format!("customer {number}");
            let owner = |side: &str| app_user(&format!("{side}{number}"));
            let both = tokio::join!(
                world.store.name_customer(world.app.id, owner("left"), &id, None),
                second.name_customer(world.app.id, owner("right"), &id, None),
            );
            for (result, side) in [(both.0, "left"), (both.1, "right")] {
                match result {
                    Ok(_) => {}
                    Err(Error::Unavailable(_) | Error::Raced(_)) => drop(second.name_customer(world.app.id, owner(side), &id, None).await.unwrap()),
                    Err(other) => panic!("{other}"),
                }
            }
            let found = world.store.customer(world.app.id, CustomerKey::ExternalId(id)).await.unwrap();
            assert_eq!(found.app_user_ids, [format!("left{number}"), format!("right{number}")]);
        }
    }
}

story! {
    async fn a_receipt_without_a_customer_has_a_user_too(world: World) {
        world.seed(&Seed { receipt: "r1", ..Seed::default() });
        let named = world.store.name_customer(world.app.id, Owner::Receipt("r1".to_owned()), "anna", None).await.unwrap();
        assert_eq!(named.user_id, UserId::anonymous(world.app.id, "amazon", "receipt/r1"));
        assert_eq!(named.app_user_ids, [""; 0], "a receipt's anonymous user has no app_user_id");
        world.notify("m1", "r2", 1000).await;
        let otto = world.store.name_customer(world.app.id, Owner::Receipt("r2".to_owned()), "otto", None).await.unwrap();
        assert_eq!(otto.app_user_ids, ["customer-1"], "by notifications that are still open");
        let unknown = Owner::Receipt("r3".to_owned());
        assert!(is_missing(&world.store.name_customer(world.app.id, unknown, "bert", None).await.unwrap_err()));
    }
}

story! {
    async fn one_id_may_name_users_of_two_apps(world: World) {
        let other = world.store.new_app("Other").await.unwrap();
        let named = world.store.name_customer(world.app.id, app_user("u1"), "anna", None).await.unwrap();
        let error = world.store.name_customer(other.id, app_user("u1"), "anna", None).await.unwrap_err();
        assert!(is_conflict(&error, "no platform"), "{error}");
        world.store.new_platform(new_platform(&other, "ingress-2")).await.unwrap();
        let there = world.store.name_customer(other.id, app_user("u1"), "anna", None).await.unwrap();
        assert_ne!(there.user_id, named.user_id);
    }
}

fn adoption(receipt: &str, user: &str, external: Option<&str>) -> Adoption {
    Adoption {
        receipt_id: receipt.to_owned(),
        app_user_id: Some(user.to_owned()),
        external_id: external.map(str::to_owned),
    }
}

story! {
    async fn an_adopted_purchase_is_announced_once_and_counted(world: World) {
        world.seed(&Seed { receipt: "known", ..Seed::default() });
        world.store.name_customer(world.app.id, app_user("u2"), "otto", None).await.unwrap();
        let all = vec![adoption("known", "u1", None), adoption("r1", "u1", Some("anna")), adoption("r2", "u2", Some("bert"))];
        let at = domain::Timestamp::from_millis(1);
        let first = world.store.adopt(&world.platform, all.clone(), at).await.unwrap();
        let keys: Vec<_> = first.accepted.iter().map(|(key, _)| *key).collect();
        assert_eq!((keys, first.known, first.waiting), (vec![world.key("r1"), world.key("r2")], 1, 0));
        assert!(first.unnamed.len() == 1 && first.unnamed[0].0 == 2 && first.unnamed[0].1.contains("`otto`"));
        let anna = world.store.customer(world.app.id, CustomerKey::ExternalId("anna".to_owned())).await.unwrap();
        assert_eq!(anna.app_user_ids, ["u1"]);
        let loaded = world.store.load(world.key("r1"), 0, 500).await.unwrap();
        assert_eq!(loaded.notifications[0].1.kind, domain::NotificationKind::Adopted);
        assert!(!loaded.quiet.is_zero(), "an adopted purchase has a window");
        let later = at.plus_millis(60_000);
        let again = world.store.adopt(&world.platform, all.clone(), later).await.unwrap();
        assert_eq!((again.accepted.len(), again.known, again.waiting), (0, 1, 2));
        assert_eq!(world.store.count_adopted(world.platform.id).await.unwrap(), [(None, 2)]);
        world.store.discard(world.key("r1"), None, "me", "test").await.unwrap();
        let counts = world.store.count_adopted(world.platform.id).await.unwrap();
        assert!(counts.contains(&(None, 1)) && counts.contains(&(Some(Outcome::Discarded), 1)), "{counts:?}");
        let third = world.store.adopt(&world.platform, all, later).await.unwrap();
        assert_eq!((third.accepted.len(), third.known, third.waiting), (0, 2, 1));
    }
}

story! {
    async fn an_abandoned_import_is_adopted_again(world: World) {
        let (key, all) = (world.key("r1"), vec![adoption("r1", "u1", None)]);
        let at = domain::Timestamp::from_millis(1);
        for times in 1..=3 {
            let adopted = world.store.adopt(&world.platform, all.clone(), at.plus_millis(times)).await.unwrap();
            assert_eq!((adopted.accepted.len(), adopted.known, adopted.waiting), (1, 0, 0));
            let again = world.store.adopt(&world.platform, all.clone(), at.plus_millis(times + 10)).await.unwrap();
            assert_eq!((again.accepted.len(), again.known, again.waiting), (0, 0, 1));
            let mut lost = record(key, &world.load(key).await);
            (lost.is_answer, lost.is_real) = (false, false);
            lost.decision.purchase = domain::Purchase::default();
            lost.decision.outcomes = lost.seqs.iter().map(|seq| (*seq, Outcome::Abandoned)).collect();
            assert_eq!(world.done(lost).await, 0);
            assert_eq!(world.store.count_adopted(world.platform.id).await.unwrap(), [(Some(Outcome::Abandoned), times)]);
        }
    }
}

story! {
    async fn a_backfill_queues_each_newest_state_once(world: World) {
        let hook = world.destination("hook").await;
        for (receipt, revisions) in [("r1", 1), ("r2", 2), ("r3", 0)] {
            let key = world.seed(&Seed { receipt, ..Seed::default() });
            for revision in 1..=revisions {
                world.seed_event(key, revision);
            }
        }
        let page = |cursor| Page { cursor, limit: 2 };
        let missing = |id: DestinationId| RedeliverySelector::NeverQueued.to(id);
        let all = async |run| {
            let (mut purchases, mut pending, mut cursor) = (0, 0, None);
            loop {
                let part = world.store.resend(missing(hook.id), page(cursor), run).await.unwrap();
                purchases += part.checked;
                pending += part.requeued.pending;
                cursor = part.next_cursor;
                if cursor.is_none() {
                    return (purchases, pending);
                }
            }
        };
        let mut expected = vec![world.key("r1").to_string(), world.key("r2").to_string()];
        expected.sort_unstable();
        let pending = || {
            world.raw().texts("SELECT collapse_key AS value FROM deliveries WHERE status = 'pending' ORDER BY collapse_key")
        };
        assert_eq!((all(Run::Dry).await, pending()), ((3, 2), Vec::new()), "a dry run queues nothing");
        assert_eq!((all(Run::Real).await, pending()), ((3, 2), expected.clone()));
        let mut settling = world.raw();
        if world.is_postgres() {
            settling.run("BEGIN; SELECT 1 FROM purchases FOR UPDATE");
        }
        let again = timeout(SOON, all(Run::Real)).await.expect("it waits for no purchase");
        assert_eq!((again, pending()), ((3, 0), expected), "again queues nothing new");
        drop(settling);
        world.seed_event(world.key("r1"), 2);
        assert_eq!(all(Run::Real).await, (3, 1));
        let newest = "SELECT MAX(revision) AS value FROM deliveries";
        assert_eq!(world.raw().number(newest), 2);
        world.alter(hook.id, move |common| common.events = vec!["user.*".to_owned()]).await;
        let error = world.store.resend(missing(hook.id), Page::default(), Run::Dry).await.unwrap_err();
        let is_right = matches!(&error, Error::Unsuitable(why) if why.contains("user.* and not purchase.updated"));
        assert!(is_right, "{error}");
        let other = world.store.new_app("Other").await.unwrap();
        let stranger = world.store.new_destination(new_destination(&other, "hook")).await.unwrap();
        let part = world.store.resend(missing(stranger.id), Page::default(), Run::Real).await.unwrap();
        assert_eq!((part.checked, part.requeued.pending), (0, 0), "of its own app only");
    }
}
