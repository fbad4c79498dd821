//! The App Store: cases from real life by their numbers, against a fake of the App Store Server API. Notifications are
//! signed by a chain of the fake; events arrive at a webhook, each once.

mod accounts;
mod away;
mod burst;
mod doubts;
mod forged;
mod kills;
mod life;
mod payments;
mod plans;
mod refunds;

use domain::Timestamp;
use domain::time::DAY;
use reqwest::Method;
use serde_json::{Value, json};
use system_tests::appstore::{AppStore, Bought, Choices, Message, Notice, account};
use system_tests::calendar::Calendar;
use system_tests::subscription::at;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use workflows::contract;

/// Initial time of the clock.
const START: &str = "2027-01-31T10:00";
const GOLD: &str = "gold_monthly";
const PLATINUM: &str = "platinum_monthly";
const BASIC: &str = "basic_monthly";
/// Price of a term, in cents.
const CENTS: i64 = system_tests::appstore::PRICE / 10;
/// Price of the products to which customers change, in thousandths and in cents.
const OTHER_PRICE: i64 = 8990;
const OTHER_CENTS: i64 = OTHER_PRICE / 10;
/// Window of stories whose notifications arrive within one, in seconds.
const LONG_WINDOW: u64 = 5;

/// Returns a time in a body; `None` if it is null.
fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().map(|text| text.parse().expect("a time"))
}

