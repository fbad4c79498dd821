//! A year of payments, on a clock that the test moves: a trial, grace, a hold, a pause, a new price, a change of plan,
//! a prepaid plan with a top-up, a new beginning in another country, and each kind of refund. The bodies of events are
//! compared with literals; the ledger and Amplitude's revenue equal what the store's orders show, to the cent.

mod bodies;

use super::{ACCOUNT, CENTS, GOLD, START, Shop, token};
use crate::amplitude::{KEY, SECRET_KEY};
use domain::Timestamp;
use domain::time::{DAY, HOUR, MINUTE};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::amplitude::Amplitude;
use system_tests::play::push::{
    CANCELED, EXPIRED, IN_GRACE_PERIOD, ON_HOLD, PAUSED, PRICE_CHANGE_UPDATED, PURCHASED,
    RECOVERED, RENEWED, REVOKED,
};
use system_tests::play::{Bought, Choices, Notice, Order, TERM, Voided};
use system_tests::subscription::at;
use system_tests::wait;
use system_tests::world::{SOON, Setting};
use tokio::time::Instant;

const PLATINUM: &str = "platinum:monthly";
const CARD: &str = "basic:prepaid";
const CARD_ACCOUNT: &str = "customer-card";
/// Prices in cents: of gold after the change, of platinum, and of gold in euros.
const NEW_CENTS: i64 = 599;
const PLATINUM_CENTS: i64 = 899;
const EURO_CENTS: i64 = 500;
/// Part of a payment that is returned before the rest.
const PART_CENTS: i64 = 150;
/// Cents of a dollar per euro, on the days of the two payments.
const RATES: [i64; 2] = [110, 120];

/// How long Temporal must be idle before the clock is moved for a delivery to Amplitude.
const IDLE: Duration = Duration::from_secs(2);

/// Events of the first plan.
const OF_GOLD: [&str; 11] = [
    "journey.trial.started",
    "subscription.purchased",
    "journey.trial.converted",
    "subscription.renewed",
    "subscription.renewed",
    "subscription.in_grace_period",
    "subscription.renewal_in_grace_period",
    "subscription.renewed",
    "subscription.paused",
    "subscription.resumed",
    "subscription.renewed",
];
/// Events of the plan to which the customer changes.
const OF_PLATINUM: [&str; 4] = [
    "subscription.sku_change",
    "subscription.renewed",
    "subscription.cancelled",
    "subscription.expired",
];

/// A shop whose events go to Amplitude too.
struct Year {
    shop: Shop,
    amplitude: Amplitude,
    /// Destination id of the integration.
    integration: String,
    /// Cents of a dollar per unit of an order's currency, by order.
    rates: BTreeMap<String, i64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_is_announced_once_and_earned_to_the_cent() {
    let mut year = Year::begin().await;
    let mut gold = year.first_plan().await;
    year.refund_parts(&mut gold).await;
    let platinum = year.change_plan(&mut gold).await;
    let cards = year.top_up().await;
    let abroad = year.begin_abroad().await;
    let [first, second] = cards;
    year.check_revenue(&[gold, platinum, first, second, abroad])
        .await;
    let Year {
        shop, amplitude, ..
    } = year;
    amplitude.check();
    shop.finish().await;
}

impl Year {
    async fn begin() -> Self {
        let amplitude = Amplitude::start().await;
        amplitude.project(KEY, SECRET_KEY);
        let urls = "SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned();
        let setting = Setting {
            play: Some(Choices::default()),
            environment: "production",
            variables: vec![(urls, amplitude.url())],
            ..Setting::default()
        };
        let shop = Shop::open_in(setting).await;
        shop.fake().sell("basic", "prepaid", "P1M");
        amplitude.set(shop.now());
        let body = json!({
            "kind": "amplitude", "name": "Analytics", "endpoint": amplitude.url(),
            "api_key": KEY, "secret_key": SECRET_KEY, "events": ["*", "user.subscription.sku_change"],
        });
        let integration = shop.world().add(&body).await;
        Self {
            shop,
            amplitude,
            integration,
            rates: BTreeMap::new(),
        }
    }

    /// Shows a purchase, pushes notifications of these types, and waits until all of it is delivered.
    async fn happen(&mut self, bought: &Bought, numbers: &[i64]) {
        self.shop.happen(bought, numbers).await;
        self.drain().await;
    }

    /// Lets time pass until `until`. No delivery may be pending.
    async fn pass_until(&mut self, until: Timestamp) {
        self.shop.pass_until(until).await;
        self.amplitude.set(self.shop.now());
    }

    async fn pass_days(&mut self, days: u32) {
        let until = self.shop.now().plus(DAY * days);
        self.pass_until(until).await;
    }

