//! Signed messages as complete HTTP requests, prepared before the measurement so that the generator costs little.

use domain::Timestamp;
use std::sync::Arc;
use system_tests::sns::{Rtn, Sns};

/// A message and its request.
#[derive(Clone)]
pub struct Message {
    /// Its `MessageId`.
    pub id: String,
    /// The bytes of the whole HTTP request.
    pub request: Arc<[u8]>,
}

/// Creates messages that all differ.
pub struct Messages<'a> {
    sns: &'a Sns,
    path: String,
    purchases: usize,
    created: usize,
    began: Timestamp,
}

impl<'a> Messages<'a> {
    /// Messages for this endpoint, spread over this many purchases.
    pub fn new(sns: &'a Sns, url: &str, purchases: usize) -> Self {
        let path = url.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
        Self { sns, path, purchases, created: 0, began: api::clock::now() }
    }

    /// Signs `count` messages, on two threads.
    pub fn sign(&mut self, count: usize) -> Vec<Message> {
        eprintln!("signing {count} messages …");
        let first = self.created;
        self.created += count;
        let half = first + count / 2;
        let this = &*self;
        std::thread::scope(|scope| {
            let other = scope.spawn(move || (first..half).map(|number| this.one(number)).collect::<Vec<_>>());
            let mine: Vec<_> = (half..first + count).map(|number| this.one(number)).collect();
            let mut all = other.join().expect("the other signing thread");
            all.extend(mine);
            all
        })
    }

    fn one(&self, number: usize) -> Message {
        let receipt = format!("load-{:05}", number % self.purchases);
        let mut rtn = Rtn::new("SUBSCRIPTION_RENEWED", &receipt);
        // Notifications of one purchase differ in the store's time.
        rtn.at = self.began.plus_millis(i64::try_from(number).unwrap_or(i64::MAX));
        let message = self.sns.notification(&rtn);
        let request = format!(
            "POST /{} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain; charset=UTF-8\r\ncontent-length: {}\r\n\r\n{}",
            self.path,
            message.body.len(),
            message.body
        );
        Message { id: message.id, request: request.into_bytes().into() }
    }
}
