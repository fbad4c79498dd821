//! Redelivery: sent events are queued again, a lost table is restored, and nothing is counted twice.

use super::aging::{DAY_MS, MINUTE_MS};
use super::sending::{RETRY, Sent, finish};
use super::world::{World, is_missing, new_destination, new_platform, story};
use domain::{CollapseKey, DestinationId, RedeliverySelector, TransitionKind};
use std::collections::BTreeMap;
use storage::{
    AttemptClass, DeliveryFilter, EndpointSignal, Error, Filter, Idle, LeaseResult, Mode, Page,
    Redelivered, Requeued, Run, Skipped, Verdict,
};

async fn again(world: &World, what: RedeliverySelector) -> Requeued {
    let done = world
        .store
        .resend(what.to(None), Page::default(), Run::Real)
        .await
        .unwrap();
    assert_eq!(done.next_cursor, None);
    done.requeued
}

fn skipped<const N: usize>(why: [(Skipped, i64); N]) -> BTreeMap<Skipped, i64> {
    why.into_iter().collect()
}

/// Delivers until nothing is due, and returns the types and revisions of the sent events.
pub async fn drain(world: &World, key: CollapseKey, to: DestinationId) -> Vec<(String, i64)> {
    let mut sent = Vec::new();
    loop {
        let LeaseResult::Send(batch) = world.lease(key, to, "drain").await else {
            return sent;
        };
        let request = Sent {
            batch,
            key,
            to,
            token: "drain".to_owned(),
            mode: Mode::Lane,
        };
        sent.extend(
            request
                .batch
                .attempts
                .iter()
                .map(|one| (one.event_type.clone(), one.revision)),
        );
        world.finish(&request, Verdict::Delivered).await;
    }
}

async fn deliveries(world: &World) -> i64 {
    world
        .raw()
        .number("SELECT COUNT(*) AS value FROM deliveries")
}

story! {
    async fn an_event_is_redelivered_under_another_id_and_queued_once(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let (key, event) = (world.key("r1"), world.store.events(Default::default(), Page::default()).await.unwrap());
        let event = event.items.iter().find(|one| one.event_type.starts_with("user.")).unwrap().id;
        assert_eq!(again(&world, RedeliverySelector::Event(event)).await.skipped, skipped([(Skipped::AlreadyPending, 1)]));
        drain(&world, key, hook.id).await;
        let requeued = again(&world, RedeliverySelector::Event(event)).await;
        assert_eq!((requeued.pending, requeued.destinations.as_slice()), (1, [hook.id].as_slice()));
        assert_eq!(again(&world, RedeliverySelector::Event(event)).await.skipped, skipped([(Skipped::AlreadyPending, 1)]));
        let sent = world.attempt(key, hook.id, "a").await;
        assert_eq!((sent.event_id, sent.delivery_id), (event, domain::DeliveryId::of(hook.id, event, 1)));
        // An admin's redelivery cancels the back-off.
        world.finish(&sent, RETRY).await;
        assert!(matches!(world.lease(key, hook.id, "b").await, LeaseResult::Idle(Idle::Wait { .. })));
        let requeued = again(&world, RedeliverySelector::Event(event)).await;
        assert_eq!((requeued.pending, requeued.destinations.as_slice()), (0, [hook.id].as_slice()));
        assert_eq!(world.attempt(key, hook.id, "c").await.event_id, event);
        let nobody = RedeliverySelector::Event(domain::EventId::new(key.uuid())).to(None);
        let nobody = world.store.resend(nobody, Page::default(), Run::Real).await;
        assert!(nobody.is_err_and(|error| is_missing(&error)));
    }
}

