//! The database itself: connections, statements, the writer, the readers, and the types that every room (a folder of
//! `src`, see the README) uses. It uses no other room, and no table but `installation`, `encryption_keys` and, to raise
//! an alarm or record an audit entry, `alarms`, with the app of its platform or destination, and `audit_log`.

pub mod alarm;
pub mod audit_log;
pub mod checkpoint;
pub mod claim_backlogs;
pub mod clock;
pub mod column;
pub mod config;
pub mod connection;
pub mod counts;
pub mod disk;
pub mod epoch;
pub mod error;
pub mod fault;
pub mod keys;
pub mod low_mark;
pub mod page;
pub mod partial;
pub mod postgres;
pub mod preconditions;
pub mod reader;
pub mod refusal;
pub mod run;
pub mod schema;
pub mod secrets;
pub mod shared_lock;
pub mod sql;
pub mod startup;
pub mod statement;
pub mod time_limit;
pub mod waits;
pub mod watch;
pub mod writer;
