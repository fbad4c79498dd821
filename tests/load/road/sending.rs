//! The stores: what each shows of a purchase, and how it sends notifications.

use super::subject::CONNECTIONS;
use domain::CollapseKey;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use system_tests::appstore;
use system_tests::load::{Load, Measured, Message, Messages, Notices, Pace, Pushes, Tokens};
use system_tests::play::{self, Bought, Play};
use system_tests::rvs::Receipt;
use system_tests::world::World;
use tokio::time::Instant;

/// The product of all purchases at Google, and its plan.
const PRODUCT: (&str, &str) = ("gold", "monthly");

/// Time limit for sending a batch, below the hour in which the tokens of pushes are valid.
const SENT_WITHIN: Duration = Duration::from_secs(3_000);

/// A store that sends notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    Amazon,
    Google,
    Apple,
}

/// Notifications that were accepted.
pub struct Sent {
    /// When each purchase's last notification was due, by collapse key.
    pub due: BTreeMap<String, Instant>,
    pub message_ids: Vec<String>,
}

/// Adds the product of all purchases to the fake of Google.
pub fn sell(fake: &Play) {
    let (product, plan) = PRODUCT;
    fake.sell(product, plan, "P1M");
}

/// Notifications that are signed and not sent yet.
pub struct Batch {
    url: String,
    /// The purchase of each message, as its collapse key.
    keys: Vec<String>,
    messages: Vec<Message>,
}

impl Batch {
    /// Prepares one notification of a store about each of these receipts, in this order, and makes the store show them.
    pub fn prepare(world: &World, store: Store, receipts: &[String]) -> Self {
        store.show(world, receipts);
        let (url, messages) = store.sign(world, receipts);
        let key = |receipt: &String| store.key(world, receipt).to_string();
        Self {
            url,
            keys: receipts.iter().map(key).collect(),
            messages,
        }
    }

    /// Returns the ids of all messages.
    pub fn message_ids(&self) -> Vec<String> {
        let ids = self.messages.iter().map(|message| message.id.clone());
        ids.collect()
    }

    /// Sends all notifications.
    ///
    /// # Panics
    /// When one is not accepted.
    pub async fn send(self, pace: Pace) -> Sent {
        let measured = self.post(pace).await;
        Sent {
            due: self.due(&measured),
            message_ids: self.message_ids(),
        }
    }

    /// Sends all notifications, which can be sent again, and measures the answers.
    ///
    /// # Panics
    /// When one is not accepted.
    pub async fn post(&self, pace: Pace) -> Measured {
        let load = Load::new(&self.url, CONNECTIONS);
        let measured = load.run(self.messages.clone(), pace, SENT_WITHIN).await;
        measured.check();
        assert_eq!(
            measured.acknowledged().len(),
            self.messages.len(),
            "messages that were sent within {SENT_WITHIN:?}"
        );
        measured
    }

    /// Returns when each purchase's last notification was due, by collapse key.
    pub fn due(&self, measured: &Measured) -> BTreeMap<String, Instant> {
        let mut due = BTreeMap::<String, Instant>::new();
        for sent in measured.acknowledged() {
            let Some(key) = self.keys.get(sent.number) else {
                continue;
            };
            let last = due.entry(key.clone()).or_insert(sent.due);
            *last = sent.due.max(*last);
        }
        due
    }
}

impl Store {
    pub const ALL: [Self; 3] = [Self::Amazon, Self::Google, Self::Apple];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Amazon => "amazon",
            Self::Google => "google",
            Self::Apple => "apple",
        }
    }

    /// Returns a receipt, purchase token or transaction id with this name. The fake of Google refuses short tokens.
    pub fn receipt(self, name: &str) -> String {
        match self {
            Self::Amazon => name.to_owned(),
            Self::Google => play::token(name),
            Self::Apple => appstore::original_id(name),
        }
    }

    /// Returns the collapse key of a receipt, purchase token or transaction id.
    pub fn key(self, world: &World, receipt: &str) -> CollapseKey {
        match self {
            Self::Amazon => world.key(receipt),
            Self::Google => world.play_key(receipt),
            Self::Apple => world.appstore_key(receipt),
        }
    }

    /// Makes the store show a subscription in its first term for each of these receipts. Amazon shows nothing if
    /// receipts are not verified, and the App Store shows what it signs.
    fn show(self, world: &World, receipts: &[String]) {
        let now = api::clock::now();
        match self {
            Self::Amazon if world.has_rvs() => {
                for receipt in receipts {
                    let shown = Receipt {
                        // As in the notifications of `Messages`.
                        app_user_id: format!("amzn1.account.{receipt}"),
                        ..Receipt::subscription(now)
                    };
                    world.rvs().know(receipt, shown);
                }
            }
            Self::Amazon | Self::Apple => {}
            Self::Google => {
                let (product, plan) = PRODUCT;
                let sku = format!("{product}:{plan}");
                let tokens: BTreeSet<&String> = receipts.iter().collect();
                for token in tokens {
                    let bought = Bought::subscription(token, &sku, now);
                    world.play().fake.show(&bought);
                }
            }
        }
    }

    /// Returns the notification URL, and one message about each of these receipts.
    fn sign(self, world: &World, receipts: &[String]) -> (String, Vec<Message>) {
        match self {
            Self::Amazon => {
                let url = world.notification_url.clone();
                let messages = Messages::new(&world.sns, &url).sign(receipts);
                (url, messages)
            }
            Self::Google => {
                let url = world.play().notification_url.clone();
                let messages = Pushes::new(&url).prepare(receipts, Tokens::One);
                (url, messages)
            }
            Self::Apple => {
                let platform = world.appstore();
                let messages = Notices::new(platform).prepare(receipts, 0);
                (platform.notification_url.clone(), messages)
            }
        }
    }
}
