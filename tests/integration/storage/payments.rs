//! The ledger: each payment counts once, each refund once, and every integration receives both.

use super::aging::MINUTE_MS;
use super::sending::{RETRY, finish, lease, must_send, rendering};
use super::world::{World, new_destination, record, story};
use domain::catalogue::Price;
use domain::event::REVENUE_ADJUSTED;
use domain::payment::{EntryKind, SaleKind};
use domain::verification::{EndReason, Offer, Term, Unit};
use domain::{
    CollapseKey, DestinationId, SettlingContext, Snapshot, Timestamp, Transition, TransitionKind,
    Verification,
};
use std::collections::BTreeMap;
use storage::{Change, Differs, NewSale, Page, Product, RevenueFilter, RevenueLine, Run, Verdict};

/// The store time of the purchase.
pub const BOUGHT: &str = "2027-01-10T12:00:00Z";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the snapshot of a monthly subscription two days after its purchase.
pub fn monthly() -> Snapshot {
    Snapshot {
        at: at("2027-01-12T12:00:00Z"),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(at(BOUGHT)),
        renews_at: Some(at("2027-02-10T12:00:00Z")),
        auto_renewing: Some(true),
        product: domain::verification::Product::Subscription,
        product_id: Some("parent".to_owned()),
        term_sku: Some("term".to_owned()),
        ..Snapshot::default()
    }
}

/// Returns the snapshot of a refunded subscription.
pub fn refunded() -> Snapshot {
    Snapshot {
        ends_at: Some(at("2027-01-11T12:00:00Z")),
        end_reason: Some(EndReason::Customer),
        renews_at: None,
        auto_renewing: Some(false),
        ..monthly()
    }
}

impl World {
    /// Adds a product with this price to the catalogue.
    pub async fn sell(&self, usd: &str) {
        let prices = vec![Price {
            country: None,
            currency: "USD".to_owned(),
            price: usd.parse().unwrap(),
            since: None,
        }];
        let product = Product {
            name: None,
            entitlements: Vec::new(),
            prices,
        };
        let change = Change::SetProduct("term".to_owned(), product);
        self.store
            .change_catalogue(self.app.id, change, Run::Real)
            .await
            .unwrap();
    }

    /// Accepts a notification of a receipt and settles it with this snapshot and these transitions, each in its term.
    pub async fn show(
        &self,
        receipt: &str,
        shown: Snapshot,
        happened: &[(TransitionKind, u64)],
    ) -> i64 {
        let key = self.key(receipt);
        let number = self.count("notifications") + 1;
        self.notify(&format!("m{number}"), receipt, number * 1000)
            .await;
        self.settle_shown(key, shown, happened).await
    }

    /// Settles the open notifications of a purchase with this snapshot and these transitions, each in its term.
    pub async fn settle_shown(
        &self,
        key: CollapseKey,
        shown: Snapshot,
        happened: &[(TransitionKind, u64)],
    ) -> i64 {
        let loaded = self.load(key).await;
        let verification = Verification::Verified(Box::new(shown));
        let context = SettlingContext {
            policy: domain::StorePolicy::default(),
            verification: &verification,
            is_replaced: loaded.is_replaced,
            now: loaded.now,
        };
        let decided = domain::decide(&loaded.purchase, &loaded.notifications, context);
        let mut record = record(key, &loaded);
        record.decision.purchase = decided.purchase;
        let transition = |(what, cycle): &(TransitionKind, u64)| Transition {
            kind: *what,
            at: Some(at(BOUGHT)),
            cycle: Some(*cycle),
        };
        record.decision.transitions = happened.iter().map(transition).collect();
        self.done(record).await
    }

    /// Settles a receipt again without a new notification.
    pub async fn settle_again(&self, receipt: &str) -> i64 {
        let key = self.key(receipt);
        let mut record = record(key, &self.load(key).await);
        record.decision.purchase = self.load(key).await.purchase;
        self.done(record).await
    }

    /// Returns the ledger's entries of a receipt: number of the payment, kind, amount and source.
    pub fn ledger(&self, receipt: &str) -> Vec<String> {
        self.raw().texts(&format!(
            "SELECT number || ' ' || kind || ' ' || COALESCE(usd, COALESCE(unknown_because, '-')) || ' ' || source \
             AS value FROM payments WHERE collapse_key = '{}' ORDER BY number, entry",
            self.key(receipt)
        ))
    }

