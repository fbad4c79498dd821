//! Settling a purchase: the data that a decision needs, and its record in one transaction.

mod access;
mod comparison;
pub mod continuation;
pub mod duties;
pub mod events;
pub mod facts;
mod handover;
pub mod known;
pub mod load;
pub mod owners;
pub mod payments;
pub mod profiles;
pub mod rechecks;
pub mod record;
pub mod repairs;
pub mod revision;
pub mod succession;
pub mod transferred;
pub mod unlisted;
pub mod verification;
pub mod views;
