//! Failures of the writer itself, and not of a job's statements.

use crate::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The writer's thread ended, which only a bug can cause.
#[derive(Debug, thiserror::Error)]
#[error("the writer has stopped")]
pub(super) struct Stopped;

/// The writer panicked, which only a bug can cause. What it wrote is rolled back.
#[derive(Debug, thiserror::Error)]
#[error("the writer panicked")]
struct Panicked;

/// Runs a part of the writer's work. A panic, which its hook has printed, becomes an error; the connection must not be
/// used again.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        tracing::error!("the storage's writer panicked: its transaction is rolled back, and its connection replaced");
        Error::unavailable(Panicked)
    })
}

/// A job that is not the first one of its transaction must be run in the next one: it would wait for a lock, while the
/// transaction holds others that it must not hold then.
#[derive(Debug, thiserror::Error)]
#[error("the job is run in the next transaction")]
pub struct NextTransaction;
