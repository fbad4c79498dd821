//! The data for explaining a notification, a purchase, an event and a destination.

use super::aging::MINUTE_MS;
use super::payments::{monthly, sale};
use super::sending::{RETRY, finish};
use super::world::{World, is_missing, new_destination, renewal, story};
use domain::payment::SaleKind;
use domain::time::duration;
use domain::{EventId, Outcome, TransitionKind};
use storage::{
    Actor, Author, CauseKind, CustomerKey, CustomerMove, EndpointSignal, Handling, Owner,
    RevisionCause, RevisionCauses, Run, TopicRequest, Verdict,
};

impl World {
    /// Returns the causes, other than notifications, of a receipt's newest revision, each with its actor.
    async fn newest_causes(&self, receipt: &str) -> Vec<(CauseKind, Option<String>)> {
        let newest = self
            .store
            .explain_purchase(self.key(receipt))
            .await
            .unwrap()
            .events
            .pop()
            .unwrap();
        let RevisionCauses(causes) = newest.event.causes.unwrap_or_default();
        causes
            .into_iter()
            .map(|RevisionCause { kind, by }| (kind, by))
            .collect()
    }
}

story! {
    async fn a_purchase_is_explained_from_the_notification_to_the_attempt(world: World) {
        let hook = world.destination("hook").await;
        let mut new = new_destination(&world.app, "users");
        new.common.events = vec!["user.*".to_owned()];
        world.store.new_destination(new).await.unwrap();
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.send("r1", hook.id, RETRY).await;
        world.send("r1", hook.id, Verdict::Delivered).await;
        world.pass(5_001);
        world.send("r1", hook.id, Verdict::Delivered).await;
        let of = world.store.explain_purchase(world.key("r1")).await.unwrap();
        assert_eq!(of.purchase.map(|purchase| purchase.revision), Some(1));
        let [notification] = of.notifications.as_slice() else { panic!("{:?}", of.notifications) };
        assert_eq!((notification.view.outcome, notification.view.revision), (Some(Outcome::Settled), Some(1)));
        assert_eq!(of.addressees.len(), 2);
        let announced: Vec<_> = of.events.iter().map(|one| (one.event.event_type.as_str(), one.sendings.len())).collect();
        assert_eq!(announced, [("user.subscription.purchased", 2), ("purchase.updated", 1)]);
        let mine = |sending: &&storage::Sending| sending.delivery.destination_id == hook.id;
        let sent = of.events[0].sendings.iter().find(mine).unwrap();
        let [failed, arrived] = sent.attempts.as_slice() else { panic!("{:?}", sent.attempts) };
        assert_eq!((failed.number, failed.status, failed.counts, failed.mode.as_str()), (1, Some(500), true, "lane"));
        assert_eq!(failed.headers, [("retry-after".to_owned(), "7".to_owned())]);
        assert_eq!((failed.response.as_deref(), failed.next_due_at.is_some()), (Some("body"), true));
        assert_eq!((arrived.status, arrived.next_due_at, arrived.error.as_deref()), (Some(200), None, None));
        let nobody = world.store.explain_purchase(world.key("nobody")).await;
        assert!(nobody.is_err_and(|error| is_missing(&error)));
    }
}

