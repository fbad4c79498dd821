//! The storage story: one story, told to SQLite and to PostgreSQL.
//!
//! It goes through the public functions of `storage`. Raw SQL is used where the story needs what
//! `storage` does not offer yet (`user.*` events), a later hour on PostgreSQL, or a look at a plan.

mod accepting;
mod catalogue;
mod customers;
mod delivering;
mod interleaving;
mod opening;
mod plans;
mod seeded;
mod settings;
mod settling;
mod sweeping;
mod topics;
mod world;
