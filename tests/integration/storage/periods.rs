//! The ledger of a store that shows each payment: each period is booked once, and each refund of it once.

use super::payments::{self, BOUGHT, at};
use super::world::{Report, World, record, reported, story};
use domain::period::{PeriodRefund, RefundExtent};
use domain::stores::google::{ItemAnswer, OrderAnswer, OrderState, PurchaseAnswer, Status};
use domain::time::DAY;
use domain::verification::Product as Kind;
use domain::{
    NotificationKind, SettlingContext, Snapshot, StorePolicy, Timestamp, TransitionKind,
    Verification, VoidedPayment,
};
use storage::{Change, Differs, EntitlementText, Page, PaymentSubject, Product, Rate, Run};

pub const FIRST: &[NotificationKind] = &[NotificationKind::SubscriptionPurchased];
pub const NEXT: &[NotificationKind] = &[NotificationKind::Renewed];

/// The time this many days after the purchase.
pub fn day(days: u32) -> Timestamp {
    at(BOUGHT).plus(DAY * days)
}

pub fn order_id(number: u32) -> String {
    match number.checked_sub(2) {
        Some(renewal) => format!("GPA.1..{renewal}"),
        None => "GPA.1".to_owned(),
    }
}

/// The order with this number, of 4.99 USD.
fn order(number: u32) -> OrderAnswer {
    let from = day(30 * (number - 1));
    OrderAnswer {
        id: order_id(number),
        state: OrderState::Processed,
        created_at: Some(from),
        total: "4.99".parse().ok(),
        currency: Some("USD".to_owned()),
        tax: "0.80".parse().ok(),
        country: Some("US".to_owned()),
        phase: None,
        paid_from: Some(from),
        paid_until: Some(from.plus(DAY * 30)),
        refunded: None,
        refunded_at: None,
        refunded_tax: None,
    }
}

/// A monthly plan that was paid `number` times, a day after the last payment.
pub fn monthly(number: u32) -> PurchaseAnswer {
    PurchaseAnswer {
        at: day(30 * (number - 1) + 1),
        is_subscription: true,
        status: Status::Active,
        started_at: Some(day(0)),
        country: Some("US".to_owned()),
        is_acknowledged: Some(true),
        is_test: false,
        items: vec![ItemAnswer {
            product: "gold".to_owned(),
            plan: Some("monthly".to_owned()),
            expires_at: Some(day(30 * number)),
            order: Some(order_id(number)),
            renews: Some(true),
            ..ItemAnswer::default()
        }],
        orders: (1..=number).map(order).collect(),
        cancellation: None,
        resumes_at: None,
        linked: None,
        term: None,
        listed: Kind::Unknown,
    }
}

/// An order of which this much was refunded, on this day.
fn refunded(number: u32, amount: &str, on: u32) -> OrderAnswer {
    let paid = order(number);
    let refunded = amount.parse().ok();
    OrderAnswer {
        state: if refunded == paid.total {
            OrderState::Refunded
        } else {
            OrderState::PartiallyRefunded
        },
        refunded,
        refunded_at: Some(day(on)),
        ..paid
    }
}

pub fn snapshot(answer: &PurchaseAnswer) -> Snapshot {
    answer.snapshot().expect("an answer with a part")
}

/// Returns what an answer shows, with a void of this order.
fn voided(answer: &PurchaseAnswer, number: u32, units: Option<u32>) -> Snapshot {
    let mut shown = snapshot(answer);
    let state = shown.state.as_mut().expect("a state");
    state.voided = vec![VoidedPayment {
        transaction_id: order_id(number),
        at: answer.at,
        units,
    }];
    shown
}

impl World {
    /// Settles a token with what the store shows, and with reports of these kinds.
    pub async fn settle_token(&self, token: &str, shown: Snapshot, kinds: &[NotificationKind]) {
        let now = shown.at;
        for kind in kinds {
            let message = format!("g{}", self.count("notifications"));
            let report = Report {
                kind: *kind,
                customer: Some("customer-1"),
                related: None,
            };
            let at_ms = now.micros() / 1000 - 60_000;
            let platform = self.platform.id;
            self.accept(reported(platform, &message, token, at_ms, report))
                .await;
        }
        let verification = Verification::Verified(Box::new(shown));
        self.settle_verified(token, &verification, now).await;
    }

