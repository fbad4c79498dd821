//! Purchases that a device moves from one named customer to another: at once, after a person's decision, or not at all.

use super::people::{by, customer, device, log_in, place};
use super::world::{World, is_missing, new_platform, secret, story};
use domain::{AppId, CollapseKey, DevicePlace, ReviewId, TransferPolicy, UserId};
use storage::{AlarmFilter, Answered, Error, Page, Review, TransferCause};
use uuid::Uuid;

/// A purchase of `anna`, who is the store's customer `c1`; a device claims it with receipt and customer id.
struct Stolen {
    key: CollapseKey,
    anna: UserId,
}

impl World {
    async fn transfers_are(&self, policy: TransferPolicy) {
        assert_eq!(
            self.set(move |settings| settings.transfers = Some(policy))
                .await
                .transfers(),
            policy
        );
    }

    async fn stolen(&self) -> Stolen {
        let key = self.entitling("c1", "r1").await;
        let anna = self.name("c1", "anna").await;
        Stolen { key, anna }
    }

    async fn open_reviews(&self) -> Vec<Review> {
        self.store
            .reviews(self.app.id, Page::default())
            .await
            .unwrap()
            .items
    }

    /// Returns the kinds of the open alarms.
    async fn open_alarms(&self) -> Vec<String> {
        let filter = AlarmFilter {
            open: Some(true),
            ..AlarmFilter::default()
        };
        let alarms = self
            .store
            .alarms_of(filter, Page::default())
            .await
            .unwrap()
            .items;
        alarms.into_iter().map(|alarm| alarm.kind).collect()
    }

    /// Returns the number of entitlements that a device has.
    async fn usable(&self, number: u128) -> usize {
        let place = place(self, number);
        self.store
            .device_access(self.app.id, place, secret(place.device))
            .await
            .unwrap()
            .entitlements
            .len()
    }

    fn moves(&self) -> Vec<String> {
        self.raw().texts(
            "SELECT actor AS value FROM audit_log WHERE operation = 'device.move' ORDER BY seq",
        )
    }
}

fn is_conflict(result: Result<Answered, Error>) -> bool {
    matches!(result, Err(Error::Conflict { .. }))
}

