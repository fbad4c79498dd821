//! The storage story: one story, run on SQLite and on PostgreSQL.
//!
//! The stories call the public functions of `storage`. They use raw SQL only for rows that are hard to bring about, for
//! a later time on PostgreSQL, and for query plans.

mod accepting;
mod aging;
mod arriving;
mod auditing;
mod batches;
mod breaker;
mod catalogue;
mod customer_states;
mod customers;
mod delivering;
mod devices;
mod environments;
mod epochs;
mod explaining;
mod figures;
mod filling;
mod filtering;
mod forgetting;
mod grouping;
mod interleaving;
mod limiting;
mod lost_plan_changes;
mod measuring;
mod operator_events;
mod overlapping;
mod partitioning;
mod payments;
mod plan_changes;
mod profiling;
mod purchase_body;
mod reconsider;
mod redelivery;
mod redelivery_pages;
mod rendering;
mod retaining;
mod retry_after;
mod round_trips;
mod seeded;
mod sending;
mod settings;
mod settling;
mod sizing;
mod startup;
mod statements;
mod states;
mod sweeping;
mod topics;
mod tracks;
mod users;
mod verifying;
mod waiting;
mod waking;
mod world;
