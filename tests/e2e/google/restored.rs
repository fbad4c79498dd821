//! A database that is put back to the day before. Pub/Sub pushes the messages since then again: what was lost is found
//! once, under other ids, and what the backup has is not announced again.

use super::{CENTS, GOLD, Shop, token};
use domain::Timestamp;
use domain::time::HOUR;
use std::collections::BTreeSet;
use system_tests::backup::Backup;
use system_tests::play::push::{CANCELED, PURCHASED, RENEWED};
use system_tests::play::{Bought, Notice, Push};
use system_tests::raw::Raw;
use system_tests::receiver::Received;

const PURCHASE: &str = "subscription.purchased";
const RENEWAL: &str = "subscription.renewed";
const CANCELLATION: &str = "subscription.cancelled";
const END: &str = "subscription.expired";

/// The purchases of the lost day, and the messages about them.
struct LostDay {
    /// Renews, which a notification reports.
    renewed: Bought,
    /// Renews, and the notification is lost.
    unreported: Bought,
    canceled: Bought,
    /// Is voided, which a notification and the list report.
    voided: Bought,
    /// Begins on the lost day.
    new: Option<Bought>,
    messages: Vec<Push>,
}

/// Returns a purchase of now, as that of a customer who has bought nothing else.
fn bought(name: &str, now: Timestamp) -> Bought {
    let new = Bought::subscription(&token(name), GOLD, now);
    new.of(&format!("customer-{name}"))
}

impl LostDay {
    /// Buys what the backup has.
    async fn begin(shop: &mut Shop) -> Self {
        let now = shop.now();
        let term_end = now.plus(HOUR * 12);
        let mut own = Self {
            renewed: bought("renewed", now).until(term_end),
            unreported: bought("unreported", now).until(term_end),
            canceled: bought("canceled", now),
            voided: bought("voided", now),
            new: None,
            messages: Vec::new(),
        };
        for bought in [&own.renewed, &own.unreported, &own.canceled, &own.voided] {
            shop.fake().show(bought);
            let notice = Notice::subscription(PURCHASED, &bought.token, now);
            own.messages.push(shop.push(&notice).await);
        }
        wait_repairs(shop).await;
        shop.rest().await;
        own
    }

    /// Lets a day pass with all its changes.
    async fn live(&mut self, shop: &mut Shop) {
        shop.pass_until(self.renewed.paid_until()).await;
        let now = shop.now();
        self.unreported.renew(now);
        shop.fake().show(&self.unreported);
        self.renewed.renew(now);
        let renewed = report(shop, RENEWED, &self.renewed).await;
        self.canceled.cancel(now);
        let canceled = report(shop, CANCELED, &self.canceled).await;
        let new = bought("new", now);
        let purchased = report(shop, PURCHASED, &new).await;
        self.new = Some(new);

        // The notification comes first, so that the list changes nothing before the loss.
        shop.take_back(&mut self.voided);
        let order = self.voided.order_id(1);
        let voided = Notice::voided(&self.voided.token, &order, shop.now());
        let voided = shop.push(&voided).await;
        shop.list_void(&self.voided);
        self.messages.extend([renewed, canceled, purchased, voided]);
        shop.pass_until(now.plus(HOUR * 12)).await;
        shop.rest().await;
    }

    /// Pushes all messages again.
    async fn replay(&self, shop: &mut Shop) {
        for message in &self.messages {
            shop.calendar.world.push_until_accepted(message).await;
        }
        for message in &self.messages {
            shop.world().wait_outcome(&message.id).await;
        }
        shop.rest().await;
    }

    /// Returns each purchase with its events: those that the backup has, and those of the lost day.
    fn events(&self) -> Vec<(&Bought, Vec<&'static str>, &'static str)> {
        let new = self.new.as_ref().map(|new| (new, Vec::new(), PURCHASE));
        let others = [
            (&self.renewed, RENEWAL),
            (&self.unreported, RENEWAL),
            (&self.canceled, CANCELLATION),
            (&self.voided, END),
        ];
        let others = others.map(|(bought, lost)| (bought, vec![PURCHASE], lost));
        others.into_iter().chain(new).collect()
    }

    /// Waits until each purchase has this number of events of the lost day, while the sweep runs.
    async fn wait_found(&self, shop: &Shop, times: usize) {
        shop.sweep_until("the events of the lost day", async || {
            for (bought, before, _) in self.events() {
                let seen = shop.world().receiver.event_types(&bought.token);
                if seen.len() < before.len() + times {
                    return Err(format!("{}: {seen:?}", bought.token));
                }
            }
            Ok(())
        })
        .await;
        shop.rest().await;
    }

    /// Checks that each purchase has the events of the lost day this number of times, each under an id of its own, and
    /// that the ledger has each amount once.
    async fn check(&self, shop: &Shop, times: usize) {
        for (bought, mut expected, lost) in self.events() {
            let id = &bought.token;
            expected.extend(std::iter::repeat_n(lost, times));
            shop.check_events(id, &expected).await;
            let received = shop.world().receiver.of_receipt(id);
            let events = received.iter().filter(|one| one.collapse_key().is_empty());
            let ids: BTreeSet<&str> = events.map(Received::event_id).collect();
            assert_eq!(ids.len(), expected.len(), "{id}: {ids:?}");
            let amounts: &[i64] = match lost {
                RENEWAL => &[CENTS, CENTS],
                END => &[CENTS, -CENTS],
                _ => &[CENTS],
            };
            assert_eq!(shop.amounts(id).await, amounts, "{id}");
        }
    }
}

/// Waits until the first pass of each repair is complete, so that the next one of orders is due after the void is
/// reported.
async fn wait_repairs(shop: &Shop) {
    let complete = "SELECT COUNT(*) AS value FROM repairs WHERE repaired_through IS NOT NULL";
    let mut raw = Raw::of(&shop.world().installation.stored_in());
    shop.sweep_until("the first repairs", async || match raw.number(complete) {
        2 => Ok(()),
        number => Err(format!("{number} of 2")),
    })
    .await;
}

/// Shows a subscription, and pushes a notification about it.
async fn report(shop: &mut Shop, number: i64, bought: &Bought) -> Push {
    shop.fake().show(bought);
    let notice = Notice::subscription(number, &bought.token, shop.now());
    shop.push(&notice).await
}

/// Puts the database back while no process runs, and raises its epoch.
fn restore(shop: &Shop, backup: &Backup) {
    let installation = &shop.world().installation;
    backup.restore(installation).expect("restored files");
    let raised = installation.call(&["migrate", "--raise-epoch"]);
    assert!(raised.status.success(), "{raised:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_after_a_restore_finds_the_lost_day_once() {
    let mut shop = Shop::open().await;
    let mut day = LostDay::begin(&mut shop).await;
    shop.calendar.stop();
    let backup = Backup::of(&shop.world().installation);
    shop.calendar.resume(&[]).await;
    day.live(&mut shop).await;
    day.check(&shop, 1).await;

    shop.calendar.stop();
    restore(&shop, &backup);
    shop.calendar.resume(&[]).await;
    // The replay begins before the backup, whose messages are stored.
    day.replay(&mut shop).await;
    day.wait_found(&shop, 2).await;
    day.check(&shop, 2).await;

    day.replay(&mut shop).await;
    shop.skip(HOUR * 5).await;
    shop.rest().await;
    day.check(&shop, 2).await;
    shop.finish().await;
}