story! {
    async fn a_stolen_pair_moves_no_customer_under_review(world: World) {
        let Stolen { key, anna } = world.stolen().await;
        let before = world.transfers().len();
        for (number, policy) in [(1, TransferPolicy::Never), (2, TransferPolicy::Review)] {
            world.transfers_are(policy).await;
            let here = place(&world, number);
            world.claim_verified(here, "r1", "c1");
            for _ in 0..2 {
                let mallory = log_in(&world.store, here, "mallory").await;
                assert_eq!((mallory.transfers.len(), world.owner_of(key).await), (0, anna), "{policy:?}");
                assert_eq!(world.usable(number).await, 0, "{policy:?}");
                world.store.logout(here, device(here), secret(here.device)).await.unwrap();
            }
        }
        // There is only one review per pair of customers, whatever the device.
        let third = place(&world, 3);
        world.claim_verified(third, "r1", "c1");
        log_in(&world.store, third, "mallory").await;
        assert_eq!((world.transfers().len(), world.moves().len(), world.owner_of(key).await), (before, 0, anna));
        let [review] = &world.open_reviews().await[..] else { panic!("one question") };
        let names = (review.from_external_id.as_deref(), review.to_external_id.as_deref());
        assert_eq!((names, review.is_approved), ((Some("anna"), Some("mallory")), None));
        assert_eq!(world.open_alarms().await, ["transfer_wanted"]);

        let refused = world.store.refuse_transfer(review.id, by("ticket 1")).await.unwrap();
        assert_eq!((refused.review.is_approved, refused.transfer), (Some(false), None));
        assert!(is_conflict(world.store.refuse_transfer(review.id, by("again")).await));
        assert_eq!((world.open_reviews().await, world.open_alarms().await), (vec![], vec![]));
        world.store.logout(third, device(third), secret(third.device)).await.unwrap();
        log_in(&world.store, third, "mallory").await;
        assert_eq!((world.owner_of(key).await, world.open_alarms().await), (anna, vec![]), "the answer is kept");
        world.store.logout(third, device(third), secret(third.device)).await.unwrap();
        world.transfers_are(TransferPolicy::Immediate).await;
        log_in(&world.store, third, "mallory").await;
        assert_eq!(world.owner_of(key).await, anna, "a refusal holds under every policy");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn what_a_person_approves_moves_now_and_later(world: World) {
        let Stolen { key, anna } = world.stolen().await;
        let untouched = world.entitling("c2", "r2").await;
        world.name("c2", "anna").await;
        world.transfers_are(TransferPolicy::Review).await;
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "c1");
        let otto = log_in(&world.store, here, "otto").await.user_id;
        let id = ReviewId::of(anna, otto);
        let Answered { review, transfer } = world.store.approve_transfer(id, by("ticket 1")).await.unwrap();
        let transfer = transfer.expect("a transfer");
        assert_eq!((review.is_approved, transfer.cause, transfer.author), (Some(true), TransferCause::Admin, Some(by("ticket 1"))));
        assert_eq!((world.owner_of(key).await, world.owner_of(untouched).await), (otto, anna));
        assert_eq!((world.usable(1).await, world.open_alarms().await), (1, vec![]));
        assert!(is_conflict(world.store.approve_transfer(id, by("again")).await));

        // The same two customers again: the decision is known.
        let there = place(&world, 2);
        world.claim_verified(there, "r2", "c2");
        log_in(&world.store, there, "otto").await;
        assert_eq!((world.owner_of(untouched).await, world.moves().len()), (otto, 1));
        // The approval ends; what was moved stays.
        let later = world.store.refuse_transfer(id, by("ticket 2")).await.unwrap();
        assert_eq!((later.transfer, world.owner_of(key).await), (None, otto));
        // Nothing is left to move.
        assert_eq!(world.store.approve_transfer(id, by("ticket 3")).await.unwrap().transfer, None);
        assert!(is_missing(&world.store.approve_transfer(ReviewId::of(otto, anna), by("x")).await.unwrap_err()));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_claim_on_a_device_of_another_customer_is_reviewed_too(world: World) {
        let Stolen { key, anna } = world.stolen().await;
        world.transfers_are(TransferPolicy::Review).await;
        let here = place(&world, 1);
        let otto = log_in(&world.store, here, "otto").await.user_id;
        world.claim_known(here, "r1", "c1").await;
        assert_eq!((world.owner_of(key).await, world.usable(1).await), (anna, 0));
        let review = world.open_reviews().await;
        assert_eq!(review.iter().map(|one| (one.from_user_id, one.to_user_id)).collect::<Vec<_>>(), [(anna, otto)]);
        world.transfers_are(TransferPolicy::Never).await;
        assert_eq!(world.store.approve_transfer(review[0].id, by("ticket 0")).await.unwrap().transfer, None, "never");
        world.store.refuse_transfer(review[0].id, by("ticket 0")).await.unwrap();
        world.transfers_are(TransferPolicy::Review).await;
        world.store.approve_transfer(review[0].id, by("ticket 1")).await.unwrap();
        assert_eq!((world.owner_of(key).await, world.usable(1).await), (otto, 1));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn what_an_anonymous_user_bought_moves_under_every_policy(world: World) {
        for (number, policy) in [(1, TransferPolicy::Never), (2, TransferPolicy::Review), (3, TransferPolicy::Immediate)] {
            world.transfers_are(policy).await;
            let (guest, receipt) = (format!("guest-{number}"), format!("r{number}"));
            let key = world.entitling(&guest, &receipt).await;
            assert_eq!(world.owner_of(key).await, customer(&world, &guest));
            let here = place(&world, number);
            world.claim_verified(here, &receipt, &guest);
            let anna = log_in(&world.store, here, "anna").await.user_id;
            assert_eq!((world.owner_of(key).await, world.usable(number).await), (anna, 1), "{policy:?}");
        }
        assert_eq!((world.open_reviews().await.len(), world.moves().len()), (0, 0));
    }
}

story! {
    async fn a_person_answers_first_while_logins_are_signed(world: World) {
        let id = world.platform.id;
        let policy = async || world.store.platform(id).await.unwrap().transfers();
        assert_eq!(policy().await, TransferPolicy::Immediate);
        let Stolen { key, anna } = world.stolen().await;
        world.store.set_login_secret(id, Some("ls_secret".to_owned().into())).await.unwrap();
        assert_eq!(policy().await, TransferPolicy::Review);
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "c1");
        log_in(&world.store, here, "mallory").await;
        assert_eq!((world.owner_of(key).await, world.open_alarms().await), (anna, vec!["transfer_wanted".to_owned()]));
        world.transfers_are(TransferPolicy::Immediate).await;
        let there = place(&world, 2);
        world.claim_verified(there, "r1", "c1");
        let otto = log_in(&world.store, there, "otto").await.user_id;
        assert_eq!(world.owner_of(key).await, otto, "the setting wins");
        world.set(|settings| settings.transfers = None).await;
        assert_eq!(policy().await, TransferPolicy::Review);
    }
}

story! {
    async fn each_move_by_a_device_leaves_an_entry_and_many_an_alarm(world: World) {
        let Stolen { key, anna } = world.stolen().await;
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "c1");
        let other = log_in(&world.store, here, "number 1").await.user_id;
        assert_eq!(world.moves(), [format!("device {}", here.device)]);
        let fields = "SELECT old_fields || new_fields AS value FROM audit_log WHERE operation = 'device.move'";
        let expected = format!("{{\"user_id\":\"{anna}\"}}{{\"user_id\":\"{other}\"}}");
        assert_eq!(world.raw().texts(fields), [expected], "ids, and no names");
        for number in 2..=20 {
            log_in(&world.store, here, &format!("number {number}")).await;
        }
        assert_eq!((world.moves().len(), world.open_alarms().await), (20, vec![]));
        let last = log_in(&world.store, here, "number 21").await.user_id;
        assert_eq!((world.owner_of(key).await, world.open_alarms().await), (last, vec!["many_transfers".to_owned()]));
        // Moves of earlier days do not count.
        world.raw().run("UPDATE audit_log SET at = at - 86400000000");
        world.raw().run("DELETE FROM alarms");
        log_in(&world.store, here, "number 22").await;
        assert_eq!((world.moves().len(), world.open_alarms().await), (22, vec![]));
    }
}

