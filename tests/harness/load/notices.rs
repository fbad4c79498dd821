//! Notifications of the App Store as complete HTTP requests, prepared before the measurement. One chain signs all of
//! them, in this process.

use super::Message;
use super::messages::{on_two_threads, path_of};
use crate::appstore::{AppStorePlatform, Bought, Notice, account};
use api::clock;
use domain::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// The product of all purchases.
const PRODUCT: &str = "gold_monthly";
/// Type of all notifications.
const KIND: &str = "SUBSCRIBED/INITIAL_BUY";
/// The only header of a notification, besides those of every request.
const HEADERS: &str = "content-type: application/json";
/// How long before the first notification the purchases began.
const BEFORE: Duration = Duration::from_secs(300);

pub struct Notices<'a> {
    platform: &'a AppStorePlatform,
    path: String,
    bought_at: Timestamp,
}

impl<'a> Notices<'a> {
    /// Returns a source of notifications to this platform.
    pub fn new(platform: &'a AppStorePlatform) -> Self {
        Self {
            platform,
            path: path_of(&platform.notification_url),
            bought_at: clock::now().minus(BEFORE),
        }
    }

    /// Shows a subscription in its first term for each of these ids of purchases, and prepares a notification of each, in
    /// this order. The signing times are `ahead_ms` milliseconds ahead of this machine's clock.
    ///
    /// # Panics
    /// When the chain cannot sign.
    pub fn prepare(&self, ids: &[String], ahead_ms: i64) -> Vec<Message> {
        for id in ids.iter().collect::<BTreeSet<_>>() {
            self.platform.fake.show(&self.bought(id));
        }
        on_two_threads(ids, 0, |id, _| {
            let signed_at = clock::now().plus_millis(ahead_ms);
            let notice = Notice::of(KIND, &self.bought(id), signed_at);
            let message = notice.message(self.platform.fake.chain());
            Message::new(notice.uuid, &self.path, HEADERS, &message.body())
        })
    }

    fn bought(&self, id: &str) -> Bought {
        let bought = Bought::subscription(PRODUCT, self.bought_at);
        bought.with_id(id).of(&account(id))
    }
}
