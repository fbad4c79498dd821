//! Google Play: cases from real life by their numbers, against a fake of the Developer API. Pushes arrive as they do
//! from Pub/Sub; events arrive at a webhook, each once.

mod away;
mod burst;
mod changes;
mod claims;
mod duties;
mod holds;
mod kills;
mod life;
mod memory;
mod outage;
mod payments;
mod refunds;
mod repairs;
mod restored;
mod steps;
mod year;

use domain::Timestamp;
use domain::time::{DAY, HOUR};
use serde_json::Value;
use std::time::Duration;
use system_tests::calendar::Calendar;
use system_tests::play::push::PURCHASED;
use system_tests::play::{Bought, Choices, Notice, Play, Push, Voided, token};
use system_tests::subscription::at;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use workflows::contract;

/// Initial time of the clock.
const START: &str = "2027-01-31T10:00";
const GOLD: &str = "gold:monthly";
/// The app's id of the customer, which it passes to Google as the account id.
const ACCOUNT: &str = "customer-7";
/// Price of a term.
const CENTS: i64 = system_tests::play::CENTS;
/// Number of times that the sweep runs after a refund that must not be counted again.
const SWEEPS: u32 = 3;

/// Returns a time in a body; `None` if it is null.
fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().map(|text| text.parse().expect("a time"))
}

/// Returns the time as a notification states it, in whole milliseconds.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.micros().div_euclid(1000))
}

