//! Tests of jobs that panic.

use super::{job, passing, stored, thread};
use crate::error::Error;
use crate::statement::sql;
use crate::writer::job::Reply;
use crate::writer::order::Order;
use crate::writer::{Job, JobKind, Work, Write};
use tokio::sync::{mpsc, oneshot};

/// Returns a job that panics whenever it is run.
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

/// A job that panics before its transaction begins.
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
