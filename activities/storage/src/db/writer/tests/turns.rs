//! Tests of the order in which jobs are run.

use super::{disk, job, passing, stamping, stored, thread};
use crate::config::Database;
use crate::error::Error;
use crate::statement::{Number, sql};
use crate::waits::{Step, WaitNote, Waits};
use crate::writer::aside::Aside;
use crate::writer::purpose::{Faults, Purpose};
use crate::writer::thread::{Bounds, OWN, SHARED, Thread};
use crate::writer::{Job, JobKind, Work, Write, Writer};
use domain::Timestamp;
use futures::poll;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

#[test]
fn a_job_past_the_time_limit_gets_the_next_transaction() {
    static TICKS: AtomicI64 = AtomicI64::new(0);
    let (mut thread, path) = thread("time");
    thread.clock = || Timestamp::from_millis(TICKS.fetch_add(1, Ordering::Relaxed));
    for (transaction, expected) in [
        (Duration::from_secs(3600), [0, 0, 0]),
        (Duration::ZERO, [1, 2, 3]),
    ] {
        thread.bounds = Bounds {
            time: transaction,
            ..OWN
        };
        let (mut group, mut answers): (Vec<_>, Vec<_>) = (0..3).map(|_| stamping()).unzip();
        thread.commit_group(&mut group);
        assert_eq!(
            answers
                .iter_mut()
                .map(|answer| answer.try_recv().unwrap().unwrap())
                .collect::<Vec<_>>(),
            expected
        );
    }
    drop(std::fs::remove_file(path));
}

/// An acceptance that arrives while the first of three jobs is run is committed before the second one begins.
#[test]
fn an_acceptance_overtakes_the_jobs_that_wait() {
    const FAULTS: Faults = Faults {
        before_commit: "",
        after_commit: "",
        early_answer: None,
    };
    let (mut thread, path) = thread("overtakes");
    let (accept, acceptances) = mpsc::channel(9);
    thread.acceptances = acceptances;
    let (reply, mut accepted) = oneshot::channel();
    let work = |write: &mut Write<'_>| {
        sql("INSERT INTO t (v) VALUES (7)")
            .run(write.connection)
            .map(drop)
    };
    let kind = JobKind::Accept(FAULTS);
    let mut acceptance: Option<Box<dyn Job>> = Some(Box::new(Work {
        kind,
        order: None,
        work,
        result: None,
        reply: Some(reply),
        call: None,
    }));
    let mut other = |number: i64| -> (Box<dyn Job>, oneshot::Receiver<Result<i64, Error>>) {
        let (reply, answer) = oneshot::channel();
        let (accept, mut acceptance) = (accept.clone(), acceptance.take());
        let work = move |write: &mut Write<'_>| {
            let before: Number = sql("SELECT COUNT(*) AS value FROM t WHERE v = 7")
                .first(write.connection)?
                .expect("a count");
            sql("INSERT INTO t (v) VALUES (?)")
                .bind(number)
                .run(write.connection)?;
            if let Some(acceptance) = acceptance.take() {
                assert!(accept.try_send(acceptance).is_ok());
            }
            Ok(before.value)
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
    let (mut group, mut answers): (Vec<_>, Vec<_>) = (1..=3).map(&mut other).unzip();
    thread.commit_group(&mut group);
    let before: Vec<i64> = answers
        .iter_mut()
        .map(|answer| answer.try_recv().unwrap().unwrap())
        .collect();
    assert_eq!(before, [0, 1, 1], "the acceptances that each job found");
    assert!(accepted.try_recv().unwrap().is_ok());
    assert_eq!(stored(&path), [1, 2, 3, 7]);
}

/// Returns an acceptance that sends the next one before it is committed, so that one always waits.
fn endless(number: i64, accept: &mpsc::Sender<Box<dyn Job>>) -> Box<dyn Job> {
    const FAULTS: Faults = Faults {
        before_commit: "",
        after_commit: "",
        early_answer: None,
    };
    const LAST: i64 = 50;
    let accept = accept.clone();
    let work = move |write: &mut Write<'_>| {
        if number < LAST {
            assert!(accept.try_send(endless(number + 1, &accept)).is_ok());
        }
        sql("INSERT INTO t (v) VALUES (?)")
            .bind(number)
            .run(write.connection)
            .map(drop)
    };
    let reply = Some(oneshot::channel().0);
    Box::new(Work {
        kind: JobKind::Accept(FAULTS),
        order: None,
        work,
        result: None,
        reply,
        call: None,
    })
}