/// A world with a Google platform and a clock that the test moves.
struct Shop {
    calendar: Calendar,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with(Choices::default()).await
    }

    async fn open_with(choices: Choices) -> Self {
        let setting = Setting {
            play: Some(choices),
            ..Setting::default()
        };
        Self::open_in(setting).await
    }

    /// Opens a shop in a world with these settings, one of which is `play`.
    async fn open_in(setting: Setting) -> Self {
        let calendar = Calendar::start_with(at(START), setting).await;
        let own = Self { calendar };
        for product in ["gold", "platinum", "basic"] {
            own.fake().sell(product, "monthly", "P1M");
        }
        own
    }

    const fn world(&self) -> &World {
        &self.calendar.world
    }

    fn fake(&self) -> &Play {
        &self.world().play().fake
    }

    fn now(&self) -> Timestamp {
        self.calendar.now()
    }

    /// Lets time pass until `until`, with every check that falls due before.
    async fn pass_until(&mut self, until: Timestamp) {
        self.calendar.pass_until(until).await;
    }

    /// Lets days pass.
    async fn pass_days(&mut self, days: u32) {
        let until = self.now().plus(DAY * days);
        self.pass_until(until).await;
    }

    /// Shows a subscription in its state, pushes notifications of these types within one window, and waits until they
    /// are settled.
    async fn happen(&mut self, bought: &Bought, numbers: &[i64]) {
        self.fake().show(bought);
        let now = self.now();
        let notices = numbers
            .iter()
            .map(|number| Notice::subscription(*number, &bought.token, now));
        self.push_all(notices.collect()).await;
    }

    /// Buys a subscription now, as a customer who has bought nothing else.
    async fn buy(&mut self, name: &str) -> Bought {
        let new = Bought::subscription(&token(name), GOLD, self.now());
        let new = new.of(&format!("customer-{name}"));
        self.happen(&new, &[PURCHASED]).await;
        new
    }

    /// Pushes notifications, and waits until each has its outcome and no delivery is pending.
    async fn push_all(&mut self, notices: Vec<Notice>) {
        let mut ids = Vec::new();
        for notice in &notices {
            ids.push(self.calendar.world.push(notice).await);
        }
        for id in &ids {
            self.world().wait_outcome(id).await;
        }
        self.rest().await;
    }

    /// Pushes a notification, waits until it is settled, and returns the message for its replay.
    async fn push(&mut self, notice: &Notice) -> Push {
        let message = notice.message();
        self.calendar.world.push_until_accepted(&message).await;
        self.world().wait_outcome(&message.id).await;
        self.rest().await;
        message
    }

    /// Shows a subscription that was taken away now together with its first payment, and lists the void.
    fn void(&self, bought: &mut Bought) {
        self.take_back(bought);
        self.list_void(bought);
    }

    /// Shows a subscription that was taken away now together with its first payment.
    fn take_back(&self, bought: &mut Bought) {
        let (order, now) = (bought.order_id(1), self.now());
        bought.refund(&order, now);
        bought.expire(now);
        self.fake().show(bought);
    }

    /// Adds the first payment of a subscription to the list of voids, as of now.
    fn list_void(&self, bought: &Bought) {
        let now = self.now();
        self.fake().void(Voided {
            token: bought.token.clone(),
            order_id: bought.order_id(1),
            is_subscription: true,
            bought_at: now.minus(DAY),
            voided_at: now,
            reason: 7,
            pieces: None,
        });
    }

    /// Waits until no delivery to the webhook is pending.
    async fn rest(&self) {
        let webhook = &self.world().destination_id;
        let path = format!("/v1/deliveries?status=pending&destination_id={webhook}");
        wait::until(SOON, "the end of all deliveries", async || {
            let api = &self.world().api;
            let answer = api.try_get(&path).await?;
            let pending = answer.body["items"].as_array().cloned();
            match pending.as_deref() {
                Some([]) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Returns the bodies of a purchase's acknowledged `purchase.updated`, in the order of arrival.
    fn updates(&self, token: &str) -> Vec<Value> {
        let key = self.world().play_key(token).to_string();
        let received = self.world().receiver.about(&key);
        let acked = received.into_iter().filter(|one| one.is_acked());
        acked.map(|one| one.body).collect()
    }

    /// Returns the newest record of a purchase.
    ///
    /// # Panics
    /// When none was received.
    fn data(&self, token: &str) -> Value {
        let newest = self.updates(token).pop();
        newest.unwrap_or_else(|| panic!("nothing about {token}"))["data"].clone()
    }

    /// Checks that exactly these `user.*` events of a purchase were sent, in this order. The names are without `user.`.
    async fn check_events(&self, token: &str, wanted: &[&str]) {
        self.rest().await;
        let types = self.world().receiver.event_types(token);
        let names: Vec<&str> = types
            .iter()
            .map(|name| name.strip_prefix("user.").unwrap_or(name))
            .collect();
        assert_eq!(names, wanted, "{token}");
    }

    /// Returns the ledger of a purchase, oldest entry first.
    async fn ledger(&self, token: &str) -> Vec<Value> {
        let key = self.world().play_key(token);
        let path = format!("/v1/payments?collapse_key={key}");
        let mut all = self.world().api.all(&path).await;
        all.reverse();
        all
    }

    /// Returns the amounts of a purchase's ledger in cents, oldest first, without those of free periods.
    async fn amounts(&self, token: &str) -> Vec<i64> {
        let ledger = self.ledger(token).await;
        let amounts = ledger.iter().map(|one| {
            let usd = one["usd"]
                .as_str()
                .unwrap_or_else(|| panic!("no amount: {one}"));
            let usd: f64 = usd.parse().expect("an amount");
            format!("{:.0}", usd * 100.0).parse::<i64>().expect("cents")
        });
        amounts.filter(|cents| *cents != 0).collect()
    }

    /// Lets the sweep run until `check` returns `Ok`.
    async fn sweep_until(&self, what: &str, mut check: impl AsyncFnMut() -> Result<(), String>) {
        wait::until(SOON, what, async || {
            let seen = check().await;
            if seen.is_err() {
                let temporal = &self.world().temporal;
                temporal.skip_timer(contract::SWEEP, 31).await;
            }
            seen
        })
        .await;
    }

    /// Moves the clock and lets the sweep run once.
    async fn skip(&mut self, time: Duration) {
        self.calendar.skip(time, &[]).await;
    }

    /// Lets two days pass with some runs of the sweep, so that every list was read again.
    async fn sweep_again(&mut self) {
        for _ in 0..SWEEPS {
            self.skip(HOUR * 16).await;
            self.rest().await;
        }
    }

    /// Waits until the ledger has these amounts, while the sweep runs, and until what they changed was delivered.
    async fn wait_amounts(&self, token: &str, wanted: &[i64]) {
        let what = format!("the amounts {wanted:?} of {token}");
        self.sweep_until(&what, async || {
            let amounts = self.amounts(token).await;
            if amounts == wanted {
                Ok(())
            } else {
                Err(format!("{amounts:?}"))
            }
        })
        .await;
        self.rest().await;
    }

    async fn finish(self) {
        self.rest().await;
        self.calendar.world.finish().await;
    }
}