    /// Settles what was accepted about a token with this result of a query.
    pub async fn settle_verified(&self, token: &str, verification: &Verification, now: Timestamp) {
        let key = self.key(token);
        let loaded = self.load(key).await;
        let context = SettlingContext {
            policy: StorePolicy::of("google").expect("a store of this release"),
            verification,
            is_replaced: loaded.is_replaced,
            now,
        };
        let decided = domain::decide(&loaded.purchase, &loaded.notifications, context);
        let mut record = record(key, &loaded);
        record.decision.purchase = decided.purchase;
        record.decision.transitions = decided.transitions;
        record.decision.refunds = decided.refunds;
        self.done(record).await;
    }

    pub async fn settle_answer(
        &self,
        token: &str,
        answer: &PurchaseAnswer,
        kinds: &[NotificationKind],
    ) {
        self.settle_token(token, snapshot(answer), kinds).await;
    }

    /// Returns the transactions of a token's payments, in the order of their numbers.
    fn transactions(&self, token: &str) -> Vec<String> {
        self.raw().texts(&format!(
            "SELECT number || ' ' || COALESCE(store_transaction, '-') AS value FROM payments \
             WHERE collapse_key = '{}' AND entry = 0 ORDER BY number",
            self.key(token)
        ))
    }

    pub fn state_of(&self, token: &str) -> Vec<String> {
        let key = self.key(token);
        self.raw().texts(&format!(
            "SELECT state AS value FROM purchases WHERE collapse_key = '{key}'"
        ))
    }
}

