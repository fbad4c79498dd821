//! Three days without settle: what happens meanwhile is found once and in order, within the API's quota, and a new
//! purchase waits for none of it.

use super::{CENTS, GOLD, START, Shop, time, token};
use domain::Timestamp;
use domain::time::{DAY, HOUR};
use std::time::Duration;
use system_tests::calendar::Calendar;
use system_tests::play::push::{CANCELED, EXPIRED, PURCHASED, RENEWED};
use system_tests::play::{Bought, Choices, Exchange, Fault, Notice, Push, Resource};
use system_tests::subscription::at;
use system_tests::world::{SOON, Setting};

/// Number of purchases whose renewals no notification reports.
const UNREPORTED: usize = 40;
/// The quiet window in seconds: messages that are pushed one after the other share one.
const WINDOW: u64 = 10;
/// Maximum number of requests per second in each bucket of the quota, after the start.
const PER_SECOND: u128 = 4;
/// How long a request may take from its turn to its arrival.
const ON_THE_WAY: Duration = Duration::from_secs(5);

const RENEWAL: [&str; 2] = ["subscription.purchased", "subscription.renewed"];
const CANCELLATION: [&str; 2] = ["subscription.purchased", "subscription.cancelled"];
const END: [&str; 2] = ["subscription.purchased", "subscription.expired"];

/// The purchases to which something happens while no process runs.
struct Purchases {
    /// Renews, which a notification reports.
    renewed: Bought,
    /// Renew, and the notifications are lost.
    unreported: Vec<Bought>,
    /// Is cancelled and expires, with two notifications.
    expired: Bought,
    /// Is voided, which only the list and the order show.
    voided: Bought,
    /// Begins and is cancelled, with two notifications.
    new: Bought,
}

/// Returns a purchase of now, as that of a customer who has bought nothing else.
fn bought(name: &str, now: Timestamp) -> Bought {
    let new = Bought::subscription(&token(name), GOLD, now);
    new.of(&format!("customer-{name}"))
}

/// Shows a purchase, and returns a message about it that is not pushed yet.
fn message(shop: &Shop, number: i64, bought: &Bought) -> Push {
    shop.fake().show(bought);
    Notice::subscription(number, &bought.token, shop.now()).message()
}

/// Opens a shop with a window of [`WINDOW`].
async fn open() -> Shop {
    let setting = Setting {
        play: Some(Choices::default()),
        window_seconds: WINDOW,
        events: vec!["*".to_owned()],
        ..Setting::default()
    };
    let calendar = Calendar::begin(at(START), setting).await;
    let shop = Shop { calendar };
    shop.fake().sell("gold", "monthly", "P1M");
    shop
}

impl Purchases {
    /// Buys all purchases except the new one. Those that renew or expire do so after three days.
    async fn buy(shop: &mut Shop) -> Self {
        let now = shop.now();
        let short = |name: &str| bought(name, now).until(now.plus(DAY * 3));
        let unreported = (0..UNREPORTED).map(|number| short(&format!("unreported-{number}")));
        let own = Self {
            renewed: short("renewed"),
            unreported: unreported.collect(),
            expired: short("expired"),
            voided: bought("voided", now),
            new: bought("new", now),
        };
        let first = [&own.renewed, &own.expired, &own.voided];
        let mut notices = Vec::new();
        for bought in first.into_iter().chain(&own.unreported) {
            shop.fake().show(bought);
            notices.push(Notice::subscription(PURCHASED, &bought.token, now));
        }
        shop.push_all(notices).await;
        own
    }

    /// Lets three days pass while no process runs, and returns the messages that Pub/Sub holds afterwards, oldest
    /// first.
    async fn live(&mut self, shop: &mut Shop) -> Vec<Push> {
        let stopped_at = shop.now();
        shop.calendar.pass_stopped(stopped_at.plus(DAY)).await;
        self.new = bought("new", shop.now());
        let mut messages = vec![message(shop, PURCHASED, &self.new)];
        self.expired.cancel(shop.now());
        messages.push(message(shop, CANCELED, &self.expired));
        shop.void(&mut self.voided);

        let term_end = self.renewed.paid_until();
        shop.calendar.pass_stopped(term_end).await;
        let now = shop.now();
        self.renewed.renew(now);
        messages.push(message(shop, RENEWED, &self.renewed));
        for bought in &mut self.unreported {
            bought.renew(now);
            shop.fake().show(bought);
        }
        self.new.cancel(now);
        messages.push(message(shop, CANCELED, &self.new));
        self.expired.expire(term_end);
        messages.push(message(shop, EXPIRED, &self.expired));
        shop.calendar.pass_stopped(stopped_at.plus(DAY * 3)).await;
        messages
    }

    /// Waits until everything is found that needs no message and no list.
    async fn wait_found(&self, shop: &Shop) {
        let renewed = self.unreported.iter().chain([&self.renewed]);
        let renewed = renewed.map(|bought| (&bought.token, RENEWAL));
        let all: Vec<_> = renewed.chain([(&self.expired.token, END)]).collect();
        shop.sweep_until("renewals and an end", async || {
            let receiver = &shop.world().receiver;
            let missing = all
                .iter()
                .find(|(token, events)| receiver.event_types(token).len() < events.len());
            missing.map_or(Ok(()), |(token, _)| Err((*token).clone()))
        })
        .await;
    }