/// A world with an App Store platform and a clock that the test moves.
struct Shop {
    calendar: Calendar,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with(Choices::default()).await
    }

    async fn open_with(choices: Choices) -> Self {
        let setting = Setting {
            appstore: Some(choices),
            ..Setting::default()
        };
        let calendar = Calendar::start_with(at(START), setting).await;
        Self { calendar }
    }

    /// Opens a shop whose window is so long that several notifications arrive within it.
    async fn open_slow() -> Self {
        let setting = Setting {
            appstore: Some(Choices::default()),
            window_seconds: LONG_WINDOW,
            events: vec!["*".to_owned()],
            ..Setting::default()
        };
        let calendar = Calendar::begin(at(START), setting).await;
        Self { calendar }
    }

    const fn world(&self) -> &World {
        &self.calendar.world
    }

    fn fake(&self) -> &AppStore {
        &self.world().appstore().fake
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

    /// Lets time pass until the end of a purchase's current period.
    async fn pass_term(&mut self, bought: &Bought) {
        self.pass_until(bought.expires_at()).await;
    }

    /// Returns a notification about the present state of a purchase, signed now.
    fn notice(&self, kind: &str, bought: &Bought) -> Notice {
        Notice::of(kind, bought, self.now())
    }

    /// Shows a purchase in its state, sends a notification of this type about it, and waits until it is settled.
    async fn happen(&mut self, bought: &Bought, kind: &str) {
        self.fake().show(bought);
        let notice = self.notice(kind, bought);
        self.notify_all(&[notice]).await;
    }

    /// Buys a subscription now, as a customer who has bought nothing else.
    async fn buy(&mut self, name: &str) -> Bought {
        let new = Bought::subscription(GOLD, self.now()).of(&account(name));
        self.happen(&new, "SUBSCRIBED/INITIAL_BUY").await;
        new
    }

    /// Signs and sends notifications, and waits until each has its outcome and no delivery is pending. Returns the
    /// messages.
    async fn notify_all(&mut self, notices: &[Notice]) -> Vec<Message> {
        let mut messages = Vec::new();
        for notice in notices {
            messages.push(self.calendar.world.notify(notice).await);
        }
        for message in &messages {
            self.world().wait_outcome(&message.uuid).await;
        }
        self.rest().await;
        messages
    }

    /// Waits until no delivery to the webhook is pending.
    async fn rest(&self) {
        let webhook = &self.world().destination_id;
        let path = format!("/v1/deliveries?status=pending&destination_id={webhook}");
        wait::until(SOON, "the end of all deliveries", async || {
            let answer = self.world().api.try_get(&path).await?;
            let pending = answer.body["items"].as_array().cloned();
            match pending.as_deref() {
                Some([]) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Returns the outcomes of a message's notifications.
    async fn outcomes(&self, message: &Message) -> Vec<Value> {
        let all = self.world().wait_outcome(&message.uuid).await;
        all.into_iter()
            .map(|mut one| one["outcome"].take())
            .collect()
    }

    /// Returns the bodies of a purchase's acknowledged `purchase.updated`, in the order of arrival.
    fn updates(&self, bought: &Bought) -> Vec<Value> {
        let key = self.world().appstore_key(&bought.id).to_string();
        let received = self.world().receiver.about(&key);
        let acked = received.into_iter().filter(|one| one.is_acked());
        acked.map(|one| one.body).collect()
    }

    /// Returns the newest record of a purchase.
    ///
    /// # Panics
    /// When none was received.
    fn data(&self, bought: &Bought) -> Value {
        let newest = self.updates(bought).pop();
        newest.unwrap_or_else(|| panic!("nothing about {}", bought.id))["data"].clone()
    }

    /// Checks that exactly these `user.*` events of a purchase were sent, in this order. The names are without `user.`.
    async fn check_events(&self, bought: &Bought, wanted: &[&str]) {
        self.rest().await;
        let types = self.world().receiver.event_types(&bought.id);
        let names: Vec<&str> = types
            .iter()
            .map(|name| name.strip_prefix("user.").unwrap_or(name))
            .collect();
        assert_eq!(names, wanted, "{}", bought.id);
    }

    /// Lets the sweep run until exactly these `user.*` events of a purchase have arrived.
    async fn sweep_until_events(&self, bought: &Bought, wanted: &[&str]) {
        let what = format!("the events {wanted:?} of {}", bought.id);
        wait::until(SOON, &what, async || {
            let seen = self.world().receiver.event_types(&bought.id);
            if seen.len() >= wanted.len() {
                return Ok(());
            }
            let temporal = &self.world().temporal;
            temporal.skip_timer(contract::SWEEP, 31).await;
            Err(format!("{seen:?}"))
        })
        .await;
        self.check_events(bought, wanted).await;
    }

    /// Has a product grant an entitlement.
    async fn grant(&self, entitlement: &str, product: &str) {
        let app = format!("/v1/apps/{}", self.world().app_id);
        let (named, grants) = (
            json!({ "name": entitlement }),
            json!({ "entitlements": [entitlement] }),
        );
        for (path, body) in [
            (format!("{app}/entitlements/{entitlement}"), named),
            (format!("{app}/products/{product}"), grants),
        ] {
            let api = &self.world().api;
            drop(api.call(Method::PUT, &path, &body).await.ok());
        }
    }

    /// Returns the ledger of a purchase, oldest entry first.
    async fn ledger(&self, bought: &Bought) -> Vec<Value> {
        let key = self.world().appstore_key(&bought.id);
        let path = format!("/v1/payments?collapse_key={key}");
        let mut all = self.world().api.all(&path).await;
        all.reverse();
        all
    }

    /// Returns the amounts of a purchase's ledger in cents, oldest first, without those of free periods.
    async fn amounts(&self, bought: &Bought) -> Vec<i64> {
        let ledger = self.ledger(bought).await;
        let amounts = ledger.iter().map(|one| {
            let usd = one["usd"]
                .as_str()
                .unwrap_or_else(|| panic!("no amount: {one}"));
            let usd: f64 = usd.parse().expect("an amount");
            format!("{:.0}", usd * 100.0).parse::<i64>().expect("cents")
        });
        amounts.filter(|cents| *cents != 0).collect()
    }

    /// Checks whether a purchase is active, and when it was revoked if it was.
    fn check_access(&self, bought: &Bought, is_active: bool, revoked_at: Option<Timestamp>) {
        let data = self.data(bought);
        assert_eq!(
            (&data["is_active"], time(&data["revoked_at"])),
            (&json!(is_active), revoked_at),
            "{data}"
        );
    }

    async fn finish(self) {
        self.rest().await;
        let check = self.world().api.get("/v1/check").await.ok();
        assert_eq!(check["violations"], 0, "{check}");
        self.calendar.world.finish().await;
    }
}