story! {
    async fn each_period_is_booked_once_in_whatever_order(world: World) {
        let analytics = world.analytics("analytics").await;
        world.settle_answer("t1", &monthly(1), FIRST).await;
        assert_eq!(world.ledger("t1"), ["1 initial 4.99 store"]);
        // Three renewals in one window; the order of the second one is read later.
        let mut four = monthly(4);
        four.orders.remove(2);
        world.settle_answer("t1", &four, NEXT).await;
        let booked = world.transactions("t1");
        assert_eq!(booked.len(), 4, "{booked:?}");
        assert_eq!(booked[3], "4 GPA.1..2");
        world.settle_answer("t1", &monthly(4), &[]).await;
        world.settle_answer("t1", &monthly(4), &[]).await;
        let total = world.store.payments(
            Some(world.app.id),
            PaymentSubject::Purchases(vec![world.key("t1")]),
            Page::default(),
        ).await.unwrap().items;
        let usd: Vec<f64> = total.iter().filter_map(|one| one.usd.as_ref()?.parse().ok()).collect();
        assert!((usd.iter().sum::<f64>() - 4.0 * 4.99).abs() < 0.001, "{total:?}");
        assert!(world.transactions("t1").iter().all(|one| !one.ends_with(" -")), "{:?}", world.transactions("t1"));
        let sent = world.sum_up("t1", analytics.id).await;
        assert_eq!(sent.len(), 4, "{sent:?}");
        assert!(sent.iter().all(|one| one.ends_with(" 4.99")), "{sent:?}");
        assert_eq!(world.differing().await, [(Some("renewal".to_owned()), Differs::PriceUnknown)]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_price_that_becomes_known_later_is_added_once(world: World) {
        let analytics = world.analytics("analytics").await;
        let mut unread = monthly(1);
        unread.orders.clear();
        world.settle_answer("t1", &unread, FIRST).await;
        assert_eq!(world.ledger("t1"), ["1 initial unconfirmed store"]);
        for _ in 0..2 {
            world.settle_answer("t1", &monthly(1), &[]).await;
            assert_eq!(world.ledger("t1"), ["1 initial unconfirmed store", "1 correction 4.99 store"]);
        }
        assert_eq!(world.sum_up("t1", analytics.id).await, ["revenue.adjusted 4.99"]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn the_third_of_five_is_refunded_in_parts_and_again(world: World) {
        let analytics = world.analytics("analytics").await;
        world.settle_answer("t1", &monthly(1), FIRST).await;
        world.settle_answer("t1", &monthly(5), NEXT).await;
        let mut known = world.ledger("t1");
        assert_eq!(known.len(), 5);
        for (amount, on, entry) in [("2.00", 122, "3 refund -2.00 store"), ("4.99", 123, "3 refund -2.99 store")] {
            let mut answer = monthly(5);
            answer.at = day(on + 1);
            answer.orders[2] = refunded(3, amount, on);
            world.settle_answer("t1", &answer, &[]).await;
            world.settle_answer("t1", &answer, &[]).await;
            known.insert(if amount == "2.00" { 3 } else { 4 }, entry.to_owned());
            assert_eq!(world.ledger("t1"), known);
        }
        let mut restored = snapshot(&monthly(5));
        restored.at = day(126);
        restored.state.as_mut().unwrap().periods[2].refund = Some(PeriodRefund { at: day(125), extent: RefundExtent::Reversed });
        world.settle_token("t1", restored.clone(), &[]).await;
        world.settle_token("t1", restored, &[]).await;
        known.insert(5, "3 restored 4.99 store".to_owned());
        assert_eq!(world.ledger("t1"), known);
        let sent = world.sum_up("t1", analytics.id).await;
        assert_eq!(sent[5..], ["revenue.adjusted -2.00", "revenue.adjusted -2.99", "revenue.adjusted 4.99"]);
        assert_eq!(world.differing().await, []);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn tax_and_country_of_payments_are_stored_beside_them(world: World) {
        world.settle_answer("t1", &monthly(1), FIRST).await;
        for (amount, on, tax) in [("2.00", 1, "0.32"), ("4.99", 2, "0.80")] {
            let mut answer = monthly(1);
            answer.at = day(on);
            answer.orders = vec![refunded(1, amount, on)];
            answer.orders[0].refunded_tax = tax.parse().ok();
            world.settle_answer("t1", &answer, &[]).await;
        }
        let mut restored = snapshot(&monthly(1));
        restored.at = day(3);
        let reversed = PeriodRefund { at: day(3), extent: RefundExtent::Reversed };
        restored.state.as_mut().unwrap().periods[0].refund = Some(reversed);
        world.settle_token("t1", restored, &[]).await;
        let taxes = "SELECT kind || ' ' || COALESCE(tax, '-') AS value FROM payments ORDER BY number, entry";
        let expected = ["initial 0.80", "refund -0.32", "refund -0.48", "restored 0.80"];
        assert_eq!(world.raw().texts(taxes), expected);
        let subject = PaymentSubject::Purchases(vec![world.key("t1")]);
        let listed = world.store.payments(None, subject, Page::default()).await.unwrap().items;
        let mut taxes: Vec<_> = listed.iter().filter_map(|one| one.tax.as_deref()).collect();
        taxes.sort_unstable();
        assert_eq!(taxes, ["-0.32", "-0.48", "0.80", "0.80"]);
        let countries: Vec<_> = listed.iter().filter_map(|one| one.country.as_deref()).collect();
        assert_eq!(countries, ["US"]);
        assert_eq!(world.broken(1000).await, []);
        // A store without periods shows neither.
        world.sell("9.99").await;
        world.show("r1", payments::monthly(), &[(TransitionKind::Purchased, 1)]).await;
        let without = format!("payments WHERE collapse_key = '{}' AND tax IS NULL AND country IS NULL", world.key("r1"));
        assert_eq!(world.count(&without), 1);
    }
}

story! {
    async fn g29_a_void_of_an_older_order_returns_its_money_alone(world: World) {
        world.settle_answer("t1", &monthly(1), FIRST).await;
        world.settle_answer("t1", &monthly(4), NEXT).await;
        let events = world.count("events WHERE event_type LIKE 'user.%'");
        let (number, answer) = (2, monthly(4));
        for _ in 0..2 {
            world.settle_token("t1", voided(&answer, number, None), &[]).await;
        }
        assert_eq!(world.ledger("t1")[2], "2 refund -4.99 store");
        assert_eq!((world.ledger("t1").len(), world.state_of("t1")), (5, vec!["active".to_owned()]));
        assert_eq!(world.count("events WHERE event_type LIKE 'user.%'"), events, "silence");
        let at = world.raw().number("SELECT occurred_at AS value FROM payments WHERE kind = 'refund'");
        assert_eq!(Timestamp::from_micros(at), answer.at);
    }
}

story! {
    async fn g31_a_refund_without_a_revocation_is_money_alone(world: World) {
        world.settle_answer("t1", &monthly(1), FIRST).await;
        let mut answer = monthly(1);
        answer.orders = vec![refunded(1, "4.99", 1)];
        world.settle_answer("t1", &answer, &[]).await;
        world.settle_answer("t1", &answer, &[]).await;
        assert_eq!(world.ledger("t1"), ["1 initial 4.99 store", "1 refund -4.99 store"]);
        assert_eq!(world.state_of("t1"), ["active"]);
        let data = world.store.purchase(world.key("t1")).await.unwrap().data;
        assert_eq!(data["data"]["refunded_amount"], "4.99");
    }
}

story! {
    async fn g33_pieces_are_returned_by_their_number(world: World) {
        let mut coins = monthly(1);
        coins.is_subscription = false;
        coins.items = vec![ItemAnswer {
            product: "coins".to_owned(),
            order: Some(order_id(1)),
            quantity: Some(3),
            ..ItemAnswer::default()
        }];
        coins.orders[0].total = "9.00".parse().ok();
        world.settle_answer("t1", &coins, &[NotificationKind::EntitlementPurchased]).await;
        assert_eq!(world.ledger("t1"), ["1 initial 9.00 store"]);
        for _ in 0..2 {
            world.settle_token("t1", voided(&coins, 1, Some(2)), &[]).await;
            assert_eq!(world.ledger("t1"), ["1 initial 9.00 store", "1 refund -6.00 store"]);
            assert_eq!(world.state_of("t1"), ["active"]);
        }
        coins.at = coins.at.plus(DAY);
        world.settle_token("t1", voided(&coins, 1, None), &[]).await;
        world.settle_token("t1", voided(&coins, 1, None), &[]).await;
        assert_eq!(world.ledger("t1")[2..], ["1 refund -3.00 store"]);
        assert_eq!(world.state_of("t1"), ["revoked"]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn g34_a_tester_s_payments_all_count_in_the_sandbox(world: World) {
        for (number, kinds) in [(1, FIRST), (4, NEXT), (5, NEXT), (7, NEXT)] {
            let mut answer = monthly(number);
            answer.is_test = true;
            world.settle_answer("t1", &answer, kinds).await;
        }
        assert_eq!(world.ledger("t1").len(), 7);
        let environments = world.raw().texts("SELECT DISTINCT environment AS value FROM payments");
        assert_eq!(environments, ["sandbox"]);
        let data = world.store.purchase(world.key("t1")).await.unwrap().data;
        assert_eq!(data["data"]["billing_cycles"], 7);
        assert_eq!(data["data"]["transaction_id"], order_id(7).as_str());
    }
}

story! {
    async fn each_payment_is_converted_at_the_rate_of_its_day(world: World) {
        let rate = |day: &str, usd: &str| Rate { day: day.to_owned(), currency: "EUR".to_owned(), usd: usd.to_owned() };
        let rates = vec![rate("2027-01-10", "1.10"), rate("2027-02-09", "1.20")];
        world.store.put_rates(world.app.id, rates).await.unwrap();
        let in_euros = |number: u32| {
            let mut answer = monthly(number);
            answer.orders.iter_mut().for_each(|order| order.currency = Some("EUR".to_owned()));
            answer
        };
        world.settle_answer("t1", &in_euros(1), FIRST).await;
        world.settle_answer("t1", &in_euros(2), NEXT).await;
        assert_eq!(world.ledger("t1"), ["1 initial 5.49 store", "2 renewal 5.99 store"]);
        let data = world.store.purchase(world.key("t1")).await.unwrap().data;
        assert_eq!(data["data"]["price_in_usd"], "5.99");
        world.settle_token("t1", voided(&in_euros(2), 1, None), &[]).await;
        assert_eq!(world.ledger("t1")[1], "1 refund -5.49 store");
        // The third one has no rate yet. Once there is one, it is converted once, and another one corrects it.
        world.settle_answer("t1", &in_euros(3), NEXT).await;
        assert_eq!(world.ledger("t1")[3], "3 renewal no_rate store");
        for (usd, last) in [("1.00", "3 correction 4.99 store"), ("1.10", "3 correction 0.50 store")] {
            world.store.put_rates(world.app.id, vec![rate("2027-03-11", usd)]).await.unwrap();
            world.settle_answer("t1", &in_euros(3), &[]).await;
            world.settle_answer("t1", &in_euros(3), &[]).await;
            assert_eq!(world.ledger("t1").last().map(String::as_str), Some(last));
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_payment_of_the_former_token_is_not_counted_again(world: World) {
        world.settle_answer("t1", &monthly(1), FIRST).await;
        let mut next = monthly(1);
        next.linked = Some("t1".to_owned());
        world.settle_answer("t2", &next, FIRST).await;
        assert_eq!(world.ledger("t2"), [""; 0]);
        next.items[0].order = Some("GPA.2".to_owned());
        next.orders.push(OrderAnswer { id: "GPA.2".to_owned(), ..order(2) });
        next.at = day(31);
        world.settle_answer("t2", &next, NEXT).await;
        assert_eq!(world.transactions("t2"), ["1 GPA.2"]);
        assert_eq!(world.ledger("t1"), ["1 initial 4.99 store"]);
    }
}

story! {
    async fn a_changed_amount_of_a_period_is_noticed(world: World) {
        world.settle_answer("t1", &monthly(1), FIRST).await;
        assert_eq!(world.broken(1000).await, []);
        world.raw().run("UPDATE payments SET amount = '1.00'");
        assert_eq!(world.broken(1000).await, [("each_payment_adds_up", 1)]);
    }
}

story! {
    async fn a_purchase_gives_the_entitlements_of_all_its_parts(world: World) {
        for name in ["gold", "extra"] {
            let text = EntitlementText { name: name.to_owned(), description: None };
            let change = Change::SetEntitlement(name.to_owned(), text);
            world.store.change_catalogue(world.app.id, change, Run::Real).await.unwrap();
        }
        let list = async |sku: &str, entitlement: &str| {
            let entitlements = vec![entitlement.to_owned()];
            let change = Change::SetProduct(sku.to_owned(), Product { name: None, entitlements, prices: Vec::new() });
            world.store.change_catalogue(world.app.id, change, Run::Real).await.unwrap();
        };
        let mut both = monthly(1);
        let extra = ItemAnswer { product: "extra".to_owned(), ..both.items[0].clone() };
        both.items.push(extra);
        list("gold", "gold").await;
        world.settle_answer("t1", &both, FIRST).await;
        let missing = world.raw().texts("SELECT detail AS value FROM alarms WHERE kind = 'product_unlisted'");
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].starts_with("`extra:monthly` is not"), "{missing:?}");
        world.sleep();
        list("extra:monthly", "extra").await;
        assert_eq!(world.woken(), 1, "the purchase is rechecked because of its second part");
        both.at = day(2);
        world.settle_answer("t1", &both, &[]).await;
        let data = world.store.purchase(world.key("t1")).await.unwrap().data;
        let granted = data["data"]["entitlements"].as_array().unwrap();
        let names: Vec<_> = granted.iter().map(|one| one["entitlement_ref_id"].as_str().unwrap()).collect();
        assert_eq!(names, ["gold", "extra"]);
    }
}
