//! Refunds in the ledger of a store that shows each payment, whatever reports them: of the current payment, of one whose
//! period the purchase no longer has, and of a purchase that the store no longer shows.

use super::periods::{FIRST, NEXT, day, monthly, order_id, snapshot};
use super::world::{World, story};
use domain::period::{PeriodRefund, RefundExtent, RefundedPayment};
use domain::stores::google::{Cancellation, OrderState, PurchaseAnswer, Status};
use domain::{Notification, NotificationKind, Timestamp, Verification, VoidedPayment};
use storage::{NewNotification, Rate};

/// A refund of an order, of which this much was returned.
fn returned(transaction_id: String, at: Timestamp, extent: RefundExtent) -> RefundedPayment {
    RefundedPayment {
        transaction_id,
        refund: PeriodRefund { at, extent },
        tax: None,
    }
}

/// Returns a report with a refund.
fn refunded(reported: Notification, refunded: RefundedPayment) -> Notification {
    Notification {
        refunded: Some(refunded),
        ..reported
    }
}

/// Returns a report with a void of all of an order.
fn voided(reported: Notification, transaction_id: String, at: Timestamp) -> Notification {
    let void = VoidedPayment {
        transaction_id,
        at,
        units: None,
    };
    Notification {
        voided: Some(void),
        ..reported
    }
}

impl World {
    /// Returns a report about a token that has no kind.
    fn sign(&self, token: &str, store_type: &str, at: Timestamp) -> Notification {
        Notification {
            message_id: format!("{token} {store_type} {at}"),
            collapse_key: self.key(token),
            receipt_id: token.to_owned(),
            kind: NotificationKind::Unknown,
            store_type: store_type.to_owned(),
            store_time: at,
            app_user_id: Some("customer-1".to_owned()),
            related_receipt_id: None,
            is_test: false,
            voided: None,
            refunded: None,
        }
    }

    /// Accepts a report as the store's own message.
    async fn push(&self, reported: Notification) {
        let stored = NewNotification::of(self.platform.id, reported);
        self.accept(stored).await;
    }

    /// Accepts a report as a repair's finding.
    async fn find(&self, reported: Notification) {
        let found = vec![reported.into()];
        let accepted = self.store.accept_repaired(self.platform.id, found).await;
        accepted.unwrap();
    }

    /// Returns the times of a token's refunds.
    fn refunded_at(&self, token: &str) -> Vec<Timestamp> {
        let key = self.key(token);
        let times = self.raw().texts(&format!(
            "SELECT CAST(occurred_at AS TEXT) AS value FROM payments \
             WHERE collapse_key = '{key}' AND kind = 'refund' ORDER BY number, entry"
        ));
        let micros = times.iter().map(|time| time.parse::<i64>().unwrap());
        micros.map(Timestamp::from_micros).collect()
    }
}