story! {
    async fn what_was_superseded_names_what_took_its_place(world: World) {
        let hook = world.destination("hook").await;
        for number in 1..=3 {
            world.revise("r1", number).await;
        }
        world.send("r1", hook.id, Verdict::Delivered).await;
        let announced = world.store.explain_purchase(world.key("r1")).await.unwrap().events;
        let fields = |announced: &storage::AnnouncedEvent| -> Option<Vec<String>> {
            Some(announced.changes.as_ref()?.iter().map(|change| change.field.clone()).collect())
        };
        let changed: Vec<_> = announced.iter().map(fields).collect();
        let moved = Some(vec!["expires_at".to_owned()]);
        assert_eq!(changed, [None, moved.clone(), moved]);
        let of = world.store.explain_message("r1-1").await.unwrap();
        let [(notification, announced)] = of.notifications.as_slice() else { panic!("{:?}", of.notifications) };
        assert_eq!(notification.view.revision, Some(1));
        let sending = &announced[0].sendings[0];
        assert_eq!(sending.delivery.status, storage::DeliveryStatus::Superseded);
        let successor = sending.successor.as_ref().unwrap();
        assert_eq!((successor.revision, successor.status.as_str()), (3, "delivered"));
        assert!(successor.finished_at.is_some());
        let event = world.store.explain_event(announced[0].event.id).await.unwrap();
        assert_eq!(event.notifications.len(), 1);
        assert_eq!(event.event, announced[0]);
        let nobody = world.store.explain_event(EventId::new(hook.id.uuid())).await;
        assert!(nobody.is_err_and(|error| is_missing(&error)));
        assert!(world.store.explain_message("nobody").await.is_err_and(|error| is_missing(&error)));
    }
}

story! {
    async fn a_waiting_notification_shows_its_reason_and_time(world: World) {
        world.notify("m1", "r1", 1).await;
        world.revise("held", 1).await;
        let until = world.store.now().await.unwrap().plus_millis(MINUTE_MS);
        world.store.hold(world.key("held"), until, "ann", "looking").await.unwrap();
        world.notify("m2", "held", 5).await;
        let expires = world.store.now().await.unwrap().plus_millis(MINUTE_MS);
        let url = storage::SecretString::from("https://sns.example.com/confirm");
        world.store.add_pending_topic(TopicRequest::new(world.platform.id, "arn:aws:sns:topic", url, expires)).await.unwrap();
        let topic = world.store.topics(world.platform.id).await.unwrap()[0].id;
        let mut waiting = renewal(world.platform.id, "m3", "r3", 1);
        waiting.handling = Handling::WaitTopic(topic);
        world.accept(waiting).await;
        let notification = async |message: &str| world.store.explain_message(message).await.unwrap().notifications.remove(0).0;
        let window = notification("m1").await;
        assert_eq!(window.view.waiting_for, Some(storage::WaitingFor::Window));
        assert!(window.window_ends_at.is_some() && window.held.is_none());
        let hold = notification("m2").await;
        assert_eq!(hold.view.waiting_for, Some(storage::WaitingFor::Hold));
        assert_eq!(hold.held, Some((until, Some("ann".to_owned()), Some("looking".to_owned()))));
        let topic = notification("m3").await;
        assert_eq!(topic.view.waiting_for, Some(storage::WaitingFor::TopicApproval));
        assert_eq!(topic.topic_arn.as_deref(), Some("arn:aws:sns:topic"));
        let of = world.store.explain_purchase(world.key("r1")).await.unwrap();
        assert_eq!((of.purchase, of.notifications.len(), of.events.len()), (None, 1, 0));
    }
}

story! {
    async fn a_destination_is_explained_with_what_is_pending_or_failed(world: World) {
        let hook = world.destination("hook").await;
        for receipt in ["r1", "r2", "r3"] {
            world.revise(receipt, 1).await;
        }
        world.send("r1", hook.id, Verdict::Failed).await;
        let sent = world.attempt(world.key("r2"), hook.id, "a").await;
        let mut paused = finish(&sent, RETRY);
        paused.result.endpoint_signal = EndpointSignal::Failure { pause: Some(duration(MINUTE_MS)) };
        world.end(paused).await;
        let explanation = world.store.explain_destination(hook.id).await.unwrap();
        assert_eq!((explanation.addressee.health.pending, explanation.backlog.failed, explanation.backlog.waiting), (2, 1, 0));
        assert!(explanation.addressee.health.health.paused_until.is_some_and(|until| until > explanation.now));
        assert_eq!((explanation.pending.len(), explanation.failed.len()), (2, 1));
        assert_eq!(explanation.failed[0].delivery.collapse_key, world.key("r1"));
        world.store.delete_destination(hook.id).await.unwrap();
        let gone = world.store.explain_destination(hook.id).await.unwrap();
        assert!(gone.addressee.deleted_at.is_some(), "its row is kept");
        let announced = world.store.explain_purchase(world.key("r1")).await.unwrap();
        assert_eq!(announced.addressees.len(), 1);
    }
}