#[test]
fn a_job_has_its_turn_while_acceptances_never_end() {
    let (mut thread, path) = thread("turns");
    let (accept, acceptances) = mpsc::channel(9);
    thread.acceptances = acceptances;
    assert!(accept.try_send(endless(1, &accept)).is_ok());
    let (jobs, queue) = mpsc::channel(9);
    let (reply, mut answer) = oneshot::channel::<Result<i64, Error>>();
    let work = |write: &mut Write<'_>| {
        let before: Number = sql("SELECT COUNT(*) AS value FROM t")
            .first(write.connection)?
            .expect("a count");
        Ok(before.value)
    };
    let job = Work {
        kind: JobKind::Other,
        order: None,
        work,
        result: None,
        reply: Some(reply),
        call: None,
    };
    assert!(jobs.try_send(Box::new(job) as Box<dyn Job>).is_ok());
    drop((accept, jobs));
    thread.work(queue);
    let before = answer.try_recv().unwrap().unwrap();
    assert!(before <= 2, "{before} acceptances came before it");
    drop(std::fs::remove_file(path));
}

/// While the writer of an SQLite file is busy, three jobs arrive; an acceptance arrives while the first of them is run.
#[tokio::test]
async fn a_file_has_a_queue_for_acceptances_and_short_transactions() {
    const FAULTS: Faults = Faults {
        before_commit: "",
        after_commit: "",
        early_answer: None,
    };
    let (thread, path) = thread("queues");
    let writer = Writer::start(
        &thread.database,
        thread.connection.unwrap(),
        thread.clock,
        &Waits::default(),
    )
    .unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (begin, begun) = std::sync::mpsc::channel();
    // Each job reports that it begins, and continues when the sender of its channel is dropped.
    let held = |name: &'static str, kind: JobKind| {
        let (order, begin) = (Arc::clone(&order), begin.clone());
        let (release, released) = std::sync::mpsc::channel::<()>();
        let job = writer.write(kind, move |write| {
            begin.send(name).unwrap();
            released.recv().unwrap_err();
            while write.began.elapsed() <= SHARED.time {
                std::hint::spin_loop();
            }
            order.lock().unwrap().push((name, write.is_first));
            Ok(())
        });
        (job, release)
    };
    let (busy, end_of_busy) = held("busy", JobKind::Other);
    let mut busy = pin!(busy);
    assert!(poll!(busy.as_mut()).is_pending());
    assert_eq!(begun.recv().unwrap(), "busy");
    let (one, end_of_one) = held("one", JobKind::Other);
    let ((two, _), (three, _)) = (held("two", JobKind::Other), held("three", JobKind::Other));
    let mut others = pin!(async { tokio::join!(one, two, three) });
    assert!(poll!(others.as_mut()).is_pending());
    drop(end_of_busy);
    assert_eq!(begun.recv().unwrap(), "one");
    let (acceptance, _) = held("acceptance", JobKind::Accept(FAULTS));
    let mut acceptance = pin!(acceptance);
    assert!(poll!(acceptance.as_mut()).is_pending());
    drop(end_of_one);
    let (busy, (one, two, three), acceptance) = tokio::join!(busy, others, acceptance);
    busy.and(one).and(two).and(three).and(acceptance).unwrap();
    let each_is_first = ["busy", "one", "acceptance", "two", "three"].map(|name| (name, true));
    assert_eq!(
        *order.lock().unwrap(),
        each_is_first,
        "in the order in which they were run, each in a transaction of its own"
    );
    drop(std::fs::remove_file(path));
}

#[test]
fn without_a_server_nobody_waits_for_the_others_turns() {
    let database = Database::Postgres("postgres://nobody@127.0.0.1:1/none".to_owned());
    let mut thread = Thread {
        purpose: Purpose::Admin,
        database,
        connection: None,
        clock: Timestamp::default,
        checkpoints: None,
        acceptances: mpsc::channel(1).1,
        bounds: OWN,
        disk: disk(),
        is_limited: false,
        place: WaitNote::new(Step::Code),
        aside: Aside::default(),
    };
    let (job, mut answer) = job(1, 0, passing());
    thread.commit_group(&mut [job]);
    assert!(matches!(
        answer.try_recv().unwrap(),
        Err(Error::Unavailable(_))
    ));
}
