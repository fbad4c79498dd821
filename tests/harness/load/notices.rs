//! Notifications of the App Store as complete HTTP requests, prepared before the measurement. One chain signs all of
//! them, in this process.

use super::Message;
use super::messages::{on_two_threads, path_of};
use crate::appstore::{AppStorePlatform, Bought, Notice, account};
use api::clock;
use api::stores::apple::signer::Chain;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use serde_json::{Value, json};
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

    /// Prepares this many notifications about a purchase, each signed with a new certificate of its own. It names the
    /// genuine intermediate certificate as its issuer, so that it is refused at the last signature of the chain.
    ///
    /// # Panics
    /// When a chain cannot be created.
    pub fn forge(&self, id: &str, count: usize) -> Vec<Message> {
        let genuine = self.platform.fake.chain();
        let notice = Notice::of(KIND, &self.bought(id), clock::now());
        let content = notice.content(genuine).to_string();
        let issuers = certificates(genuine).split_off(1);
        on_two_threads(&vec![id.to_owned(); count], 0, |_, _| {
            let forged = Chain::generate().expect("a chain");
            let mut chain = certificates(&forged);
            chain.truncate(1);
            chain.extend_from_slice(&issuers);
            let header = json!({ "alg": "ES256", "x5c": chain }).to_string();
            let payload = forged.sign_text(&header, &content);
            let payload = payload.expect("a signed message");
            let body = json!({ "signedPayload": payload }).to_string();
            Message::new(notice.uuid.clone(), &self.path, HEADERS, &body)
        })
    }

    fn bought(&self, id: &str) -> Bought {
        let bought = Bought::subscription(PRODUCT, self.bought_at);
        bought.with_id(id).of(&account(id))
    }
}

/// Returns the certificates of a chain, as in the header of what it signs.
fn certificates(chain: &Chain) -> Vec<Value> {
    let signed = chain.sign(&Value::Null).expect("a signed content");
    let header = signed.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).expect("a header");
    let header: Value = serde_json::from_slice(&header).expect("a header");
    header["x5c"].as_array().cloned().unwrap_or_default()
}
