//! Tests of many items in one write.

use super::{job, passing, stored, thread};
use crate::error::Error;
use crate::statement::sql;
use crate::writer::thread::MAX_GROUP_JOBS;
use crate::writer::{Batch, Job, JobKind, Write};
use tokio::sync::oneshot;

type Counts = Result<Vec<usize>, Error>;

/// A value that cannot be inserted because another process holds a lock.
const STUCK: i64 = -99;

/// Inserts values together, and returns their number for each. Fails permanently on a negative value, and with a
/// transient error on [`STUCK`].
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