    /// Delivers all pending events of a receipt to a destination, and returns the events with revenue and their
    /// amounts.
    pub async fn sum_up(&self, receipt: &str, to: DestinationId) -> Vec<String> {
        while let storage::LeaseResult::Send(batch) = self.lease(self.key(receipt), to, "sum").await
        {
            let sent = super::sending::Sent {
                batch,
                key: self.key(receipt),
                to,
                token: "sum".to_owned(),
                mode: storage::Mode::Lane,
            };
            self.finish(&sent, Verdict::Delivered).await;
        }
        self.raw().texts(&format!(
            "SELECT event_type || ' ' || revenue AS value FROM deliveries WHERE destination_id = '{to}' \
             AND collapse_key = '{}' AND revenue IS NOT NULL AND status = 'delivered' ORDER BY seq",
            self.key(receipt)
        ))
    }

    /// Returns the lines of the revenue check, read in pages of this size.
    async fn checked(&self, limit: i64) -> Vec<RevenueLine> {
        let (mut cursor, mut lines) = (None, Vec::new());
        loop {
            let page = Page { cursor, limit };
            let answer = self
                .store
                .check_revenue(RevenueFilter::default(), page)
                .await
                .unwrap();
            lines.extend(answer.lines);
            cursor = answer.next_cursor;
            if cursor.is_none() {
                return lines;
            }
        }
    }

    /// Returns the check's lines that differ, each with its kind in the ledger.
    pub async fn differing(&self) -> Vec<(Option<String>, Differs)> {
        let lines = self.checked(1000).await;
        lines
            .into_iter()
            .filter_map(|line| Some((line.kind, line.differs?)))
            .collect()
    }
}

pub fn sale(id: &str, kind: SaleKind, at_text: &str, price: &str) -> NewSale {
    NewSale {
        transaction_id: id.to_owned(),
        kind,
        receipt_id: "r1".to_owned(),
        sku: "term".to_owned(),
        price: price.to_owned(),
        currency: "USD".to_owned(),
        at: at(at_text),
    }
}

