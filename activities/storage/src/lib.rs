#![doc = include_str!("../README.md")]

mod accept;
mod acceptances;
mod admin;
mod adopt;
mod again;
mod alarms;
mod apps;
mod asked;
mod audit;
mod catalogue;
mod checkpoint;
mod claim;
mod config;
mod connection;
mod customers;
mod deliveries;
mod destinations;
mod error;
mod events;
mod explain;
pub mod fault;
mod feed;
mod finish;
mod health;
mod inbox;
mod lanes;
mod ledger;
mod listing;
mod load;
mod looks;
mod open;
mod operators;
mod page;
mod pages;
mod payments;
mod platforms;
mod profiles;
mod purchase;
mod rates;
mod reader;
mod record;
mod redeliver;
mod replacements;
mod replay;
mod retention;
mod secrets;
mod snapshot;
mod standing;
mod statement;
mod succession;
mod sweep;
mod tending;
mod topics;
mod user_lanes;
mod users;
mod verification;
mod views;
mod waiting;
mod writer;

pub use adopt::{Adopted, Adoption};
pub use again::{Owing, Skipped};
pub use alarms::Alarm;
pub use apps::App;
pub use audit::{Audited, Broken, Rule, rules};
pub use catalogue::{Catalogue, Change, MOST_LISTED, Named, Product, Run, Unmapped, entitlement_id};
pub use config::{Config, Database, Installation, Key};
pub use customers::{Customer, CustomerKey, Owner};
pub use destinations::{
    Destination, DestinationPatch, Filter, FilterPatch, Limits, LimitsPatch, NewDestination, Traits,
};
pub use error::{Cause, Error, chain};
pub use explain::{
    Addressee, AnnouncedEvent, EventFacts, OfDestination, OfEvent, OfMessage, OfPurchase, Owes, PaymentFacts, Portrait,
    ReceivedNotification, Sending, Successor,
};
pub use feed::Fed;
pub use health::HealthView;
pub use inbox::{Accepted, Fate, NewNotification, NotificationView, Open};
pub use lanes::{
    Attempt, Batch, Claim, Claimed, EndpointSignal, EventResult, Finish, FinishResult, LaneState, Mode, Render,
    Rendered, Sibling, Unsent, Verdict,
};
pub use ledger::{
    AttemptView, DeliveryFilter, DeliveryView, EventFilter, EventView, PurchaseFilter, PurchaseView, Standing,
};
pub use load::Loaded;
pub use page::{Page, Paged};
pub use pages::RunMode;
pub use payments::{
    Difference, Differs, Earned, ImportedSales, Integration, NewSale, RevenueFilter, RevenueLine, RevenuePage,
    Unmatched,
};
pub use platforms::{NewPlatform, Platform, PlatformPatch};
pub use rates::Rate;
pub use record::{Record, Recorded};
pub use redeliver::{Again, Redelivered, To};
pub use replay::{Replay, Replayed};
pub use secrets::hex;
pub use snapshot::SnapshotPage;
pub use standing::{DestinationHealth, Figures, Forgotten};
pub use sweep::{Due, Overdue};
pub use tending::{DestinationNeed, LanesInBackoff};
pub use topics::{PendingTopic, Topic, TopicState};
pub use verification::{StoreQuery, Unanswered};
pub use waiting::{Released, WaitingResult};

pub use secrecy::{ExposeSecret, SecretString};

use domain::Timestamp;
use reader::Readers;
use secrets::Secrets;
use statement::sql;
use writer::{Place, Write, Writer};

/// The database of one installation. Clones share it.
#[derive(Clone)]
pub struct Store {
    writer: Writer,
    readers: Readers,
    secrets: Secrets,
    installation: Installation,
    clock: fn() -> Timestamp,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("installation", &self.installation).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database, brings its tables up to date and starts the writer.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has this SQLite file; [`Error::Corrupt`] when the tables
    /// or the key do not fit.
    pub async fn open(config: Config) -> Result<Self, Error> {
        tokio::task::spawn_blocking(move || open::open(config)).await.map_err(Error::unavailable)?
    }

    /// What was created when the database was opened for the first time.
    #[must_use]
    pub const fn installation(&self) -> Installation {
        self.installation
    }

    /// Now, by the clock that stamps rows.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        let clock = self.clock;
        self.readers.read(move |connection| connection.now(clock)).await
    }

    /// Whether a write would succeed now.
    pub async fn ping(&self) -> Result<(), Error> {
        self.write(|write| {
            // Where processes share the row, none of them may hold up the others with it.
            let id = i64::from(!write.connection.is_shared());
            sql("UPDATE installation SET epoch = epoch WHERE id = ?").bind(id).run(write.connection).map(drop)
        })
        .await
    }

    async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.writer.write(Place::Elsewhere, work).await
    }

    async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut connection::AnyConnection) -> Result<T, Error> + Send + 'static,
    {
        self.readers.read(read).await
    }
}
