//! Signed messages as complete HTTP requests, prepared before the measurement so that the generator costs little.

use crate::sns::{Rtn, Sns};
use domain::Timestamp;
use std::sync::Arc;

#[derive(Clone)]
pub struct Message {
    /// `MessageId` of the message.
    pub id: String,
    /// Bytes of the whole HTTP request.
    pub request: Arc<[u8]>,
}

impl Message {
    /// Returns a message that is posted to this path with these headers, each with its name, separated by line ends.
    pub(super) fn new(id: String, path: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        Self {
            id,
            request: request.into_bytes().into(),
        }
    }
}

/// Returns the path of a URL, without its first slash.
pub(super) fn path_of(url: &str) -> String {
    url.splitn(4, '/').nth(3).unwrap_or_default().to_owned()
}

pub struct Messages<'a> {
    sns: &'a Sns,
    path: String,
    created: usize,
    began: Timestamp,
}

impl<'a> Messages<'a> {
    pub fn new(sns: &'a Sns, url: &str) -> Self {
        Self {
            sns,
            path: path_of(url),
            created: 0,
            began: api::clock::now(),
        }
    }

    /// Signs one renewal for each of these receipts, in this order, on two threads.
    ///
    /// # Panics
    /// When OpenSSL fails to sign.
    pub fn sign(&mut self, receipts: &[String]) -> Vec<Message> {
        let first = self.created;
        self.created += receipts.len();
        let this = &*self;
        on_two_threads(receipts, first, |receipt, number| this.one(receipt, number))
    }

    fn one(&self, receipt: &str, number: usize) -> Message {
        let mut rtn = Rtn::new("SUBSCRIPTION_RENEWED", receipt);
        rtn.app_user_id = format!("amzn1.account.{receipt}");
        // Notifications of one purchase differ in the store's time.
        rtn.at = self
            .began
            .plus_millis(i64::try_from(number).unwrap_or(i64::MAX));
        let message = self.sns.notification(&rtn);
        let headers = "content-type: text/plain; charset=UTF-8";
        Message::new(message.id, &self.path, headers, &message.body)
    }
}

/// Prepares one message for each of these purchases, numbered from `first` on, on two threads.
///
/// # Panics
/// When a message cannot be signed.
pub(super) fn on_two_threads(
    purchases: &[String],
    first: usize,
    one: impl Fn(&str, usize) -> Message + Sync,
) -> Vec<Message> {
    let (some, others) = purchases.split_at(purchases.len() / 2);
    let prepared = |purchases: &[String], first: usize| {
        purchases
            .iter()
            .zip(first..)
            .map(|(purchase, number)| one(purchase, number))
            .collect::<Vec<_>>()
    };
    let prepared = &prepared;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || prepared(some, first));
        let mine = prepared(others, first + some.len());
        let mut all = thread.join().expect("the other signing thread");
        all.extend(mine);
        all
    })
}