story! {
    async fn a_refund_reverses_revenue_once_where_it_was_announced(world: World) {
        world.sell("9.99").await;
        let [analytics, later] = [world.analytics("analytics").await, world.destination("hook").await];
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        assert_eq!(world.ledger("r1"), ["1 initial 9.99 catalogue"]);
        let created_later = world.analytics("made later").await;
        world.show("r1", refunded(), &[(TransitionKind::Expired, 1)]).await;
        let both = ["1 initial 9.99 catalogue", "1 refund -9.99 store"];
        assert_eq!(world.ledger("r1"), both);
        world.show("r1", refunded(), &[]).await;
        world.settle_again("r1").await;
        assert_eq!(world.ledger("r1"), both, "once");
        let expected_events = ["user.subscription.purchased 9.99", "revenue.adjusted -9.99"];
        assert_eq!(world.sum_up("r1", analytics.id).await, expected_events);
        assert_eq!(world.sum_up("r1", created_later.id).await, [""; 0], "the destination never received the payment");
        let queued_of = |id: DestinationId| world.count(&format!("deliveries WHERE destination_id = '{id}' AND event_type = '{REVENUE_ADJUSTED}'"));
        assert_eq!((queued_of(analytics.id), queued_of(later.id), queued_of(created_later.id)), (1, 0, 0));
        // The store shows the purchase as valid again: the payment is restored once.
        world.show("r1", monthly(), &[(TransitionKind::Resumed, 1)]).await;
        world.show("r1", monthly(), &[]).await;
        assert_eq!(world.ledger("r1"), [both[0], both[1], "1 restored 9.99 store"]);
        assert_eq!(world.sum_up("r1", analytics.id).await, [expected_events[0], expected_events[1], "revenue.adjusted 9.99"]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_second_report_of_a_paid_term_earns_nothing(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.show("r1", monthly(), &[(TransitionKind::Renewed, 2)]).await;
        world.show("r1", monthly(), &[(TransitionKind::Recovered, 2)]).await;
        world.show("r1", monthly(), &[(TransitionKind::TrialConverted, 2), (TransitionKind::Renewed, 2)]).await;
        assert_eq!(world.ledger("r1"), ["1 initial 9.99 catalogue", "2 renewal 9.99 catalogue"]);
        let expected_events = ["user.subscription.purchased 9.99", "user.subscription.renewed 9.99"];
        assert_eq!(world.sum_up("r1", analytics.id).await, expected_events);
    }
}

story! {
    async fn a_conversion_earns_by_the_event_that_was_chosen(world: World) {
        world.sell("9.99").await;
        let both = world.analytics("both").await;
        let mut new = new_destination(&world.app, "renewals");
        (new.traits.per_user, new.common.events) = (true, vec![TransitionKind::Renewed.event_type().to_owned()]);
        let renewals = world.store.new_destination(new).await.unwrap();
        world.show("r1", monthly(), &[(TransitionKind::TrialStarted, 1), (TransitionKind::Purchased, 1)]).await;
        assert_eq!(world.ledger("r1"), [""; 0], "a trial is not paid");
        world.show("r1", monthly(), &[(TransitionKind::TrialConverted, 1), (TransitionKind::Renewed, 1)]).await;
        assert_eq!(world.ledger("r1"), ["1 trial_conversion 9.99 catalogue"]);
        world.show("r1", refunded(), &[(TransitionKind::Expired, 1)]).await;
        let refund = "revenue.adjusted -9.99";
        assert_eq!(world.sum_up("r1", both.id).await, ["user.journey.trial.converted 9.99", refund]);
        assert_eq!(world.sum_up("r1", renewals.id).await, ["user.subscription.renewed 9.99", refund]);
        assert_eq!(world.differing().await, []);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn uncounted_revenue_is_not_reversed(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.show("r1", refunded(), &[(TransitionKind::Expired, 1)]).await;
        let render = || rendering(|unsent| match unsent.earned.as_ref().and_then(|earned| earned.not_counted_because) {
            Some(why) => storage::Rendered::Skip { why: why.to_owned() },
            None => storage::Rendered::Body(unsent.event_type.clone()),
        });
        let lane = |token: &str| storage::Lease { render: render(), ..lease(world.key("r1"), analytics.id, token) };
        let sent = must_send(&world.store, lane("a")).await;
        assert_eq!(sent.types(), ["user.subscription.purchased", "user.subscription.expired"], "the refund comes last");
        world.finish(&sent, RETRY).await;
        let state = must_send(&world.store, lane("b")).await;
        assert_eq!(state.types(), ["purchase.updated"]);
        world.finish(&state, Verdict::Delivered).await;
        world.pass(5_001);
        let sent = must_send(&world.store, lane("c")).await;
        world.end(finish(&sent, Verdict::Failed)).await;
        let left = world.store.lease(lane("d")).await.unwrap();
        assert!(matches!(left, storage::LeaseResult::Idle(storage::Idle::Closed { .. })), "the refund is not sent: {left:?}");
        let why = world.raw().texts("SELECT last_error AS value FROM deliveries WHERE event_type = 'revenue.adjusted'");
        assert_eq!(why, ["the payment's delivery to this destination failed, so there is no revenue to adjust"]);
        let differing = world.differing().await;
        assert_eq!(differing, [(Some("initial".to_owned()), Differs::Failed), (Some("refund".to_owned()), Differs::Skipped)]);
    }
}

story! {
    async fn a_sales_report_corrects_prices_once_and_names_unmatched(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let lines = || vec![
            sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "8.49"),
            sale("t0", SaleKind::Charge, "2026-11-10T13:00:00Z", "8.49"),
            NewSale { receipt_id: "r2".to_owned(), ..sale("t2", SaleKind::Charge, "2027-01-10T13:00:00Z", "7.00") },
        ];
        let dry = world.store.import_sales(world.app.id, lines(), Run::Dry).await.unwrap();
        assert_eq!(world.count("sales"), 0);
        let real = world.store.import_sales(world.app.id, lines(), Run::Real).await.unwrap();
        assert_eq!(dry, real);
        assert_eq!((real.new, real.known, real.changed, real.matched, real.purchases), (3, 0, 0, 1, 1));
        let unmatched: BTreeMap<_, _> = real.unmatched.iter().map(|one| (one.transaction_id.as_str(), one.why)).collect();
        assert_eq!(unmatched, BTreeMap::from([("t0", "payment_unknown"), ("t2", "purchase_unknown")]));
        let [one] = real.differences.as_slice() else { panic!("{:?}", real.differences) };
        let (listed, reported, usd) = (one.listed.as_deref(), one.reported.as_deref(), one.usd.as_deref());
        assert_eq!((one.what, listed, reported, usd), ("correction", Some("9.99 USD"), Some("8.49 USD"), Some("-1.50")));
        assert_eq!(world.ledger("r1").len(), 1, "the settling writes it");
        world.settle_again("r1").await;
        let corrected = ["1 initial 9.99 catalogue", "1 correction -1.50 report"];
        assert_eq!(world.ledger("r1"), corrected);
        let again = world.store.import_sales(world.app.id, lines(), Run::Real).await.unwrap();
        assert_eq!((again.new, again.known, again.differences.len()), (0, 3, 0));
        world.settle_again("r1").await;
        assert_eq!(world.ledger("r1"), corrected, "once");
        let data = world.store.purchase(world.key("r1")).await.unwrap().data["data"].clone();
        assert_eq!((&data["purchase_price"], &data["price_in_usd"]), (&"8.49".into(), &"8.49".into()));
        assert_eq!(data["transaction_id"], "t1");
        world.show("r1", refunded(), &[(TransitionKind::Expired, 1)]).await;
        let expected_events = ["user.subscription.purchased 9.99", "revenue.adjusted -1.50", "revenue.adjusted -8.49"];
        assert_eq!(world.sum_up("r1", analytics.id).await, expected_events);
        // An unmatched sale is matched as soon as its payment is recorded, which then has the reported amount.
        world.show("r2", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        assert_eq!(world.ledger("r2"), ["1 initial 7.00 report"]);
        assert_eq!(world.sum_up("r2", analytics.id).await, ["user.subscription.purchased 7.00"]);
        assert_eq!((world.differing().await, world.broken(1000).await), (vec![], vec![]));
    }
}

story! {
    async fn a_reported_refund_is_partial_and_changed_lines_announced(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let lines = |amount: &str| vec![
            sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "9.99"),
            sale("t1", SaleKind::Refund, "2027-01-20T13:00:00Z", amount),
        ];
        for (amount, new, changed) in [("4.00", 2, 0), ("5.00", 0, 1)] {
            let answer = world.store.import_sales(world.app.id, lines(amount), Run::Real).await.unwrap();
            assert_eq!((answer.new, answer.changed), (new, changed));
            world.settle_again("r1").await;
        }
        let expected_events = ["user.subscription.purchased 9.99", "revenue.adjusted -4.00", "revenue.adjusted -1.00"];
        assert_eq!(world.sum_up("r1", analytics.id).await, expected_events);
        assert_eq!(world.ledger("r1")[1..], ["1 refund -4.00 report", "1 refund -1.00 report"]);
    }
}

story! {
    async fn two_parts_of_one_transaction_are_both_refunded(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let charge = || sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "9.99");
        let part = |day: i32, amount: &str| {
            sale("t1", SaleKind::Refund, &format!("2027-01-{day}T13:00:00Z"), amount)
        };
        let whole = vec![charge(), part(12, "3.00"), part(20, "2.00")];
        for (lines, new, known) in [(vec![charge(), part(12, "3.00")], 2, 0), (whole.clone(), 1, 2), (whole, 0, 3)] {
            let answer = world.store.import_sales(world.app.id, lines, Run::Real).await.unwrap();
            assert_eq!((answer.new, answer.known, answer.changed, answer.unmatched.len()), (new, known, 0, 0));
            world.settle_again("r1").await;
        }
        let earned = ["user.subscription.purchased 9.99", "revenue.adjusted -3.00", "revenue.adjusted -2.00"];
        assert_eq!(world.sum_up("r1", analytics.id).await, earned);
    }
}

story! {
    async fn a_known_file_settles_nothing_and_a_rate_settles_its_day(world: World) {
        world.sell("9.99").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let lines = || {
            let euros = sale("t1", SaleKind::Charge, "2027-01-10T13:00:00Z", "8.00");
            vec![NewSale { currency: "EUR".to_owned(), ..euros }]
        };
        let import = async || world.store.import_sales(world.app.id, lines(), Run::Real).await.unwrap().purchases;
        assert_eq!(import().await, 1);
        world.settle_again("r1").await;
        assert_eq!(import().await, 0);
        world.sleep();
        let due = || world.woken();
        let rate = |day: &str, usd: &str| storage::Rate {
            day: day.to_owned(), currency: "EUR".to_owned(), usd: usd.to_owned(),
        };
        world.store.put_rates(world.app.id, vec![rate("2027-01-11", "1.5")]).await.unwrap();
        assert_eq!(due(), 0, "nothing was sold on that day");
        world.store.put_rates(world.app.id, vec![rate("2027-01-10", "1.5")]).await.unwrap();
        assert_eq!(due(), 1);
        world.settle_again("r1").await;
        assert_eq!(world.ledger("r1"), ["1 initial 9.99 catalogue", "1 correction 2.01 report"]);
        world.sleep();
        world.store.put_rates(world.app.id, vec![rate("2027-01-10", "1.5")]).await.unwrap();
        assert_eq!(due(), 0, "an unchanged rate rechecks nothing");
    }
}

/// Returns a snapshot at this time on the day of the payment, optionally with a promotion.
pub fn promoted(time: &str, offer: Option<Offer>) -> Snapshot {
    Snapshot {
        at: at(&format!("2027-01-10T{time}:00Z")),
        offer,
        ..monthly()
    }
}

story! {
    async fn a_late_promotion_gives_the_same_revenue_as_a_prompt_one(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        let introductory = Some(Offer::Introductory);
        let queued = || Snapshot { has_queued_offer: true, ..promoted("12:05", None) };
        let converted = [(TransitionKind::TrialConverted, 1), (TransitionKind::Renewed, 1)];
        // The first payment after a trial has a promotion, which was queued before.
        for (receipt, first) in [("agrees", promoted("12:05", introductory)), ("lags", queued())] {
            world.show(receipt, first, &converted).await;
            world.show(receipt, promoted("12:20", introductory), &[]).await;
            assert_eq!(world.ledger(receipt), ["1 trial_conversion unconfirmed catalogue"], "{receipt}");
            world.show(receipt, promoted("15:00", introductory), &[]).await;
            assert_eq!(world.ledger(receipt), ["1 trial_conversion promotion catalogue"], "{receipt}");
            world.show(receipt, promoted("16:00", None), &[]).await;
            assert_eq!(world.sum_up(receipt, analytics.id).await, [""; 0], "{receipt}: its price is known to nobody");
        }
        // The first payment at full price after a promotion.
        world.show("agrees at once", promoted("12:05", None), &[(TransitionKind::Renewed, 2)]).await;
        assert_eq!(world.sum_up("agrees at once", analytics.id).await, ["user.subscription.renewed 9.99"]);
        world.show("lags behind", promoted("12:05", introductory), &[(TransitionKind::Renewed, 2)]).await;
        world.show("lags behind", promoted("15:00", None), &[]).await;
        let priced = ["2 renewal unconfirmed catalogue", "2 correction 9.99 catalogue"];
        assert_eq!(world.ledger("lags behind"), priced);
        world.settle_again("lags behind").await;
        assert_eq!(world.ledger("lags behind"), priced, "once");
        world.show("lags behind", refunded(), &[(TransitionKind::Expired, 2)]).await;
        let earned = ["revenue.adjusted 9.99", "revenue.adjusted -9.99"];
        assert_eq!(world.sum_up("lags behind", analytics.id).await, earned);
        // A promotion that is still queued when the store has caught up belongs to a later payment.
        world.show("queued", queued(), &[(TransitionKind::Renewed, 2)]).await;
        world.show("queued", Snapshot { has_queued_offer: true, ..promoted("15:00", None) }, &[]).await;
        assert_eq!(world.sum_up("queued", analytics.id).await, ["revenue.adjusted 9.99"]);
        assert!(world.differing().await.iter().all(|(_, why)| *why == Differs::PriceUnknown));
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn adjustments_of_a_payment_are_sent_again_with_it(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.show("r1", refunded(), &[(TransitionKind::Expired, 1)]).await;
        world.raw().run(
            "UPDATE deliveries SET status = 'failed', finished_at = 1, last_error = 'refused' WHERE event_type = 'user.subscription.purchased'; \
             UPDATE deliveries SET status = 'skipped', finished_at = 1, last_error = 'failed' WHERE event_type = 'revenue.adjusted'"
        );
        let explained = [(Some("initial".to_owned()), Differs::Failed), (Some("refund".to_owned()), Differs::Skipped)];
        assert_eq!(world.differing().await, explained);
        // Only one of the two is delivered, so the sum of what was sent differs.
        world.set_status_of("user.subscription.purchased", "delivered");
        let differing = world.differing().await;
        assert!(differing.contains(&(Some("refund".to_owned()), Differs::Unequal)), "{differing:?}");
        world.set_status_of("user.subscription.purchased", "failed");
        let (failed, all) = (domain::RedeliverySelector::Failed.to(None), Page::default());
        let again = world.store.resend(failed, all, Run::Real).await.unwrap();
        assert_eq!((again.checked, again.requeued.pending), (1, 1));
        let earned = ["user.subscription.purchased 9.99", "revenue.adjusted -9.99"];
        assert_eq!(world.sum_up("r1", analytics.id).await, earned);
        assert_eq!((world.differing().await, world.broken(1000).await), (vec![], vec![]));
    }
}

story! {
    async fn the_revenue_check_explains_or_names_every_difference(world: World) {
        world.sell("9.99").await;
        world.show("r0", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.age(2 * MINUTE_MS);
        let all = world.analytics("all").await;
        let mut new = new_destination(&world.app, "some");
        (new.traits.per_user, new.common.events) = (true, vec![TransitionKind::Expired.event_type().to_owned()]);
        world.store.new_destination(new).await.unwrap();
        world.age(2 * MINUTE_MS);
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        world.show("r2", monthly(), &[(TransitionKind::Renewed, 2), (TransitionKind::Renewed, 3), (TransitionKind::PlanChanged, 3)]).await;
        world.age(2 * MINUTE_MS);
        let of = |world: &World, lines: Vec<RevenueLine>, receipt: &str| {
            let key = world.key(receipt);
            let mut found: Vec<_> = lines.into_iter().filter(|line| line.collapse_key == key)
                .map(|line| (line.destination_id == all.id, line.differs)).collect();
            found.sort();
            found
        };
        let some = (false, Some(Differs::NotChosen));
        for limit in [1000, 1] {
            let lines = world.checked(limit).await;
            let later = Some(Differs::CreatedLater);
            assert_eq!(of(&world, lines.clone(), "r0"), [(false, later), (true, later)]);
            assert_eq!(of(&world, lines.clone(), "r1"), [some, (true, Some(Differs::Pending))]);
            let unknown = Some(Differs::PriceUnknown);
            assert_eq!(of(&world, lines, "r2"), [(false, unknown), some, (true, unknown), (true, Some(Differs::Pending))]);
        }
        world.sum_up("r1", all.id).await;
        world.sum_up("r2", all.id).await;
        assert_eq!(of(&world, world.checked(1000).await, "r1"), [some, (true, None)]);
        let month = |month: &str| RevenueFilter { app_id: Some(world.app.id), month: Some(month.to_owned()) };
        let found = world.store.check_revenue(month("2027-01"), Page { cursor: None, limit: 100 }).await.unwrap();
        assert_eq!((found.purchases, found.integrations.len()), (3, 2));
        assert!(!found.lines.is_empty());
        let none = world.store.check_revenue(month("2026-12"), Page { cursor: None, limit: 100 }).await.unwrap();
        assert_eq!(none.lines, []);
        // The check names changes that were made by hand.
        for (change, undo, expected) in [
            ("UPDATE payments SET usd = '1.00' WHERE usd = '9.99'", "UPDATE payments SET usd = '9.99' WHERE usd = '1.00'",
             Differs::Unequal),
            ("CREATE TABLE gone AS SELECT * FROM payments; DELETE FROM payments",
             "INSERT INTO payments SELECT * FROM gone; DROP TABLE gone", Differs::NotInLedger),
        ] {
            world.raw().run(change);
            let differing = world.differing().await;
            assert!(differing.iter().any(|(_, why)| *why == expected && !why.is_explained()), "{change}: {differing:?}");
            assert_ne!(world.broken(1000).await, [], "{change}");
            world.raw().run(undo);
            assert!(world.differing().await.iter().all(|(_, why)| why.is_explained()), "{undo}");
        }
        world.raw().run("DELETE FROM attempts; DELETE FROM deliveries WHERE event_type = 'user.subscription.purchased'");
        assert!(world.differing().await.iter().any(|(_, why)| *why == Differs::Missing));
    }
}

#[test]
fn a_kind_of_entry_is_read_as_it_is_written() {
    for kind in EntryKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(*kind));
    }
}

story! {
    async fn the_revenue_check_reads_the_bodies(world: World) {
        world.sell("9.99").await;
        let analytics = world.analytics("analytics").await;
        world.show("r1", monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let render = rendering(|unsent| storage::Rendered::Body(unsent.event_type.clone()));
        let silent = storage::Lease { render, ..lease(world.key("r1"), analytics.id, "silent") };
        let sent = must_send(&world.store, silent).await;
        world.finish(&sent, Verdict::Delivered).await;
        assert_eq!(world.differing().await, [(Some("initial".to_owned()), Differs::Unequal)], "it has no amount");
    }
}
