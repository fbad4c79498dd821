//! The data that a record reads besides the rows that it locks. All of it is read under these locks and in one round
//! trip, before the record changes any of it.

use crate::purchases::purchase::Origin;
use crate::purchases::replacements;
use crate::settings::destinations::{self, Destination};
use crate::settings::listing::Listings;
use crate::settling::access::Accesses;
use crate::settling::payments::{self, Ledger};
use db::epoch::EpochAhead;
use db::error::Error;
use db::partial::OPEN_BY_KEY;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Number, Single, sql};
use db::writer::Write;
use domain::settling::Record;
use domain::{Purchase, UserId};

/// The data that a record reads, fetched later.
pub struct Facts {
    /// Number of the notifications that the decision saw and that are still open.
    pub open: Option<Ahead<'static, Number>>,
    /// The listings of the app, with that of the purchase.
    pub listings: Listings,
    /// The purchase that this one replaced.
    pub replaced: Ahead<'static, Single<Purchase>>,
    pub ledger: Ledger,
    pub destinations: Ahead<'static, Destination>,
    /// The devices with access to the purchase.
    pub accesses: Accesses,
    /// The epoch, if the record needs it and it is not known yet.
    pub epoch: Option<EpochAhead>,
}

// `|| ''` keeps the planner from reading all earlier notifications of the purchase.
const COUNT_OPEN: Sql = statement! {hot "notifications_pkey or INTEGER PRIMARY KEY", "
    SELECT COUNT(*) AS value
    FROM notifications
    WHERE seq IN (?*) AND collapse_key || '' = ? AND outcome {OPEN_BY_KEY} AND waiting_topic_id IS NULL
"};

impl Facts {
    /// Begins to read the facts for a record of a purchase of this origin.
    pub fn read(
        write: &mut Write<'_>,
        record: &Record,
        origin: &Origin,
        user: Option<UserId>,
    ) -> Result<Self, Error> {
        let (key, purchase) = (record.collapse_key, &record.decision.purchase);
        let open = sql(COUNT_OPEN)
            .uncached()
            .bind_list(record.seqs.iter().copied())
            .bind(key);
        let open = if record.seqs.is_empty() {
            None
        } else {
            Some(open.ahead(write.connection)?)
        };
        let mut listings = Listings::of(origin.app_id);
        listings.read_ahead(write.connection, purchase)?;
        let replaced = replacements::replaced_ahead(write.connection, key)?;
        let ledger = payments::ledger_ahead(write.connection, key, origin)?;
        let destinations = destinations::of_app_ahead(write.connection, origin.app_id)?;
        let accesses = Accesses::read(write, key, user)?;
        let epoch = if record.decision.transitions.is_empty() {
            None
        } else {
            write.epoch_ahead()?
        };
        Ok(Self {
            open,
            listings,
            replaced,
            ledger,
            destinations,
            accesses,
            epoch,
        })
    }
}
