//! Failures of the writer itself, not of a job's statements.

use crate::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The writer's thread ended, which only a bug can cause.
#[derive(Debug, thiserror::Error)]
#[error("the writer has stopped")]
pub(super) struct Stopped;

/// The writer panicked, which only a bug can cause. Its transaction is rolled back.
#[derive(Debug, thiserror::Error)]
#[error("the writer panicked")]
struct Panicked;

/// Runs a part of the writer's work. A panic, which the panic hook has printed, becomes an error; the connection must
/// not be used again.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        tracing::error!("the storage's writer panicked: its transaction is rolled back, and its connection replaced");
        Error::unavailable(Panicked)
    })
}

/// A job that is not the first of its transaction must be run in the next one: it would wait for a lock while the
/// transaction holds locks that it must not hold meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("the job is run in the next transaction")]
pub struct NextTransaction;