story! {
    async fn about_one_customer_twenty_questions_wait(world: World) {
        let Stolen { key, anna } = world.stolen().await;
        world.transfers_are(TransferPolicy::Review).await;
        let here = place(&world, 1);
        world.claim_verified(here, "r1", "c1");
        for number in 1..=22 {
            log_in(&world.store, here, &format!("number {number}")).await;
        }
        let alarms = world.open_alarms().await;
        assert_eq!((world.open_reviews().await.len(), alarms.len(), alarms[0].as_str()), (20, 21, "reviews_full"));
        assert_eq!(world.owner_of(key).await, anna);
        let last = log_in(&world.store, here, "number 22").await.user_id;
        let open = async || world.open_reviews().await.into_iter().map(|one| one.to_user_id).collect::<Vec<_>>();
        assert!(open().await.len() == 20 && !open().await.contains(&last), "there is no room");
        let first = world.open_reviews().await[0].id;
        world.store.refuse_transfer(first, by("ticket 1")).await.unwrap();
        assert!(world.open_alarms().await.iter().all(|kind| kind == "transfer_wanted"), "there is room");
        log_in(&world.store, here, "number 22").await;
        assert!(open().await.len() == 20 && open().await.contains(&last), "an answer makes room, and apps log in again");
        assert_eq!(world.owner_of(key).await, anna);
        let elsewhere = world.store.reviews(AppId::new(Uuid::nil()), Page::default()).await.unwrap();
        assert_eq!(elsewhere.items, []);
    }
}

story! {
    async fn an_answer_makes_room_on_whatever_platform_there_was_none(world: World) {
        let Stolen { key, anna } = world.stolen().await;
        world.transfers_are(TransferPolicy::Review).await;
        let mut second = new_platform(&world.app, "ingress-2");
        second.settings.transfers = Some(TransferPolicy::Review);
        let second = world.store.new_platform(second).await.unwrap().id;
        let here = place(&world, 1);
        let there = DevicePlace { platform: second, ..here };
        for place in [here, there] {
            world.know(place, &device(place));
            world.claim_verified(place, "r1", "c1");
        }
        let is_full = async || world.open_alarms().await.contains(&"reviews_full".to_owned());
        for number in 1..=20 {
            log_in(&world.store, here, &format!("number {number}")).await;
            world.pass(1);
        }
        log_in(&world.store, there, "number 21").await;
        assert!(is_full().await);
        let first = world.open_reviews().await[0].id;
        world.store.refuse_transfer(first, by("ticket 1")).await.unwrap();
        assert!(!is_full().await, "the review is of the first platform, and the alarm about the second");
        log_in(&world.store, there, "number 22").await;
        log_in(&world.store, there, "number 23").await;
        assert!(is_full().await);
        world.store.approve_transfer(first, by("ticket 2")).await.unwrap();
        assert!(is_full().await && world.open_reviews().await.len() == 20, "it was no open one");
        assert_eq!(world.owner_of(key).await, anna);
    }
}
