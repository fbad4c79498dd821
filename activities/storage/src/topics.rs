//! Topics that asked to send to a platform, and the rows that wait for one to be approved.

use crate::{Error, Store};
use domain::{CollapseKey, PlatformId, Timestamp, TopicId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// How far a topic is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicState {
    /// Named in the platform's settings: its subscription may be confirmed at once.
    Configured,
    /// It asked, and nobody has decided yet.
    Pending,
    /// It may send.
    Confirmed,
    /// An admin refused it.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Its owner ended the subscription.
    Unsubscribed,
}

/// A topic of a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Whom it wants to send to.
    pub platform_id: PlatformId,
    /// Its name at the store.
    pub arn: String,
    /// How far it is trusted.
    pub state: TopicState,
    /// When it asked first.
    pub asked_at: Timestamp,
    /// When its present state was decided.
    pub decided_at: Option<Timestamp>,
}

/// What became of a topic that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is pending now.
    New,
    /// It was pending already, or is decided; a pending one has the newer URL now.
    Renewed,
    /// Too many are pending on this platform; it was not kept.
    Full,
}

impl Store {
    /// The topics of a platform, the oldest first.
    pub async fn topics(&self, platform: PlatformId) -> Result<Vec<Topic>, Error> {
        todo!()
    }

    /// One topic.
    pub async fn topic(&self, id: TopicId) -> Result<Topic, Error> {
        todo!()
    }

    /// Keeps a topic that asked, until an admin decides or `expires_at`. At most five per platform.
    pub async fn keep_pending(
        &self,
        platform: PlatformId,
        arn: &str,
        subscribe_url: SecretString,
        expires_at: Timestamp,
    ) -> Result<Kept, Error> {
        todo!()
    }

    /// Makes a topic one that may send, and forgets its subscribe URL.
    pub async fn pin_topic(&self, platform: PlatformId, arn: &str) -> Result<Topic, Error> {
        todo!()
    }

    /// Where a pending topic's subscription is confirmed.
    pub async fn subscribe_url(&self, id: TopicId) -> Result<Option<SecretString>, Error> {
        todo!()
    }

    /// Lets a topic send and releases what waited for it: the newest row of each purchase.
    pub async fn approve_topic(&self, id: TopicId) -> Result<Vec<(CollapseKey, i64)>, Error> {
        todo!()
    }

    /// Refuses a topic and what waited for it; answers how many rows that ended.
    pub async fn reject_topic(&self, id: TopicId) -> Result<i64, Error> {
        todo!()
    }

    /// Ends the pending topics whose time is over; answers how many rows that ended.
    pub async fn expire_topics(&self, now: Timestamp) -> Result<i64, Error> {
        todo!()
    }

    /// Notes that the owner of a topic ended its subscription.
    pub async fn mark_unsubscribed(&self, platform: PlatformId, arn: &str) -> Result<(), Error> {
        todo!()
    }
}