    /// Renews a subscription at the end of its term.
    async fn renew(&mut self, bought: &mut Bought) {
        self.pass_until(bought.paid_until()).await;
        bought.renew(self.shop.now());
        self.happen(bought, &[RENEWED]).await;
    }

    /// Moves the time forward in minutes until no delivery to Amplitude is pending.
    async fn drain(&mut self) {
        let Self {
            shop,
            amplitude,
            integration,
            ..
        } = self;
        let path = format!("/v1/deliveries?status=pending&destination_id={integration}");
        let mut idle_since: Option<Instant> = None;
        wait::until(SOON, "the end of all deliveries to Amplitude", async || {
            let pending = shop.world().api.all(&path).await;
            if pending.is_empty() {
                return Ok(());
            }
            if shop.world().temporal.rest().await.is_err() {
                idle_since = None;
                return Err(format!("{pending:?}"));
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= IDLE {
                shop.calendar.skip(MINUTE, &[integration.as_str()]).await;
                amplitude.set(shop.now());
                idle_since = None;
            }
            Err(format!("{pending:?}"))
        })
        .await;
    }

    /// Moves the clock beyond a run of the sweep of orders, and waits until the ledger has these amounts.
    async fn sweep_orders(&mut self, bought: &Bought, amounts: &[i64]) {
        self.shop.fake().show(bought);
        self.shop.skip(HOUR * 25).await;
        self.amplitude.set(self.shop.now());
        self.shop.wait_amounts(&bought.token, amounts).await;
        self.drain().await;
    }

    /// Returns the money of the order with this number, and lists its void. Returns the notification of it.
    fn void(&self, bought: &mut Bought, number: usize) -> Notice {
        let (order_id, now) = (bought.order_id(number), self.shop.now());
        let mut orders = bought.orders.iter();
        let paid = orders.find(|order| order.id == order_id);
        let bought_at = paid.expect("an order").created_at;
        bought.refund(&order_id, now);
        let notice = Notice::voided(&bought.token, &order_id, now);
        self.shop.fake().void(Voided {
            token: bought.token.clone(),
            order_id,
            is_subscription: true,
            bought_at,
            voided_at: now,
            reason: 1,
            pieces: None,
        });
        notice
    }

    /// Checks the body of the last event of a type about a purchase.
    fn check_body(&self, bought: &Bought, event_type: &str, wanted: &Value) {
        let received = self.shop.world().receiver.all();
        let last = received.iter().rfind(|one| {
            one.is_acked() && one.event_type() == event_type && one.receipt_id() == bought.token
        });
        let last = last.unwrap_or_else(|| panic!("no {event_type} of {}", bought.token));
        assert_eq!(stable(&last.body), *wanted, "{event_type}");
    }

    /// A trial and its conversion, a renewal, a recovery in grace, a hold, a pause, and a renewal at a new price.
    async fn first_plan(&mut self) -> Bought {
        let id = token("gold");
        let new = Bought::trial(&id, GOLD, self.shop.now(), DAY * 7);
        let mut gold = new.of(ACCOUNT);
        self.happen(&gold, &[PURCHASED]).await;
        self.check_body(
            &gold,
            "user.journey.trial.started",
            &bodies::trial_started(),
        );
        self.renew(&mut gold).await;
        self.renew(&mut gold).await;

        self.pass_until(gold.paid_until()).await;
        gold.fail_payment(self.shop.now(), DAY * 7);
        self.happen(&gold, &[IN_GRACE_PERIOD]).await;
        self.check_body(
            &gold,
            "user.subscription.in_grace_period",
            &bodies::in_grace_period(),
        );
        self.pass_days(3).await;
        gold.renew(self.shop.now());
        self.happen(&gold, &[RENEWED]).await;

        self.pass_until(gold.paid_until()).await;
        gold.hold(self.shop.now());
        self.happen(&gold, &[ON_HOLD]).await;
        self.pass_days(10).await;
        gold.renew(self.shop.now());
        self.happen(&gold, &[RECOVERED]).await;

        self.pass_until(gold.paid_until()).await;
        let resumes_at = self.shop.now().plus(TERM);
        gold.pause(self.shop.now(), resumes_at);
        self.happen(&gold, &[PAUSED]).await;
        self.check_body(&gold, "user.subscription.paused", &bodies::paused());
        self.pass_until(resumes_at).await;
        gold.renew(self.shop.now());
        self.happen(&gold, &[RECOVERED]).await;

        self.pass_days(5).await;
        gold.change_price(NEW_CENTS);
        self.happen(&gold, &[PRICE_CHANGE_UPDATED]).await;
        self.shop.check_events(&id, &OF_GOLD[..10]).await;
        self.renew(&mut gold).await;
        self.shop.check_events(&id, &OF_GOLD).await;
        assert_eq!(self.shop.amounts(&id).await, paid_for_gold());
        gold
    }

    /// A void of an older order, a part of the current one, and the rest of it, none of which ends access.
    async fn refund_parts(&mut self, gold: &mut Bought) {
        let id = gold.token.clone();
        self.pass_days(2).await;
        let mut amounts = paid_for_gold();
        let voided = self.void(gold, 6);
        self.shop.fake().show(gold);
        self.shop.push_all(vec![voided]).await;
        amounts.push(-CENTS);
        self.shop.wait_amounts(&id, &amounts).await;
        self.drain().await;

        let current = gold.order_id(7);
        gold.refund_part(&current, PART_CENTS, self.shop.now());
        amounts.push(-PART_CENTS);
        self.sweep_orders(gold, &amounts).await;
        gold.refund(&current, self.shop.now());
        amounts.push(PART_CENTS - NEW_CENTS);
        self.sweep_orders(gold, &amounts).await;

        self.shop.sweep_again().await;
        self.amplitude.set(self.shop.now());
        assert_eq!(self.shop.amounts(&id).await, amounts);
        self.shop.check_events(&id, &OF_GOLD).await;
        let data = self.shop.data(&id);
        assert_eq!(
            (&data["is_active"], &data["revoked_at"]),
            (&json!(true), &Value::Null),
            "{data}"
        );
    }

    /// A change to another plan, a renewal, and the end of it.
    async fn change_plan(&mut self, gold: &mut Bought) -> Bought {
        self.pass_days(5).await;
        let id = token("platinum");
        let new = Bought::subscription(&id, PLATINUM, self.shop.now()).of(ACCOUNT);
        let mut platinum = new.continuing(gold).at_price(PLATINUM_CENTS);
        gold.replace(self.shop.now());
        self.shop.fake().show(&platinum);
        self.happen(gold, &[EXPIRED]).await;
        self.happen(&platinum, &[PURCHASED]).await;
        self.check_body(
            &platinum,
            "user.subscription.sku_change",
            &bodies::sku_change(),
        );
        self.shop.check_events(&gold.token, &OF_GOLD).await;
        self.renew(&mut platinum).await;
        self.pass_days(10).await;
        platinum.cancel(self.shop.now());
        self.happen(&platinum, &[CANCELED]).await;
        self.pass_until(platinum.paid_until()).await;
        platinum.expire(platinum.paid_until());
        self.happen(&platinum, &[EXPIRED]).await;
        self.shop.check_events(&id, &OF_PLATINUM).await;
        assert_eq!(self.shop.amounts(&id).await, [PLATINUM_CENTS; 2]);
        platinum
    }

    /// A prepaid plan of another customer, which a top-up extends, and the end of it.
    async fn top_up(&mut self) -> [Bought; 2] {
        self.pass_days(3).await;
        let [first_id, second_id] = ["card", "top-up"].map(token);
        let new = Bought::subscription(&first_id, CARD, self.shop.now());
        let mut first = new.of(CARD_ACCOUNT).prepaid();
        self.happen(&first, &[PURCHASED]).await;
        self.pass_days(20).await;
        let new = Bought::subscription(&second_id, CARD, self.shop.now());
        let new = new.of(CARD_ACCOUNT).prepaid().continuing(&first);
        let mut second = new.until(first.paid_until().plus(TERM));
        first.replace(self.shop.now());
        self.shop.fake().show(&second);
        self.happen(&first, &[EXPIRED]).await;
        self.happen(&second, &[PURCHASED]).await;
        self.check_body(&second, "user.subscription.renewed", &bodies::topped_up());
        self.pass_until(second.paid_until()).await;
        second.expire(second.paid_until());
        self.happen(&second, &[EXPIRED]).await;
        let purchased = ["subscription.purchased"];
        self.shop.check_events(&first_id, &purchased).await;
        let extended = ["subscription.renewed", "subscription.expired"];
        self.shop.check_events(&second_id, &extended).await;
        for id in [&first_id, &second_id] {
            assert_eq!(self.shop.amounts(id).await, [CENTS]);
        }
        [first, second]
    }

    /// A new beginning of the first customer in another country, a renewal, and a void of it, which ends it.
    async fn begin_abroad(&mut self) -> Bought {
        self.pass_days(3).await;
        let id = token("abroad");
        let new = Bought::subscription(&id, GOLD, self.shop.now()).of(ACCOUNT);
        let mut abroad = new.in_country("DE", "EUR").at_price(EURO_CENTS);
        self.set_rate(&abroad.order_id(1), RATES[0]).await;
        self.happen(&abroad, &[PURCHASED]).await;
        let data = self.shop.data(&id);
        assert_eq!(
            (&data["purchase_country"], &data["purchase_currency"]),
            (&json!("DE"), &json!("EUR")),
            "{data}"
        );
        assert_eq!(data["original_purchase_guid"], Value::Null, "{data}");

        self.pass_until(abroad.paid_until()).await;
        self.set_rate(&abroad.order_id(2), RATES[1]).await;
        abroad.renew(self.shop.now());
        self.happen(&abroad, &[RENEWED]).await;
        self.pass_days(2).await;
        let (voided, now) = (self.void(&mut abroad, 2), self.shop.now());
        abroad.expire(now);
        self.shop.fake().show(&abroad);
        let revoked = Notice::subscription(REVOKED, &id, now);
        self.shop.push_all(vec![voided, revoked]).await;
        let [first, second] = RATES.map(|rate| EURO_CENTS * rate / 100);
        let amounts = [first, second, -second];
        self.shop.wait_amounts(&id, &amounts).await;
        self.drain().await;
        self.shop.sweep_again().await;
        self.amplitude.set(self.shop.now());
        assert_eq!(self.shop.amounts(&id).await, amounts);
        let events = [
            "subscription.purchased",
            "subscription.renewed",
            "subscription.expired",
        ];
        self.shop.check_events(&id, &events).await;
        self.check_body(
            &abroad,
            "user.subscription.expired",
            &bodies::revoked_abroad(),
        );
        assert!(self.shop.data(&id)["revoked_at"].is_string());
        abroad
    }

    /// Sets today's rate of the euro, at which this order is converted.
    async fn set_rate(&mut self, order_id: &str, cents: i64) {
        let day: String = self.shop.now().to_string().chars().take(10).collect();
        let usd = format!("{}.{:02}", cents / 100, cents % 100);
        let rates = json!({ "rates": [{ "day": day, "currency": "EUR", "usd": usd }] });
        let world = self.shop.world();
        let path = format!("/v1/apps/{}/rates", world.app_id);
        drop(world.api.call(Method::PUT, &path, &rates).await.ok());
        self.rates.insert(order_id.to_owned(), cents);
    }

    /// Returns what is left of an order's price, in cents of a dollar.
    fn in_usd(&self, order: &Order) -> i64 {
        let rate = self.rates.get(&order.id).copied().unwrap_or(100);
        (order.cents - order.refunded_cents()) * rate / 100
    }

    /// Checks that the ledger and Amplitude have what the orders show, each entry in one event.
    async fn check_revenue(&mut self, all: &[Bought]) {
        self.drain().await;
        let orders = all.iter().flat_map(|bought| &bought.orders);
        let charged: i64 = orders.map(|order| self.in_usd(order)).sum();
        let mut booked = Vec::new();
        for bought in all {
            booked.extend(self.shop.amounts(&bought.token).await);
        }
        assert_eq!(booked.iter().sum::<i64>(), charged, "{booked:?}");
        let events = self.amplitude.events(KEY);
        let revenue = events.iter().map(|one| &one.event["revenue"]);
        let mut earned: Vec<i64> = revenue.filter_map(cents).collect();
        earned.retain(|cents| *cents != 0);
        assert_eq!(earned.iter().sum::<i64>(), charged, "{earned:?}");
        booked.sort_unstable();
        earned.sort_unstable();
        assert_eq!(earned, booked, "each entry is in one event");
        let api = &self.shop.world().api;
        let check = api.get("/v1/check/revenue?limit=500").await.ok();
        assert_eq!(check["unexplained"], 0, "{check}");
    }
}

/// The payments of the first plan: five at the old price, and one at the new one.
fn paid_for_gold() -> Vec<i64> {
    let mut amounts = vec![CENTS; 5];
    amounts.push(NEW_CENTS);
    amounts
}

/// Returns an amount in cents; `None` if it is absent.
fn cents(amount: &Value) -> Option<i64> {
    let usd = amount.as_f64()?;
    format!("{:.0}", usd * 100.0).parse().ok()
}

/// Returns a body without what differs in each run: ids, revisions, and times, which become their day of the year.
fn stable(value: &Value) -> Value {
    match value {
        Value::String(text) if uuid::Uuid::try_parse(text).is_ok() => json!("[id]"),
        Value::String(text) => match text.parse::<Timestamp>() {
            Ok(time) => json!(day(time)),
            Err(_) => value.clone(),
        },
        Value::Array(items) => items.iter().map(stable).collect(),
        Value::Object(fields) => {
            let each = |(name, field): (&String, &Value)| {
                let field = match name.as_str() {
                    "user_revision" => json!("[revision]"),
                    _ => stable(field),
                };
                (name.clone(), field)
            };
            Value::Object(fields.iter().map(each).collect())
        }
        other => other.clone(),
    }
}

/// Returns the day of the year nearest to a time.
fn day(time: Timestamp) -> String {
    let hours = time.millis_since(at(START)) / 3_600_000;
    format!("[day {}]", (hours + 12).div_euclid(24))
}
