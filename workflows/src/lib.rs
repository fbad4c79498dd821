//! Deciding: durable, deterministic, no I/O.

pub mod contract;
pub mod signal;
