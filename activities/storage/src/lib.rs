//! What is remembered.

mod admin;
mod catalogue;
mod config;
mod error;
mod inbox;
mod lanes;
mod ledger;
mod page;
mod settling;
mod sweep;
mod topics;

pub use catalogue::{App, Destination, DestinationPatch, NewDestination, NewPlatform, Platform, PlatformPatch};
pub use config::{Config, Database, Installation, Key};
pub use error::{Cause, Error};
pub use inbox::{Accepted, Alarm, Fate, NewNotification, NotificationView, Open};
pub use lanes::{Attempt, Claimed, Finish, Finished, Verdict};
pub use ledger::{AttemptView, DeliveryFilter, DeliveryView, EventFilter, EventView, PurchaseFilter, PurchaseView};
pub use page::{Page, Paged};
pub use settling::{Loaded, Record, Recorded};
pub use sweep::Due;
pub use topics::{Kept, Topic, TopicState};

/// The database of one installation. Clones share it.
#[derive(Clone)]
pub struct Store;

impl Store {
    /// Opens the database, brings its tables up to date and starts the writer.
    pub async fn open(config: Config) -> Result<Self, Error> {
        todo!()
    }

    /// What was made when the database was opened for the first time.
    #[must_use]
    pub fn installation(&self) -> Installation {
        todo!()
    }

    /// Now, by the clock that stamps rows.
    pub async fn now(&self) -> Result<domain::Timestamp, Error> {
        todo!()
    }

    /// Whether a write would succeed now.
    pub async fn ping(&self) -> Result<(), Error> {
        todo!()
    }
}
