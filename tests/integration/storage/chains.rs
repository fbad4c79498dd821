//! Purchases that continue another one by the link in the store's answer.

use super::claims::session;
use super::world::{Report, World, reported, story};
use domain::stores::google;
use domain::verification::{EndReason, Product};
use domain::{NotificationKind, Snapshot, State, StoreState, StoreStatus, Timestamp, Verification};
use futures::poll;
use std::collections::BTreeSet;
use std::pin::pin;
use storage::{Record, Recorded};

const DAY_MS: i64 = 86_400_000;

/// A purchase, with the token of the one that it continues.
struct Token<'a> {
    name: &'a str,
    sku: &'a str,
    continues: Option<&'a str>,
}

/// The purchase that all others continue.
const A: Token<'static> = Token {
    name: "a",
    sku: "gold",
    continues: None,
};
const B: Token<'static> = Token {
    name: "b",
    sku: "silver",
    continues: Some("a"),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Active,
    Pending,
    FellThrough,
    Replaced,
}

/// Returns what the store shows of a purchase at this time.
fn snapshot(token: &Token<'_>, shown: Shown, now: Timestamp) -> Snapshot {
    let is_paid = matches!(shown, Shown::Active | Shown::Replaced);
    let is_over = matches!(shown, Shown::FellThrough | Shown::Replaced);
    let state = StoreState {
        status: match shown {
            Shown::Active => StoreStatus::Active,
            Shown::Pending => StoreStatus::Pending,
            Shown::FellThrough | Shown::Replaced => StoreStatus::Over,
        },
        skus: BTreeSet::from([token.sku.to_owned()]),
        transaction_id: is_paid.then(|| format!("order-{}", token.name)),
        cycle: is_paid.then_some(1),
        has_fallen_through: shown == Shown::FellThrough,
        continues: token.continues.map(str::to_owned),
        ..StoreState::default()
    };
    let term_ends_at = now.plus_millis(30 * DAY_MS);
    Snapshot {
        at: now,
        product: Product::Subscription,
        product_id: Some(token.sku.to_owned()),
        term_sku: Some(token.sku.to_owned()),
        purchased_at: is_paid.then(|| now.plus_millis(-120_000)),
        renews_at: Some(if is_over { now } else { term_ends_at }),
        ends_at: is_over.then_some(now),
        end_reason: match shown {
            Shown::Active | Shown::Pending => None,
            Shown::FellThrough => Some(EndReason::Pending),
            Shown::Replaced => Some(EndReason::Replaced),
        },
        auto_renewing: Some(!is_over),
        state: Some(Box::new(state)),
        ..Snapshot::default()
    }
}

/// Makes the world's platform one of a store whose answers show links.
fn connect(world: &World) {
    let store = google::POLICY.store;
    world
        .raw()
        .run(&format!("UPDATE platforms SET store = '{store}'"));
}

/// Accepts the notification of a purchase.
async fn notify(world: &World, token: &Token<'_>, kind: NotificationKind) {
    let now = world.store.now().await.unwrap();
    let report = Report {
        kind,
        customer: None,
        related: None,
    };
    let message = format!("{}-{kind:?}", token.name);
    let at_ms = now.micros() / 1000 - 60_000;
    world
        .accept(reported(
            world.platform.id,
            &message,
            token.name,
            at_ms,
            report,
        ))
        .await;
}

async fn begin(world: &World, token: &Token<'_>) {
    notify(world, token, NotificationKind::SubscriptionPurchased).await;
}

/// Returns the record of what the store shows of a purchase.
async fn decided(world: &World, token: &Token<'_>, shown: Shown) -> Record {
    let key = world.key(token.name);
    let loaded = world.load(key).await;
    let snapshot = snapshot(token, shown, loaded.now);
    Record::decided(key, &loaded, &Verification::Verified(Box::new(snapshot)))
}

/// Settles what the store shows of a purchase of the one customer. A record that the purchase's change overtook is
/// decided again.
async fn show(world: &World, token: &Token<'_>, shown: Shown) {
    let key = world.key(token.name);
    world
        .store
        .note_answered_customer(key, "customer-1")
        .await
        .unwrap();
    for _ in 0..3 {
        let record = decided(world, token, shown).await;
        if world.store.record(record).await.unwrap() != Recorded::Moved {
            return;
        }
    }
    panic!("{} changes again and again", token.name);
}

