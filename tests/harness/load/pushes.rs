//! Pushes of Pub/Sub as complete HTTP requests, prepared before the measurement.

use super::Message;
use super::messages::{on_two_threads, path_of};
use crate::play::push::{self, RENEWED};
use crate::play::{Notice, Push};
use api::clock;
use domain::Timestamp;

/// The tokens of a batch of pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// One token for all pushes, as Pub/Sub reuses one for up to an hour.
    One,
    /// Another token for each push.
    Each,
    /// A token for each push that no key has signed.
    Forged,
}

pub struct Pushes {
    path: String,
    created: usize,
    began: Timestamp,
}

impl Pushes {
    /// Returns a source of pushes to this notification URL.
    pub fn new(url: &str) -> Self {
        Self {
            path: path_of(url),
            created: 0,
            began: clock::now(),
        }
    }

    /// Prepares a new renewal of each of these purchases, in this order.
    ///
    /// # Panics
    /// When a token cannot be signed.
    pub fn prepare(&mut self, purchases: &[String], tokens: Tokens) -> Vec<Message> {
        let first = self.created;
        self.created += purchases.len();
        let (this, now) = (&*self, clock::now());
        let shared = push::bearer(now);
        on_two_threads(purchases, first, |purchase, number| {
            let token = match tokens {
                Tokens::One => shared.clone(),
                Tokens::Each => push::numbered_bearer(now, number),
                Tokens::Forged => push::forged_bearer(now, number),
            };
            // Notifications of one purchase differ in the store's time.
            let millis = i64::try_from(number).unwrap_or(i64::MAX);
            let notice = Notice::subscription(RENEWED, purchase, this.began.plus_millis(millis));
            this.request(&notice.message(), &token)
        })
    }

    /// Prepares a message whose data is no notification, `times` times with the same id and a valid token.
    pub fn unreadable(&self, times: usize) -> Vec<Message> {
        let now = clock::now();
        let message = Push::new("unreadable".to_owned(), "no notification", now);
        vec![self.request(&message, &push::bearer(now)); times]
    }

    fn request(&self, message: &Push, token: &str) -> Message {
        let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json");
        Message::new(message.id.clone(), &self.path, &headers, &message.body)
    }
}
