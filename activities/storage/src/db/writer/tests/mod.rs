//! Tests of the grouping writer, nearly all without its thread.

mod alarms;
mod batches;
mod failures;
mod panics;
mod turns;

use super::aside::Aside;
use super::purpose::Purpose;
use super::thread::{OWN, Thread};
use super::{Job, JobKind, Work, Write};
use crate::config::Database;
use crate::connection::AnyConnection;
use crate::disk::Disk;
use crate::error::Error;
use crate::statement::{Number, sql};
use crate::waits::{Step, WaitNote};
use domain::Timestamp;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Returns the thread's state, with a connection to a file with a table `t`, and the file's path.
fn thread(name: &str) -> (Thread, PathBuf) {
    let path = std::env::temp_dir().join(format!("settle-writer-{}-{name}.db", std::process::id()));
    drop(std::fs::remove_file(&path));
    let database = Database::Sqlite(path.clone());
    let mut connection = AnyConnection::to(&database).unwrap();
    sql("CREATE TABLE t (v BIGINT NOT NULL)")
        .run(&mut connection)
        .unwrap();
    (
        Thread {
            database,
            purpose: Purpose::Admin,
            connection: Some(connection),
            clock: Timestamp::default,
            checkpoints: None,
            acceptances: mpsc::channel(1).1,
            bounds: OWN,
            disk: disk(),
            is_limited: false,
            place: WaitNote::new(Step::Code),
            aside: Aside::default(),
        },
        path,
    )
}

fn disk() -> Arc<Disk> {
    Arc::new(Disk::of(&Database::Postgres(String::new())))
}

/// Returns a job that inserts `value` after this number of failures.
fn job(
    value: i64,
    mut failures: u32,
    error: Error,
) -> (Box<dyn Job>, oneshot::Receiver<Result<i64, Error>>) {
    let (reply, answer) = oneshot::channel();
    let work = move |write: &mut Write<'_>| {
        sql("INSERT INTO t (v) VALUES (?)")
            .bind(value)
            .run(write.connection)?;
        if failures > 0 {
            failures -= 1;
            return Err(error.clone());
        }
        Ok(value)
    };
    (
        Box::new(Work {
            kind: JobKind::Other,
            order: None,
            work,
            result: None,
            reply: Some(reply),
            call: None,
        }),
        answer,
    )
}

/// Returns a job that returns the time of its transaction.
fn stamping() -> (Box<dyn Job>, oneshot::Receiver<Result<i64, Error>>) {
    let (reply, answer) = oneshot::channel();
    let work = |write: &mut Write<'_>| Ok(write.now()?.millis_since(Timestamp::default()));
    (
        Box::new(Work {
            kind: JobKind::Other,
            order: None,
            work,
            result: None,
            reply: Some(reply),
            call: None,
        }),
        answer,
    )
}

fn stored(path: &PathBuf) -> Vec<i64> {
    let mut connection = AnyConnection::to(&Database::Sqlite(path.clone())).unwrap();
    let rows: Vec<Number> = sql("SELECT v AS value FROM t ORDER BY v")
        .all(&mut connection)
        .unwrap();
    drop(std::fs::remove_file(path));
    rows.into_iter().map(|row| row.value).collect()
}

fn passing() -> Error {
    Error::unavailable(std::io::Error::other("a deadlock"))
}
