//! The storage story: one story, told to SQLite and to PostgreSQL.
//!
//! It goes through the public functions of `storage`. Raw SQL is used where the story needs a row that is hard to
//! bring about, a later hour on PostgreSQL, or a look at a plan.

mod accepting;
mod catalogue;
mod customers;
mod delivering;
mod interleaving;
mod opening;
mod plans;
mod replacing;
mod saying;
mod seeded;
mod settings;
mod settling;
mod states;
mod sweeping;
mod topics;
mod tracks;
mod users;
mod verifying;
mod waiting;
mod world;