/// Returns the recorded `user.*` events, each with its purchase, in order.
fn announced(world: &World) -> Vec<String> {
    let rows = world.raw().texts(
        "SELECT p.receipt_id || ' ' || e.event_type AS value
         FROM events e
         JOIN purchases p ON p.collapse_key = e.collapse_key
         WHERE e.event_type LIKE 'user.%'
         ORDER BY e.seq",
    );
    let short = |row: &String| {
        let (token, event) = row.split_once(' ').unwrap();
        format!("{token} {}", event.rsplit('.').next().unwrap())
    };
    rows.iter().map(short).collect()
}

/// Returns the links between purchases: the old one, the new one, and whether the link counts.
fn links(world: &World) -> Vec<String> {
    world.raw().texts(
        "SELECT o.receipt_id || ' ' || n.receipt_id || CASE WHEN r.real_at IS NULL THEN '' ELSE ' real' END AS value
         FROM replacements r
         JOIN purchases o ON o.collapse_key = r.old_key
         JOIN purchases n ON n.collapse_key = r.new_key
         ORDER BY o.receipt_id",
    )
}

async fn state(world: &World, token: &Token<'_>) -> State {
    world.load(world.key(token.name)).await.state
}

/// Whether a purchase counts as replaced, and whether it is rechecked at once.
async fn standing(world: &World, token: &Token<'_>) -> (bool, bool) {
    let loaded = world.load(world.key(token.name)).await;
    (loaded.is_replaced, loaded.due)
}

async fn original(world: &World, token: &Token<'_>) -> serde_json::Value {
    let shown = world.store.purchase(world.key(token.name)).await.unwrap();
    shown.data["data"]["original_purchase_guid"].clone()
}