story! {
    async fn redelivery_of_a_purchase_sends_newest_state_and_all_events(world: World) {
        let (hook, other) = (world.destination("hook").await, world.destination("other").await);
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.happen("r1", 2, &[TransitionKind::Cancelled]).await;
        let key = world.key("r1");
        drain(&world, key, hook.id).await;
        drain(&world, key, other.id).await;
        let selection = RedeliverySelector::Purchase(key).to(hook.id);
        let done = world.store.resend(selection, Page::default(), Run::Real).await.unwrap();
        assert_eq!((done.checked, done.requeued.pending, done.requeued.destinations.as_slice()), (4, 3, [hook.id].as_slice()));
        assert_eq!(done.requeued.skipped, skipped([(Skipped::Superseded, 1)]));
        let mut sent = drain(&world, key, hook.id).await;
        sent.sort();
        let expected =
            [("purchase.updated", 2), ("user.subscription.cancelled", 2), ("user.subscription.purchased", 1)];
        assert_eq!(sent, expected.map(|(name, revision)| (name.to_owned(), revision)));
        assert_eq!(drain(&world, key, other.id).await, []);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn redelivery_of_a_time_range_sends_each_newest_state_once(world: World) {
        let hook = world.destination("hook").await;
        world.revise("before", 1).await;
        world.age(MINUTE_MS);
        let from = world.store.now().await.unwrap();
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.revise("r2", 1).await;
        world.revise("r1", 2).await;
        world.age(MINUTE_MS);
        let until = world.store.now().await.unwrap().plus_millis(-1000);
        let from = if world.is_postgres() { from.plus_millis(-MINUTE_MS - 1000) } else { from };
        world.revise("r2", 2).await;
        for receipt in ["before", "r1", "r2"] {
            drain(&world, world.key(receipt), hook.id).await;
        }
        let (mut cursor, mut seen, mut pending) = (None, 0, 0);
        loop {
            let page = Page { cursor, limit: 1 };
            let what = RedeliverySelector::Range { from, until };
            let selection = what.to(None);
            let dry = world.store.resend(selection.clone(), page.clone(), Run::Dry).await.unwrap();
            let done = world.store.resend(selection, page, Run::Real).await.unwrap();
            assert_eq!((dry.checked, dry.requeued.pending), (done.checked, done.requeued.pending), "a dry run counts the same");
            (seen, pending, cursor) = (seen + done.checked, pending + done.requeued.pending, done.next_cursor);
            // Deliveries of the first pages arrive meanwhile, and are not sent a second time.
            for receipt in ["r1", "r2"] {
                drain(&world, world.key(receipt), hook.id).await;
            }
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!((seen, pending), (4, 3), "the purchase, the newest of r1, the newest of r2");
        let of = |receipt: &str| DeliveryFilter { collapse_key: Some(world.key(receipt)), ..Default::default() };
        let twice = world.store.deliveries(of("r2"), Page::default()).await.unwrap().items;
        let revisions: Vec<_> = twice.iter().filter(|one| one.n == 1).map(|one| one.revision).collect();
        assert_eq!(revisions, [2], "revision 2 is sent instead of the one in that time");
        assert_eq!(world.store.deliveries(of("before"), Page::default()).await.unwrap().items.len(), 1);
    }
}

story! {
    async fn failed_events_are_redelivered_unless_delivered_since(world: World) {
        let hook = world.destination("hook").await;
        for receipt in ["r1", "r2", "r3"] {
            world.revise(receipt, 1).await;
            world.send(receipt, hook.id, Verdict::Failed).await;
        }
        world.revise("r2", 2).await;
        drain(&world, world.key("r2"), hook.id).await;
        world.revise("r3", 2).await;
        world.send("r3", hook.id, Verdict::Failed).await;
        let failed = RedeliverySelector::Failed.to(hook.id);
        let dry = world.store.resend(failed.clone(), Page::default(), Run::Dry).await.unwrap();
        let before = deliveries(&world).await;
        let request = |cursor| world.store.resend(failed.clone(), Page { cursor, limit: 2 }, Run::Real);
        let one = request(None).await.unwrap();
        assert_eq!((one.checked, one.requeued.pending), (2, 1));
        // The delivery fails again: that later failure is outside this range.
        world.send("r1", hook.id, Verdict::Failed).await;
        let two = request(one.next_cursor).await.unwrap();
        assert_eq!((two.checked, two.requeued.pending, two.next_cursor), (2, 1, None));
        assert_eq!(dry.requeued.pending, 2);
        assert_eq!(dry.requeued.skipped, skipped([(Skipped::Superseded, 1), (Skipped::Acknowledged, 1)]));
        assert_eq!(deliveries(&world).await, before + 2);
        assert_eq!(drain(&world, world.key("r3"), hook.id).await, [("purchase.updated".to_owned(), 2)]);
        assert_eq!(world.broken(1000).await, []);
        world.store.delete_destination(hook.id).await.unwrap();
        let gone = again(&world, RedeliverySelector::Failed).await;
        assert_eq!((gone.pending, gone.skipped.get(&Skipped::Deleted)), (0, Some(&3)));
    }
}

story! {
    async fn a_type_that_was_not_chosen_is_not_redelivered(world: World) {
        let mut new = new_destination(&world.app, "users");
        new.common.events = vec!["user.*".to_owned()];
        let users = world.store.new_destination(new).await.unwrap();
        let other = world.store.new_platform(new_platform(&world.app, "ingress-2")).await.unwrap();
        let mut new = new_destination(&world.app, "elsewhere");
        new.common.filter = Filter { platforms: vec![other.id], environments: Vec::new() };
        world.store.new_destination(new).await.unwrap();
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let requeued = again(&world, RedeliverySelector::Purchase(world.key("r1"))).await;
        assert_eq!(requeued.skipped, skipped([(Skipped::NotChosen, 3), (Skipped::AlreadyPending, 1)]));
        let behind = RedeliverySelector::Behind.to(users.id);
        let refused = world.store.resend(behind, Page::default(), Run::Real).await;
        assert!(matches!(refused, Err(Error::Unsuitable(_))), "{refused:?}");
    }
}

story! {
    async fn one_purchase_is_redelivered_by_the_same_rules(world: World) {
        let (counting, hook) = (world.analytics("analytics").await, world.destination("hook").await);
        let mut other = new_destination(&world.app, "users");
        other.common.events = vec!["user.*".to_owned()];
        let users = world.store.new_destination(other).await.unwrap();
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        for to in [counting.id, hook.id, users.id] {
            let event = world.attempt(key, to, "event").await;
            world.finish(&event, Verdict::Failed).await;
        }
        for to in [counting.id, hook.id] {
            world.send("r1", to, Verdict::Delivered).await;
        }
        let types = async |to| {
            let mut sent = drain(&world, key, to).await;
            sent.sort();
            sent.into_iter().map(|(event_type, _)| event_type).collect::<Vec<_>>()
        };
        let (state, event) = ("purchase.updated", "user.subscription.purchased");
        // Only events to which a named destination subscribes are queued for it, and nothing is queued twice for any
        // destination.
        world.store.redeliver(key, Some(users.id), None).await.unwrap();
        world.store.redeliver(key, None, None).await.unwrap();
        assert_eq!(types(counting.id).await, [event], "it has the state, and would count it twice");
        assert_eq!(types(hook.id).await, [state, event]);
        assert_eq!(types(users.id).await, [event]);
        // An event that was delivered meanwhile no longer counts as failed, even if several of its deliveries failed.
        world.store.redeliver(key, None, None).await.unwrap();
        assert_eq!((types(counting.id).await.len(), types(users.id).await.len()), (0, 0));
        assert_eq!(types(hook.id).await, [state]);
    }
}

story! {
    async fn a_counting_destination_gets_no_possible_duplicate(world: World) {
        let mut new = new_destination(&world.app, "analytics");
        (new.common.events, new.traits.per_user) = (vec!["user.*".to_owned()], true);
        let analytics = world.store.new_destination(new).await.unwrap();
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        let sent = world.attempt(key, analytics.id, "a").await;
        world.finish(&sent, Verdict::Delivered).await;
        let requeued = again(&world, RedeliverySelector::Event(sent.event_id)).await;
        assert_eq!((requeued.pending, requeued.skipped), (0, skipped([(Skipped::Counted, 1)])));

        // After a 500 the event may have been counted; within seven days a repetition is recognized.
        world.happen("r2", 1, &[TransitionKind::Purchased]).await;
        let unclear = world.attempt(world.key("r2"), analytics.id, "b").await;
        let first_tried_at = world.store.delivery(unclear.delivery_id).await.unwrap().first_tried_at;
        world.finish(&unclear, Verdict::Failed).await;
        world.age(3 * DAY_MS);
        assert_eq!(again(&world, RedeliverySelector::Event(unclear.event_id)).await.pending, 1);
        let next = world.attempt(world.key("r2"), analytics.id, "c").await;
        let moved = if world.is_postgres() { 3 * DAY_MS } else { 0 };
        let first = first_tried_at.map(|at| at.plus_millis(-moved).millis_since(next.first_tried_at.unwrap()).abs());
        assert!(first.is_some_and(|ms| ms < MINUTE_MS), "its time runs from the first try of all: {first:?}");
        world.finish(&next, Verdict::Failed).await;
        world.age(5 * DAY_MS);
        let requeued = again(&world, RedeliverySelector::Event(unclear.event_id)).await;
        assert_eq!((requeued.pending, requeued.skipped), (0, skipped([(Skipped::MayBeCounted, 1)])));
        let explained = world.store.explain_event(unclear.event_id).await.unwrap().event.sendings;
        assert!(explained.iter().all(|one| one.not_again == Some(Skipped::MayBeCounted)), "{explained:?}");

        // The same is true after an unreadable answer, such as a proxy's, and after one that counted too few events.
        for (receipt, class) in [("r4", AttemptClass::Unreadable), ("r5", AttemptClass::TooFew)] {
            world.happen(receipt, 1, &[TransitionKind::Purchased]).await;
            let unread = world.attempt(world.key(receipt), analytics.id, class.as_str()).await;
            let mut judged = finish(&unread, Verdict::Failed);
            (judged.status, judged.result.events[0].class) = (Some(200), class);
            // Neutral, because failures over this many days would disable the destination.
            judged.result.endpoint_signal = EndpointSignal::Neutral;
            world.end(judged).await;
            world.age(8 * DAY_MS);
            let requeued = again(&world, RedeliverySelector::Event(unread.event_id)).await;
            assert_eq!((requeued.pending, requeued.skipped), (0, skipped([(Skipped::MayBeCounted, 1)])));
        }

        // A permanently refused event was never counted.
        world.happen("r3", 1, &[TransitionKind::Purchased]).await;
        let refused = world.attempt(world.key("r3"), analytics.id, "d").await;
        let mut judged = finish(&refused, Verdict::Failed);
        judged.status = Some(400);
        world.end(judged).await;
        world.age(30 * DAY_MS);
        assert_eq!(again(&world, RedeliverySelector::Event(refused.event_id)).await.pending, 1);
    }
}

/// Resends page by page, and returns the numbers of purchases, of queued deliveries and of skipped ones.
async fn replay(
    world: &World,
    to: DestinationId,
    what: RedeliverySelector,
    run: Run,
) -> (i64, i64, BTreeMap<Skipped, i64>) {
    let (mut cursor, mut purchases, mut pending, mut skipped) = (None, 0, 0, BTreeMap::new());
    loop {
        let page = Page { cursor, limit: 2 };
        let done = world
            .store
            .resend(what.clone().to(to), page, run)
            .await
            .unwrap();
        (purchases, pending, cursor) = (
            purchases + done.checked,
            pending + done.requeued.pending,
            done.next_cursor,
        );
        for (why, count) in done.requeued.skipped {
            *skipped.entry(why).or_default() += count;
        }
        if cursor.is_none() {
            return (purchases, pending, skipped);
        }
    }
}

story! {
    async fn a_replay_queues_only_what_the_destination_is_behind_with(world: World) {
        let hook = world.destination("hook").await;
        for receipt in ["current", "behind", "failed", "pending"] {
            world.revise(receipt, 1).await;
        }
        for receipt in ["current", "behind"] {
            drain(&world, world.key(receipt), hook.id).await;
        }
        world.revise("behind", 2).await;
        world.send("behind", hook.id, Verdict::Failed).await;
        world.send("failed", hook.id, Verdict::Failed).await;
        world.notify("unsettled", "unsettled", 1).await;
        let expected = skipped([(Skipped::AlreadyPending, 1), (Skipped::Acknowledged, 1)]);
        assert_eq!(replay(&world, hook.id, RedeliverySelector::Behind, Run::Dry).await, (4, 2, expected.clone()));
        assert_eq!(replay(&world, hook.id, RedeliverySelector::Behind, Run::Real).await, (4, 2, expected));
        let (_, pending, _) = replay(&world, hook.id, RedeliverySelector::Behind, Run::Real).await;
        assert_eq!(pending, 0, "repeated it queues nothing twice");
        assert_eq!(drain(&world, world.key("behind"), hook.id).await, [("purchase.updated".to_owned(), 2)]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn the_feed_restores_a_lost_table_in_one_delivery_each(world: World) {
        let hook = world.destination("hook").await;
        for number in 0..5 {
            let receipt = format!("r{number}");
            world.revise(&receipt, 1).await;
            world.happen(&receipt, 2, &[TransitionKind::Renewed]).await;
            drain(&world, world.key(&receipt), hook.id).await;
        }
        let (before, mut cursor, mut fed) = (deliveries(&world).await, None, Vec::new());
        loop {
            let page = world.store.feed(world.app.id, Some(hook.id), Page { cursor, limit: 2 }).await.unwrap();
            fed.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(fed.len(), 5);
        for one in &fed {
            assert_eq!((one.revision, one.acknowledged_revision), (2, Some(2)));
            let purchase = world.store.purchase(one.collapse_key).await.unwrap();
            assert_eq!(purchase.data["attributes"]["state_digest"], one.state_digest);
        }
        // The receiver lacks all of these purchases and requests them.
        let lacks: Vec<CollapseKey> = fed.iter().map(|one| one.collapse_key).collect();
        let named = RedeliverySelector::Purchases(lacks.clone());
        let (purchases, pending, _) = replay(&world, hook.id, named, Run::Real).await;
        assert_eq!((purchases, pending, deliveries(&world).await), (5, 5, before + 5));
        for key in &lacks {
            assert_eq!(drain(&world, *key, hook.id).await, [("purchase.updated".to_owned(), 2)]);
        }
        assert_eq!(world.raw().number("SELECT MIN(acked_revision) AS value FROM lanes"), 2, "nothing was erased");
        let (purchases, pending, _) = replay(&world, hook.id, RedeliverySelector::All, Run::Real).await;
        assert_eq!((purchases, pending, deliveries(&world).await), (5, 5, before + 10), "an admin sends it all");
        let strange = RedeliverySelector::Purchases(vec![CollapseKey::new(hook.id.uuid())]);
        assert_eq!(replay(&world, hook.id, strange, Run::Real).await, (1, 0, skipped([(Skipped::Unknown, 1)])));
    }
}

story! {
    async fn the_feed_of_a_destination_omits_what_it_did_not_choose(world: World) {
        let other = world.store.new_platform(new_platform(&world.app, "ingress-2")).await.unwrap();
        let mut new = new_destination(&world.app, "elsewhere");
        new.common.filter = Filter { platforms: vec![other.id], environments: Vec::new() };
        let elsewhere = world.store.new_destination(new).await.unwrap();
        world.revise("r1", 1).await;
        world.notify("unsettled", "unsettled", 1).await;
        let feed = async |to| world.store.feed(world.app.id, to, Page::default()).await.map(|page| page.items.len());
        assert_eq!(feed(None).await.unwrap(), 1);
        assert_eq!(feed(Some(elsewhere.id)).await.unwrap(), 0);
        let nobody = feed(Some(DestinationId::new(world.app.id.uuid()))).await;
        assert!(nobody.is_err_and(|error| is_missing(&error)));
    }
}

story! {
    async fn a_dry_run_queues_nothing(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        drain(&world, world.key("r1"), hook.id).await;
        let before = deliveries(&world).await;
        let now = world.store.now().await.unwrap();
        let range = RedeliverySelector::Range { from: now.plus_millis(-DAY_MS), until: now.plus_millis(DAY_MS) };
        for what in [range, RedeliverySelector::Purchase(world.key("r1")), RedeliverySelector::Failed] {
            let selection = what.clone().to(None);
            let done: Redelivered = world.store.resend(selection, Page::default(), Run::Dry).await.unwrap();
            assert_eq!(done.requeued.pending, if what == RedeliverySelector::Failed { 0 } else { 2 });
        }
        assert_eq!(deliveries(&world).await, before);
    }
}
