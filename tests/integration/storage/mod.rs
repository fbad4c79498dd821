//! The storage story: one story, told to SQLite and to PostgreSQL.
//!
//! It goes through the public functions of `storage`. Raw SQL is used where the story needs a row that is hard to
//! bring about, a later hour on PostgreSQL, or a look at a plan.

mod accepting;
mod aging;
mod arriving;
mod auditing;
mod batches;
mod breaking;
mod bulk;
mod catalogue;
mod customers;
mod delivering;
mod explaining;
mod filtering;
mod interleaving;
mod leaving;
mod limiting;
mod looking;
mod measuring;
mod opening;
mod paying;
mod plans;
mod profiling;
mod recovering;
mod rendering;
mod replacing;
mod retaining;
mod saying;
mod seeded;
mod sending;
mod settings;
mod settling;
mod standing;
mod states;
mod succeeding;
mod sweeping;
mod telling;
mod topics;
mod tracks;
mod users;
mod verifying;
mod waiting;
mod world;
mod worlds;
