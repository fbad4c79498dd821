//! Tests of the grouping writer, nearly all without its thread.

use super::aside::Aside;
use super::job::Reply;
use super::order::Order;
use super::purpose::{Faults, Purpose};
use super::thread::{Bounds, MAX_GROUP_JOBS, MAX_UNDONE, OWN, SHARED, Thread};
use super::{Batch, Job, JobKind, Work, Write, Writer};
use crate::db::config::Database;
use crate::db::connection::AnyConnection;
use crate::db::disk::Disk;
use crate::db::error::Error;
use crate::db::statement::{Number, sql};
use crate::db::waits::{Step, WaitNote, Waits};
use diesel::result::{DatabaseErrorKind, Error::DatabaseError};
use domain::Timestamp;
use futures::poll;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The thread's state, with a connection to a file with a table `t`, and the file's path.
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

/// A job that inserts `value` after this number of failures.
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

/// A job that returns the time of its transaction.
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

/// An acceptance that comes while the first of three jobs is run is committed before the second one begins.
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

/// Each acceptance sends the next one before it is committed, so that one always waits.
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

/// While the writer of a file is busy, three jobs come; an acceptance comes while the first of them is run.
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
    // Each says that it begins, and goes on when the sender of its channel is dropped.
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

type Counts = Result<Vec<usize>, Error>;

/// A value whose row another process locks.
const STUCK: i64 = -99;

/// Inserts values together, fails on a negative one, for a while on [`STUCK`], and returns for each how many there were.
fn insert(write: &mut Write<'_>, values: &[&i64]) -> Counts {
    for value in values {
        sql("INSERT INTO t (v) VALUES (?)")
            .bind(**value)
            .run(write.connection)?;
    }
    if values.iter().any(|value| **value == STUCK) {
        Err(passing())
    } else if values.iter().any(|value| **value < 0) {
        Err(Error::Missing { what: "value" })
    } else {
        Ok(vec![values.len(); values.len()])
    }
}

fn batch(items: &[i64]) -> (Box<dyn Job>, oneshot::Receiver<Counts>) {
    let (reply, answer) = oneshot::channel();
    let items = items.to_vec();
    (
        Box::new(Batch {
            kind: JobKind::Other,
            weight: items.len(),
            items,
            work: insert,
            result: None,
            reply: Some(reply),
            call: None,
        }),
        answer,
    )
}

#[test]
fn items_are_written_in_one_go_unless_one_cannot_be_stored() {
    for (last, expected, left) in [
        (4, [Some(vec![4; 2]), Some(vec![4; 2])], vec![1, 2, 3, 4, 9]),
        (-4, [Some(vec![2; 2]), None], vec![1, 2, 9]),
    ] {
        let (mut thread, path) = thread("batch");
        let ((first, mut a), (other, mut b), (second, mut c)) =
            (batch(&[1, 2]), job(9, 0, passing()), batch(&[3, last]));
        thread.commit_group(&mut [first, other, second]);
        assert_eq!(
            [a.try_recv().unwrap().ok(), c.try_recv().unwrap().ok()],
            expected
        );
        assert_eq!(b.try_recv().unwrap().unwrap(), 9);
        assert_eq!(stored(&path), left);
    }
}

#[test]
fn items_that_are_stuck_cost_no_other_item_its_write() {
    let count = i64::try_from(MAX_GROUP_JOBS).unwrap();
    for stuck in [0, 1, 341, 512, 682, count - 2, count - 1] {
        let (mut thread, path) = thread(&format!("stuck-{stuck}"));
        let value = |number: i64| if number == stuck { STUCK } else { number };
        let (mut group, mut answers): (Vec<_>, Vec<_>) =
            (0..count).map(|number| batch(&[value(number)])).unzip();
        thread.commit_group(&mut group);
        let answer = answers
            .remove(usize::try_from(stuck).unwrap())
            .try_recv()
            .unwrap();
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
        assert!(
            answers
                .iter_mut()
                .all(|answer| answer.try_recv().unwrap().is_ok()),
            "{stuck}"
        );
        assert_eq!(
            stored(&path),
            (0..count)
                .filter(|number| *number != stuck)
                .collect::<Vec<_>>(),
            "each once"
        );
    }
}

/// A job that panics whenever it is run.
fn panicking() -> (Box<dyn Job>, oneshot::Receiver<Result<i64, Error>>) {
    let (reply, answer) = oneshot::channel();
    let work = |write: &mut Write<'_>| -> Result<i64, Error> {
        sql("INSERT INTO t (v) VALUES (-1)").run(write.connection)?;
        panic!("a bug in a job")
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

#[test]
fn a_job_that_panics_fails_alone() {
    let (mut thread, path) = thread("panic");
    let (mut group, mut answers): (Vec<_>, Vec<_>) =
        [job(1, 0, passing()), panicking(), job(3, 0, passing())]
            .into_iter()
            .unzip();
    thread.commit_group(&mut group);
    let (after, answer) = job(4, 0, passing());
    answers.push(answer);
    thread.commit_group(&mut [after]);
    let succeeded: Vec<_> = answers
        .iter_mut()
        .map(|answer| answer.try_recv().unwrap().is_ok())
        .collect();
    assert_eq!(succeeded, [true, false, true, true]);
    assert_eq!(stored(&path), [1, 3, 4]);
}

/// A job that panics before it is in a transaction.
struct Broken(Option<Reply<()>>);

impl Job for Broken {
    fn kind(&self) -> JobKind {
        panic!("a bug beside the jobs")
    }

    fn order(&self) -> Option<&Order> {
        None
    }

    fn order_mut(&mut self) -> Option<&mut Order> {
        None
    }

    fn is_awaited(&self) -> bool {
        self.0.is_some()
    }

    fn items(&self) -> usize {
        0
    }

    fn run(&mut self, _: &mut Write<'_>, _: &mut [&mut dyn Job]) -> Result<(), Error> {
        Ok(())
    }

    fn answer(&mut self, error: Option<Error>) {
        let Some(reply) = self.0.take() else { return };
        drop(reply.send(error.map_or(Ok(()), Err)));
    }
}

#[test]
fn a_thread_outlives_a_panic_and_answers_all_its_callers() {
    let (thread, path) = thread("outlives");
    let (queue, jobs) = mpsc::channel(9);
    let (reply, broken) = oneshot::channel();
    let (beside, mut besides) = job(1, 0, passing());
    let first: Box<dyn Job> = Box::new(Broken(Some(reply)));
    for job in [first, beside] {
        queue.blocking_send(job).unwrap();
    }
    let working = std::thread::spawn(move || thread.work(jobs));
    assert!(matches!(
        broken.blocking_recv().unwrap(),
        Err(Error::Unavailable(_))
    ));
    let (after, answer) = job(2, 0, passing());
    assert!(queue.blocking_send(after).is_ok(), "the thread lives on");
    assert_eq!(answer.blocking_recv().unwrap().unwrap(), 2);
    assert!(
        matches!(besides.try_recv().unwrap(), Err(Error::Unavailable(_))),
        "of the same group"
    );
    drop(queue);
    working.join().unwrap();
    assert_eq!(stored(&path), [2]);
}