    /// Checks the events and the ledger of each purchase.
    async fn check(&self, shop: &Shop) {
        for bought in self.unreported.iter().chain([&self.renewed]) {
            shop.check_events(&bought.token, &RENEWAL).await;
            check_ledger(shop, &bought.token, &[CENTS; 2]).await;
        }
        for (bought, events, amounts) in [
            (&self.expired, END, [CENTS].as_slice()),
            (&self.voided, END, [CENTS, -CENTS].as_slice()),
            (&self.new, CANCELLATION, [CENTS].as_slice()),
        ] {
            shop.check_events(&bought.token, &events).await;
            check_ledger(shop, &bought.token, amounts).await;
        }
    }
}

/// Checks the amounts of a purchase's ledger, and that their times are in order.
async fn check_ledger(shop: &Shop, token: &str, amounts: &[i64]) {
    assert_eq!(shop.amounts(token).await, amounts, "{token}");
    let ledger = shop.ledger(token).await;
    let times = ledger.iter().map(|entry| time(&entry["occurred_at"]));
    assert!(times.is_sorted(), "{ledger:?}");
}

/// Returns the requests of these resources since the first `before` ones.
fn requests(shop: &Shop, before: usize, resources: &[Resource]) -> Vec<Exchange> {
    let later = shop.fake().exchanges().into_iter().skip(before);
    later
        .filter(|one| resources.contains(&one.call.resource()))
        .collect()
}

/// Checks that the requests of a bucket came at no higher rate than [`PER_SECOND`], and at least one per unreported
/// renewal.
fn check_rate(requests: &[Exchange]) {
    let count = requests.len();
    assert!(count >= UNREPORTED, "only {count}: {requests:?}");
    let times = || requests.iter().map(|one| one.at);
    let (first, last) = times().min().zip(times().max()).expect("requests");
    let passed = last.since(first) + ON_THE_WAY;
    let allowed = passed.as_millis() * PER_SECOND / 1000 + 1;
    assert!(
        u128::try_from(count).is_ok_and(|count| count <= allowed),
        "{count} requests, and {allowed} are allowed: {requests:?}"
    );
}

/// Lets hours pass until the list of voids is read again.
async fn list_again(shop: &mut Shop) {
    let before = shop.fake().exchanges().len();
    shop.skip(HOUR * 5).await;
    wait_list(shop, before).await;
    shop.rest().await;
}

/// Waits until the list of voids is requested, after the first `before` requests.
async fn wait_list(shop: &Shop, before: usize) {
    shop.sweep_until("a request for the list of voids", async || {
        if requests(shop, before, &[Resource::Voided]).is_empty() {
            Err("none".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_days_without_settle_are_found_once_and_in_order() {
    let mut shop = open().await;
    let mut purchases = Purchases::buy(&mut shop).await;
    shop.pass_days(1).await;
    shop.calendar.stop();
    let messages = purchases.live(&mut shop).await;

    // The repair of voids cannot end before the new purchase is settled.
    let before = shop.fake().exchanges().len();
    let late = Fault::Late(SOON);
    shop.fake().answer(&[Resource::Voided], &late);
    let per_second = PER_SECOND.to_string();
    let rate = ("SETTLE_GOOGLE_REQUESTS_PER_SECOND", per_second.as_str());
    shop.calendar.resume(&[rate]).await;
    wait_list(&shop, before).await;
    let first = shop.buy("first-after-the-start").await;
    let purchased = ["subscription.purchased"];
    shop.check_events(&first.token, &purchased).await;
    let lists = requests(&shop, before, &[Resource::Voided]);
    assert!(lists.iter().all(|one| one.status.is_none()), "{lists:?}");

    purchases.wait_found(&shop).await;
    shop.rest().await;
    check_rate(&requests(&shop, before, &[Resource::Subscriptions]));
    let orders = [Resource::Orders, Resource::Voided];
    check_rate(&requests(&shop, before, &orders));

    // Pub/Sub pushes what it holds, in disorder.
    for message in messages.iter().rev() {
        shop.calendar.world.push_until_accepted(message).await;
    }
    for message in &messages {
        shop.world().wait_outcome(&message.id).await;
    }
    shop.fake().answer_truly();
    list_again(&mut shop).await;
    let voided = &purchases.voided.token;
    shop.wait_amounts(voided, &[CENTS, -CENTS]).await;
    let data = shop.data(voided);
    assert!(data["revoked_at"].is_string(), "{data}");
    purchases.check(&shop).await;

    // Pub/Sub pushes everything again, and the list still has the void.
    for message in &messages {
        shop.calendar.world.push_until_accepted(message).await;
    }
    list_again(&mut shop).await;
    purchases.check(&shop).await;
    shop.check_events(&first.token, &purchased).await;
    check_ledger(&shop, &first.token, &[CENTS]).await;
    shop.finish().await;
}
