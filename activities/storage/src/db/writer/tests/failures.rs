//! Tests with a database that fails briefly or permanently, and with a full disk.

use super::{job, passing, stored, thread};
use crate::error::Error;
use crate::writer::thread::{MAX_GROUP_JOBS, MAX_UNDONE};
use crate::writer::{Job, JobKind, Work, Write};
use diesel::result::DatabaseErrorKind;
use diesel::result::Error::DatabaseError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

#[test]
fn trouble_that_passes_costs_nobody_his_write() {
    let (mut thread, path) = thread("passing");
    let (mut group, mut answers): (Vec<_>, Vec<_>) = [
        job(1, 0, passing()),
        job(2, 2, passing()),
        job(3, 0, passing()),
    ]
    .into_iter()
    .unzip();
    thread.commit_group(&mut group);
    let (after, answer) = job(4, 0, passing());
    answers.push(answer);
    thread.commit_group(&mut [after]);
    for (answer, expected) in answers.iter_mut().zip(1..) {
        assert_eq!(answer.try_recv().unwrap().unwrap(), expected);
    }
    assert_eq!(stored(&path), [1, 2, 3, 4], "each once, and all committed");
}

#[test]
fn what_fails_for_good_undoes_itself_alone() {
    let (mut thread, path) = thread("alone");
    let missing = Error::Missing { what: "thing" };
    let (mut group, mut answers): (Vec<_>, Vec<_>) = [
        job(1, 0, passing()),
        job(2, 9, missing.clone()),
        job(3, 0, passing()),
    ]
    .into_iter()
    .unzip();
    thread.commit_group(&mut group);
    let (single, answer) = job(4, 9, missing);
    answers.push(answer);
    thread.commit_group(&mut [single]);
    let succeeded: Vec<_> = answers
        .iter_mut()
        .map(|answer| answer.try_recv().unwrap().is_ok())
        .collect();
    assert_eq!(succeeded, [true, false, true, false]);
    assert_eq!(stored(&path), [1, 3]);
}

#[test]
fn trouble_that_stays_is_reported_after_a_few_tries() {
    let (mut thread, path) = thread("stays");
    let (mut group, mut answers): (Vec<_>, Vec<_>) = [job(1, 0, passing()), job(2, 99, passing())]
        .into_iter()
        .unzip();
    thread.commit_group(&mut group);
    assert!(answers[0].try_recv().unwrap().is_ok());
    assert!(matches!(
        answers[1].try_recv().unwrap(),
        Err(Error::Unavailable(_))
    ));
    assert_eq!(stored(&path), [1]);
}

#[test]
fn a_database_that_refuses_everything_is_tried_a_few_times() {
    let (mut thread, path) = thread("refused");
    let runs = Arc::new(AtomicUsize::new(0));
    let refused = || -> (Box<dyn Job>, oneshot::Receiver<Result<i64, Error>>) {
        let (reply, answer) = oneshot::channel();
        let runs = Arc::clone(&runs);
        let work = move |_: &mut Write<'_>| {
            runs.fetch_add(1, Ordering::Relaxed);
            Err(passing())
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
    };
    let (mut group, mut answers): (Vec<_>, Vec<_>) = (0..MAX_GROUP_JOBS).map(|_| refused()).unzip();
    thread.commit_group(&mut group);
    assert!(
        answers
            .iter_mut()
            .all(|answer| matches!(answer.try_recv().unwrap(), Err(Error::Unavailable(_))))
    );
    assert_eq!(runs.load(Ordering::Relaxed), MAX_UNDONE);
    assert_eq!(stored(&path), [0_i64; 0]);
}

#[test]
fn a_full_disk_is_tried_once() {
    let (mut thread, path) = thread("full");
    let runs = Arc::new(AtomicUsize::new(0));
    let failing = || -> (Box<dyn Job>, oneshot::Receiver<Result<i64, Error>>) {
        let (reply, answer) = oneshot::channel();
        let runs = Arc::clone(&runs);
        let work = move |_: &mut Write<'_>| {
            runs.fetch_add(1, Ordering::Relaxed);
            let full = Box::new("database or disk is full".to_owned());
            Err(Error::of_query(DatabaseError(
                DatabaseErrorKind::Unknown,
                full,
            )))
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
    };
    let (mut group, mut answers): (Vec<_>, Vec<_>) = (0..MAX_GROUP_JOBS).map(|_| failing()).unzip();
    thread.commit_group(&mut group);
    let is_full = |answer: &mut oneshot::Receiver<_>| matches!(answer.try_recv().unwrap(), Err(error) if Error::is_of_full_disk(&error));
    assert!(answers.iter_mut().all(is_full) && thread.disk.is_full());
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(stored(&path), [0_i64; 0]);
}