story! {
    async fn a_purchase_by_the_stores_link_is_a_change_of_plan(world: World) {
        connect(&world);
        begin(&world, &A).await;
        show(&world, &A, Shown::Active).await;
        begin(&world, &B).await;
        show(&world, &B, Shown::Active).await;
        assert_eq!(announced(&world), ["a purchased", "b sku_change"]);
        assert_eq!((links(&world), original(&world, &B).await), (vec!["a b real".to_owned()], "a".into()));
        assert_eq!(standing(&world, &A).await, (true, true), "it is rechecked at once");
        show(&world, &A, Shown::Active).await;
        assert_eq!((state(&world, &A).await, standing(&world, &A).await.0), (State::Replaced, true));
        assert_eq!(announced(&world).len(), 2);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn an_end_before_the_successor_is_known_infers_nothing(world: World) {
        connect(&world);
        begin(&world, &A).await;
        show(&world, &A, Shown::Active).await;
        let other = Token { name: "other", sku: "radio", continues: None };
        begin(&world, &other).await;
        show(&world, &other, Shown::Active).await;
        notify(&world, &A, NotificationKind::Expired).await;
        show(&world, &A, Shown::Replaced).await;
        assert_eq!((state(&world, &A).await, links(&world)), (State::Replaced, Vec::new()));
        assert_eq!(world.count("alarms WHERE kind = 'replacement_unknown'"), 0);
        begin(&world, &B).await;
        show(&world, &B, Shown::Active).await;
        show(&world, &A, Shown::Replaced).await;
        assert_eq!(announced(&world), ["a purchased", "other purchased", "b sku_change"]);
        assert_eq!(links(&world), ["a b real"]);
    }
}

story! {
    async fn a_link_to_an_unseen_purchase_creates_it_silently(world: World) {
        connect(&world);
        begin(&world, &B).await;
        show(&world, &B, Shown::Active).await;
        assert_eq!((links(&world), announced(&world)), (vec!["a b".to_owned()], Vec::new()), "it waits");
        let loaded = world.load(world.key("a")).await;
        assert!(loaded.due && loaded.verify, "the store is queried about it");
        show(&world, &A, Shown::Replaced).await;
        assert_eq!(standing(&world, &B).await, (false, true), "it waits no longer");
        show(&world, &B, Shown::Active).await;
        begin(&world, &A).await;
        show(&world, &A, Shown::Active).await;
        assert_eq!((state(&world, &A).await, announced(&world)), (State::Replaced, vec!["b sku_change".to_owned()]));
        assert_eq!((links(&world), original(&world, &B).await), (vec!["a b real".to_owned()], "a".into()));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn an_unseen_purchase_that_the_store_forgot_is_replaced(world: World) {
        connect(&world);
        begin(&world, &B).await;
        let key = world.key("a");
        for day in 0..=1 {
            show(&world, &B, Shown::Active).await;
            let mut loaded = world.load(key).await;
            assert_eq!((loaded.is_replaced, loaded.due), (day == 1, true), "one wait is enough");
            loaded.now = loaded.now.plus_millis(day * DAY_MS);
            world.done(Record::decided(key, &loaded, &Verification::Gone)).await;
        }
        assert_eq!((state(&world, &A).await, standing(&world, &A).await), (State::Replaced, (true, false)));
        assert_eq!(world.count(&format!("purchases WHERE collapse_key = '{key}' AND next_wake_at IS NOT NULL")), 0);
        assert_eq!(announced(&world), ["b purchased"]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_pending_purchase_replaces_nothing_before_it_is_paid(world: World) {
        connect(&world);
        begin(&world, &A).await;
        show(&world, &A, Shown::Active).await;
        begin(&world, &B).await;
        show(&world, &B, Shown::Pending).await;
        assert_eq!((links(&world), standing(&world, &A).await), (vec!["a b".to_owned()], (false, false)));
        assert_eq!(announced(&world), ["a purchased"]);
        show(&world, &B, Shown::Active).await;
        assert_eq!((links(&world), standing(&world, &A).await), (vec!["a b real".to_owned()], (true, true)));
        assert_eq!(announced(&world), ["a purchased", "b sku_change"]);
    }
}

story! {
    async fn an_unseen_purchase_runs_on_while_its_successor_is_pending(world: World) {
        connect(&world);
        begin(&world, &B).await;
        show(&world, &B, Shown::Pending).await;
        assert_eq!((links(&world), standing(&world, &A).await), (vec!["a b".to_owned()], (false, true)));
        show(&world, &A, Shown::Active).await;
        assert_eq!((state(&world, &A).await, announced(&world)), (State::Active, Vec::new()));
    }
}

story! {
    async fn another_successor_takes_the_place_of_one_that_fell_through(world: World) {
        connect(&world);
        begin(&world, &A).await;
        show(&world, &A, Shown::Active).await;
        begin(&world, &B).await;
        show(&world, &B, Shown::Pending).await;
        show(&world, &B, Shown::FellThrough).await;
        let paid = Token { name: "c", sku: "platinum", continues: Some("a") };
        begin(&world, &paid).await;
        show(&world, &paid, Shown::Active).await;
        assert_eq!((links(&world), standing(&world, &A).await), (vec!["a c real".to_owned()], (true, true)));
        show(&world, &B, Shown::FellThrough).await;
        show(&world, &B, Shown::Active).await;
        assert_eq!(links(&world), ["a c real"], "a link that counts stays");
        assert_eq!(announced(&world)[..2], ["a purchased", "c sku_change"]);
    }
}

story! {
    async fn a_purchase_that_fell_through_is_passed_over(world: World) {
        connect(&world);
        begin(&world, &A).await;
        show(&world, &A, Shown::Active).await;
        begin(&world, &B).await;
        show(&world, &B, Shown::FellThrough).await;
        let paid = Token { name: "c", sku: "platinum", continues: Some("b") };
        begin(&world, &paid).await;
        show(&world, &paid, Shown::Active).await;
        assert_eq!((links(&world), original(&world, &paid).await), (vec!["a c real".to_owned()], "b".into()));
        assert_eq!(announced(&world), ["a purchased", "c sku_change"]);
        assert_eq!((standing(&world, &A).await.0, state(&world, &B).await), (true, State::Expired));
    }
}

story! {
    async fn a_chain_is_linked_in_every_order_of_settling(world: World) {
        connect(&world);
        let orders = [[0_usize, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for (round, order) in orders.iter().enumerate() {
            let names = ["a", "b", "c"].map(|name| format!("{name}{round}"));
            let chain = [
                Token { name: &names[0], sku: "gold", continues: None },
                Token { name: &names[1], sku: "silver", continues: Some(&names[0]) },
                Token { name: &names[2], sku: "platinum", continues: Some(&names[1]) },
            ];
            let before = announced(&world).len();
            for token in &chain {
                begin(&world, token).await;
            }
            for place in order {
                show(&world, &chain[*place], Shown::Active).await;
            }
            // A purchase waits for the one that it continues; one that is replaced is rechecked.
            for token in chain.iter().chain(&chain) {
                show(&world, token, Shown::Active).await;
            }
            let events = announced(&world).split_off(before);
            let expected = ["a purchased", "b sku_change", "c sku_change"];
            let expected = expected.map(|event| event.replacen(' ', &format!("{round} "), 1));
            assert_eq!(events, expected, "{order:?}");
            for (token, expected) in chain.iter().zip([State::Replaced, State::Replaced, State::Active]) {
                assert_eq!(state(&world, token).await, expected, "{order:?}: {}", token.name);
            }
        }
        assert_eq!(world.count("replacements WHERE real_at IS NOT NULL"), 12);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_repeated_record_links_and_rechecks_once(world: World) {
        connect(&world);
        begin(&world, &A).await;
        show(&world, &A, Shown::Active).await;
        begin(&world, &B).await;
        let record = decided(&world, &B, Shown::Active).await;
        let first = world.done(record.clone()).await;
        let rechecked = world.load(world.key("a")).await.settling;
        assert_eq!(world.done(record).await, first);
        show(&world, &B, Shown::Active).await;
        assert_eq!(world.load(world.key("a")).await.settling, rechecked);
        assert_eq!(links(&world), ["a b real"]);
    }
}

story! {
    async fn a_settling_unaware_of_the_stores_link_has_moved(world: World) {
        connect(&world);
        begin(&world, &A).await;
        let first = decided(&world, &A, Shown::Active).await;
        begin(&world, &B).await;
        show(&world, &B, Shown::Active).await;
        assert_eq!(world.store.record(first).await.unwrap(), Recorded::Moved);
        show(&world, &A, Shown::Active).await;
        notify(&world, &A, NotificationKind::Expired).await;
        let unknowing = decided(&world, &A, Shown::Active).await;
        show(&world, &B, Shown::Active).await;
        assert_eq!(world.store.record(unknowing).await.unwrap(), Recorded::Moved);
        assert_eq!(standing(&world, &A).await, (true, true));
        show(&world, &A, Shown::Active).await;
        assert_eq!((state(&world, &A).await, announced(&world).len()), (State::Replaced, 2));
        assert_eq!(announced(&world), ["a purchased", "b sku_change"]);
    }
}

story! {
    async fn two_purchases_never_continue_each_other(world: World) {
        connect(&world);
        begin(&world, &B).await;
        show(&world, &B, Shown::Active).await;
        let inverse = Token { continues: Some("b"), ..A };
        begin(&world, &inverse).await;
        show(&world, &inverse, Shown::Active).await;
        show(&world, &B, Shown::Active).await;
        let own = Token { name: "own", sku: "radio", continues: Some("own") };
        begin(&world, &own).await;
        show(&world, &own, Shown::Active).await;
        assert_eq!(links(&world), ["a b real"], "there is no cycle of links, not even of one");
        assert_eq!(announced(&world), ["a purchased", "b sku_change", "own purchased"]);
    }
}

story! {
    async fn a_record_with_claims_locks_a_link_before_its_purchase(world: World) {
        if !world.is_postgres() {
            return;
        }
        connect(&world);
        begin(&world, &A).await;
        show(&world, &A, Shown::Active).await;
        begin(&world, &B).await;
        show(&world, &B, Shown::Pending).await;
        world.device_claims(1, "a", session(1, &[("b", "customer-1")])).await;
        let record = decided(&world, &B, Shown::Active).await;
        // The record of the old purchase locks the link, and then rechecks its successor.
        let mut held = world.raw();
        held.run("BEGIN; SELECT new_key FROM replacements FOR SHARE");
        let mut recorded = pin!(world.store.record(record));
        assert!(poll!(recorded.as_mut()).is_pending());
        world.wait_for_locks(1).await;
        let of_successor = format!("collapse_key = '{}'", world.key("b"));
        held.run(&format!("SELECT state FROM purchases WHERE {of_successor} FOR UPDATE NOWAIT; COMMIT"));
        recorded.await.unwrap();
        assert_eq!(world.claim_rows(), ["b customer-1 verified - present -"]);
    }
}