story! {
    async fn only_the_newest_of_many_attempts_are_shown(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        for number in 0..25 {
            let sent = world.attempt(world.key("r1"), hook.id, &format!("a{number}")).await;
            let mut failed = finish(&sent, RETRY);
            failed.result.endpoint_signal = EndpointSignal::Neutral;
            world.end(failed).await;
            world.pass(5_001);
        }
        let of = world.store.explain_purchase(world.key("r1")).await.unwrap();
        let sending = &of.events[0].sendings[0];
        let numbers: Vec<_> = sending.attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!((numbers, sending.delivery.attempts), ((6..=25).collect(), 25));
    }
}

story! {
    async fn a_revision_has_everything_that_caused_it(world: World) {
        let (key, app) = (world.key("r1"), world.app.id);
        let sue = world.store.by(Actor::named("Sue"));
        let by_sue = |kind| (kind, Some("Sue".to_owned()));
        assert_eq!(world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await, 1);
        assert_eq!(world.newest_causes("r1").await, [], "its notification did");

        sue.name_customer(app, Owner::AppUser("customer-1".to_owned()), "kim", None).await.unwrap();
        let product = storage::Product { name: None, entitlements: Vec::new(), prices: Vec::new() };
        let change = storage::Change::SetProduct("term".to_owned(), product);
        sue.change_catalogue(app, change, Run::Real).await.unwrap();
        assert_eq!(world.settle(key).await.0, 2);
        let both = [by_sue(CauseKind::CustomerId), by_sue(CauseKind::Catalogue)];
        assert_eq!(world.newest_causes("r1").await, both, "both came before it was settled");

        assert_eq!(world.settle(key).await.0, 3);
        assert_eq!(world.newest_causes("r1").await, [], "nothing is known of it");
        world.raw().run("UPDATE purchases SET next_wake_at = 5");
        assert_eq!(world.settle(key).await.0, 4);
        assert_eq!(world.newest_causes("r1").await, [(CauseKind::Scheduled, None)]);

        let sold = async |at: &str, price: &str| {
            let charge = sale("t1", SaleKind::Charge, at, price);
            sue.import_sales(app, vec![charge], Run::Real).await.unwrap();
        };
        sold("2027-01-10T13:00:00Z", "4.99").await;
        assert_eq!(world.settle_again("r1").await, 5);
        assert_eq!(world.newest_causes("r1").await, [by_sue(CauseKind::SalesReport)]);
        sold("2027-01-10T14:00:00Z", "4.99").await;
        assert_eq!(world.settle_again("r1").await, 5, "the report changes nothing");
        assert_eq!(world.settle(key).await.0, 6);
        assert_eq!(world.newest_causes("r1").await, [], "what changed nothing caused no later revision");
        sold("2027-01-10T14:00:00Z", "3.99").await;
        sue.note_flush(Some(app), key).await.unwrap();
        sue.note_flush(Some(app), key).await.unwrap();
        assert_eq!(world.revise("r1", 7).await, 7);
        let all = [by_sue(CauseKind::SalesReport), by_sue(CauseKind::Flush)];
        assert_eq!(world.newest_causes("r1").await, all, "each once, beside the notification");
    }
}

story! {
    async fn a_transfer_is_the_cause_of_its_revision(world: World) {
        let sue = world.store.by(Actor::named("Sue"));
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let author = Author { by: "Sue".to_owned(), reason: Some("wrong account".to_owned()) };
        let customer = CustomerKey::Owner(Owner::AppUser("customer-1".to_owned()));
        let to_lee = CustomerMove { app: world.app.id, customer, to: "lee".to_owned(), author };
        sue.move_customer(to_lee).await.unwrap();
        // The purchase gives no access, so its next settling announces the new owner.
        assert_eq!(world.settle(world.key("r1")).await.0, 2);
        assert_eq!(world.newest_causes("r1").await, [(CauseKind::Transfer, Some("Sue".to_owned()))]);
    }
}
