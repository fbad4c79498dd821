//! The database itself: connections, statements, the writer and the readers, and what every room needs beside them. It
//! knows no table but `installation`, and none of its users.

pub mod checkpoint;
pub mod clock;
pub mod column;
pub mod config;
pub mod connection;
pub mod error;
pub mod fault;
pub mod page;
pub mod reader;
pub mod run;
pub mod secrets;
pub mod sql;
pub mod startup;
pub mod statement;
pub mod store;
pub mod writer;