story! {
    async fn a_refund_of_a_period_that_is_not_stored_is_booked_once(world: World) {
        let rate = Rate { day: "2027-01-10".to_owned(), currency: "EUR".to_owned(), usd: "1.10".to_owned() };
        world.store.put_rates(world.app.id, vec![rate]).await.unwrap();
        let analytics = world.analytics("analytics").await;
        let shown = |number: u32| {
            let mut answer = monthly(number);
            answer.orders[0].currency = Some("EUR".to_owned());
            answer
        };
        for (number, kinds) in [(1, FIRST), (10, NEXT), (18, NEXT)] {
            world.settle_answer("t1", &shown(number), kinds).await;
        }
        let mut expected = world.ledger("t1");
        assert_eq!((expected.len(), expected[0].as_str()), (18, "1 initial 5.49 store"));
        let stored = world.load(world.key("t1")).await.purchase;
        assert!(stored.periods().of(&order_id(2)).is_none(), "the newest ones alone");
        let announced = world.count("events WHERE event_type LIKE 'user.%'");

        // A check reads the orders of the stored periods.
        let mut answer = shown(18);
        answer.orders.drain(..2);
        let voided_at = day(511);
        for (on, is_shown) in [(512, true), (513, true), (514, false)] {
            answer.at = day(on);
            world.push(voided(world.sign("t1", "VOIDED", day(on)), order_id(1), voided_at)).await;
            let full = returned(order_id(1), voided_at, RefundExtent::Full);
            world.find(refunded(world.sign("t1", "REFUNDED", day(on)), full)).await;
            let shown = Verification::Verified(Box::new(snapshot(&answer)));
            let verification = if is_shown { shown } else { Verification::Gone };
            world.settle_verified("t1", &verification, day(on)).await;
            if on == 512 {
                expected.insert(1, "1 refund -5.49 store".to_owned());
            }
            assert_eq!(world.ledger("t1"), expected, "{on}");
        }
        assert_eq!(world.refunded_at("t1"), [voided_at]);

        // A part, of which the sweep of orders shows the amount, then the rest. Late signs change nothing.
        let (full, part) = (RefundExtent::Full, RefundExtent::Amount("2.00".parse().unwrap()));
        let mut next = 3;
        for (on, refunded_on, extent, entry) in [
            (515, 515, RefundExtent::Unknown, None),
            (516, 516, part, Some("2 refund -2.00 store")),
            (517, 516, part, None),
            (518, 518, full, Some("2 refund -2.99 store")),
            (519, 516, part, None),
        ] {
            let returned = returned(order_id(2), day(refunded_on), extent);
            world.find(refunded(world.sign("t1", "REFUNDED", day(on)), returned)).await;
            world.settle_verified("t1", &Verification::Gone, day(on)).await;
            if let Some(entry) = entry {
                expected.insert(next, entry.to_owned());
                next += 1;
            }
            assert_eq!(world.ledger("t1"), expected, "{on}");
        }
        assert_eq!(world.refunded_at("t1"), [voided_at, day(516), day(518)]);
        assert_eq!(world.count("events WHERE event_type LIKE 'user.%'"), announced, "silence");
        assert_eq!(world.state_of("t1"), ["active"]);
        let sent = world.sum_up("t1", analytics.id).await;
        let negative: Vec<_> = sent.iter().filter(|one| one.contains(" -")).collect();
        assert_eq!(negative, ["revenue.adjusted -5.49", "revenue.adjusted -2.00", "revenue.adjusted -2.99"]);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn payments_of_periods_that_are_not_stored_are_booked_once(world: World) {
        world.settle_answer("t1", &monthly(1), FIRST).await;
        let mut answer = monthly(20);
        world.settle_answer("t1", &answer, NEXT).await;
        let booked = world.ledger("t1");
        assert_eq!((booked.len(), booked[19].as_str()), (20, "20 renewal 4.99 store"));
        let stored = world.load(world.key("t1")).await.purchase;
        assert!(stored.periods().of(&order_id(2)).is_none(), "the newest ones alone");
        answer.at = day(572);
        world.settle_answer("t1", &answer, &[]).await;
        assert_eq!(world.ledger("t1"), booked);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn what_the_store_no_longer_shows_is_refunded_in_full_once(world: World) {
        world.settle_answer("t1", &monthly(1), FIRST).await;
        world.settle_answer("t1", &monthly(2), NEXT).await;
        let paid = ["1 initial 4.99 store", "2 renewal 4.99 store"];
        // Google reports a part of the quantity without its amount.
        world.push(world.sign("t1", "PART", day(33))).await;
        world.settle_verified("t1", &Verification::Gone, day(33)).await;
        assert_eq!(world.ledger("t1"), paid);
        for on in [34, 35] {
            let full = returned(order_id(2), day(34), RefundExtent::Full);
            world.find(refunded(world.sign("t1", "REFUNDED", day(on)), full)).await;
            world.push(voided(world.sign("t1", "VOIDED", day(on)), order_id(1), day(34))).await;
            world.settle_verified("t1", &Verification::Gone, day(on)).await;
            let [first, second] = paid;
            let expected = [first, "1 refund -4.99 store", second, "2 refund -4.99 store"];
            assert_eq!(world.ledger("t1"), expected, "{on}");
        }
        assert_eq!(world.refunded_at("t1"), [day(34), day(34)]);
        assert_eq!(world.broken(1000).await, []);
    }
}

/// A sign of the refund of a purchase's current payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Notification,
    List,
    Order,
    State,
}

const SIGNS: [Sign; 4] = [Sign::Notification, Sign::List, Sign::Order, Sign::State];

/// Returns the signs in each of their 24 orders.
fn sequences() -> Vec<[Sign; 4]> {
    let all = (0..256_usize).map(|number| [0_u32, 2, 4, 6].map(|bits| SIGNS[(number >> bits) & 3]));
    let has_each = |sequence: &[Sign; 4]| SIGNS.iter().all(|sign| sequence.contains(sign));
    all.filter(has_each).collect()
}

/// When the money of the refund was returned, and how much later the list dates that.
const RETURNED_ON: u32 = 32;
const LATER_MS: i64 = 2_000;

/// Returns the answer about a token that was paid twice. Its orders are its own.
fn paid_twice(token: &str, number: u32) -> PurchaseAnswer {
    let mut answer = monthly(number);
    let own = |id: &str| id.replace("GPA", &format!("GPA.{token}"));
    for item in &mut answer.items {
        item.order = item.order.as_deref().map(own);
    }
    for order in &mut answer.orders {
        order.id = own(&order.id);
    }
    answer
}

impl World {
    /// Accepts a sign about a token, and shows in `answer` what the store shows from then on. `message` tells apart what
    /// is reported again.
    async fn show_sign(&self, token: &str, sign: Sign, message: &str, answer: &mut PurchaseAnswer) {
        let at = day(RETURNED_ON);
        let order = answer.orders.last_mut().expect("the current order");
        let id = order.id.clone();
        let reported = |at: Timestamp| self.sign(token, &format!("{sign:?} {message}"), at);
        match sign {
            Sign::Notification => self.push(voided(reported(at), id, at)).await,
            Sign::List => {
                let at = at.plus_millis(LATER_MS);
                self.find(voided(reported(at), id, at)).await;
            }
            Sign::Order => {
                (order.state, order.refunded_at) = (OrderState::Refunded, Some(at));
                let full = returned(id, at, RefundExtent::Full);
                self.find(refunded(reported(at), full)).await;
            }
            Sign::State => {
                answer.status = Status::Expired;
                answer.cancellation = Some((Cancellation::Developer, None));
                let item = &mut answer.items[0];
                (item.expires_at, item.renews) = (Some(at), None);
                let expired = Notification {
                    kind: NotificationKind::Expired,
                    ..reported(at)
                };
                self.push(expired).await;
            }
        }
    }
}

story! {
    async fn the_four_signs_of_a_refund_are_one_entry_in_all_24_orders(world: World) {
        let sequences = sequences();
        assert_eq!(sequences.len(), 24);
        for (number, sequence) in sequences.iter().enumerate() {
            let token = &format!("t{number}");
            for (paid, kinds) in [(1, FIRST), (2, NEXT)] {
                world.settle_answer(token, &paid_twice(token, paid), kinds).await;
            }
            let mut answer = paid_twice(token, 2);
            let mut returns = Vec::new();
            for (on, sign) in (33..).zip(*sequence) {
                world.show_sign(token, sign, "first", &mut answer).await;
                answer.at = day(on);
                world.settle_answer(token, &answer, &[]).await;
                returns.push(world.refunded_at(token).len());
            }
            // The state alone returns nothing, whichever sign of the money comes first is the one entry.
            let has_money: Vec<_> = (1..=4).map(|count| usize::from(sequence[..count] != [Sign::State])).collect();
            assert_eq!(returns, has_money, "{sequence:?}");
            for sign in *sequence {
                world.show_sign(token, sign, "again", &mut answer).await;
            }
            answer.at = day(37);
            world.settle_answer(token, &answer, &[]).await;
            let expected = ["1 initial 4.99 store", "2 renewal 4.99 store", "2 refund -4.99 store"];
            assert_eq!(world.ledger(token), expected, "{sequence:?}");
            let first = sequence.iter().find(|sign| **sign != Sign::State);
            let later = if first == Some(&Sign::List) { LATER_MS } else { 0 };
            let refunded_at = day(RETURNED_ON).plus_millis(later);
            assert_eq!(world.refunded_at(token), [refunded_at], "{sequence:?}");
            assert_eq!(world.state_of(token), ["revoked"], "{sequence:?}");
        }
        assert_eq!(world.broken(1000).await, []);
    }
}
