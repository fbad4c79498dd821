//! Database lookups of keys that may be made up. One statement at a time serves all waiting lookups, so a flood of
//! unknown keys occupies one connection, and a valid key waits for two statements at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Maximum number of keys in one statement.
const AT_ONCE: usize = 1000;

/// Lookups of one kind of key.
pub struct Lookups<V, E>(Arc<Mutex<Queue<V, E>>>);

struct Queue<V, E> {
    waiting: Vec<Waiting<V, E>>,
    /// Whether a task is serving the queue.
    is_answered: bool,
}

struct Waiting<V, E> {
    key: String,
    answer: oneshot::Sender<Result<V, E>>,
}

/// Result for several keys that shared a query.
pub struct Found<V, E> {
    pub values: HashMap<String, V>,
    /// Result for keys without a value.
    pub otherwise: E,
}

/// The task that serves the queue. If it panics, waiting callers get no result.
struct Turn<V, E>(Arc<Mutex<Queue<V, E>>>);

impl<V, E> Default for Lookups<V, E> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Queue {
            waiting: Vec::new(),
            is_answered: false,
        })))
    }
}

impl<V, E> std::fmt::Debug for Lookups<V, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookups")
            .field("waiting", &locked(&self.0).waiting.len())
            .finish_non_exhaustive()
    }
}

impl<V, E> Lookups<V, E>
where
    V: Clone + Send + 'static,
    E: Clone + Send + 'static,
{
    /// Returns the value of a key, read after this call began; `None` if the task fails. `read` looks up several keys
    /// at once.
    pub async fn find<R, F>(&self, key: &str, read: R) -> Option<Result<V, E>>
    where
        R: Fn(Vec<String>) -> F + Send + 'static,
        F: Future<Output = Result<Found<V, E>, E>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut queue = locked(&self.0);
            queue.waiting.push(Waiting {
                key: key.to_owned(),
                answer,
            });
            !std::mem::replace(&mut queue.is_answered, true)
        };
        if is_first {
            tokio::spawn(answer_all(Turn(self.0.clone()), read));
        }
        answered.await.ok()
    }
}

async fn answer_all<V, E, R, F>(turn: Turn<V, E>, read: R)
where
    V: Clone,
    E: Clone,
    R: Fn(Vec<String>) -> F,
    F: Future<Output = Result<Found<V, E>, E>>,
{
    while let Some(batch) = turn.next() {
        let mut keys: Vec<String> = batch.iter().map(|waiting| waiting.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let found = read(keys).await;
        for Waiting { key, answer } in batch {
            let result = match &found {
                Ok(found) => found
                    .values
                    .get(&key)
                    .cloned()
                    .ok_or_else(|| found.otherwise.clone()),
                Err(error) => Err(error.clone()),
            };
            // The caller may be gone.
            let _ = answer.send(result);
        }
    }
}

impl<V, E> Turn<V, E> {
    /// Returns the next lookups; `None` if there are none, after which the task ends.
    fn next(&self) -> Option<Vec<Waiting<V, E>>> {
        let mut queue = locked(&self.0);
        // Lookups of clients that disconnected need no result.
        queue.waiting.retain(|waiting| !waiting.answer.is_closed());
        queue.is_answered = !queue.waiting.is_empty();
        let count = queue.waiting.len().min(AT_ONCE);
        queue
            .is_answered
            .then(|| queue.waiting.drain(..count).collect())
    }
}

impl<V, E> Drop for Turn<V, E> {
    fn drop(&mut self) {
        // Another task may have started since this one ended normally.
        if std::thread::panicking() {
            let mut queue = locked(&self.0);
            queue.waiting.clear();
            queue.is_answered = false;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::{join, join_all};
    use tokio::sync::Semaphore;

    /// Looks up keys when a gate opens, and records the batches. Even numbers have a value.
    #[derive(Default)]
    struct GatedTable {
        batches: Mutex<Vec<usize>>,
    }

    fn gated(
        table: &Arc<GatedTable>,
        gate: &Arc<Semaphore>,
    ) -> impl Fn(
        Vec<String>,
    ) -> futures::future::BoxFuture<
        'static,
        Result<Found<usize, &'static str>, &'static str>,
    > + Send
    + 'static {
        let (table, gate) = (table.clone(), gate.clone());
        move |keys| {
            let (table, gate) = (table.clone(), gate.clone());
            Box::pin(async move {
                locked(&table.batches).push(keys.len());
                gate.acquire().await.expect("an open gate").forget();
                let values = keys.into_iter().filter_map(|key| {
                    let number = key
                        .parse()
                        .ok()
                        .filter(|number: &usize| number.is_multiple_of(2))?;
                    Some((key, number))
                });
                Ok(Found {
                    values: values.collect(),
                    otherwise: "unknown",
                })
            })
        }
    }

    #[tokio::test]
    async fn keys_that_wait_share_a_query() {
        let (table, gate) = (Arc::new(GatedTable::default()), Arc::new(Semaphore::new(0)));
        let lookups = Lookups::default();
        let find = |number: usize| {
            let read = gated(&table, &gate);
            let lookups = &lookups;
            async move { lookups.find(&number.to_string(), read).await }
        };
        // Each number occurs twice: a key is looked up once for all callers that wait for it.
        let all = join_all((0..1200).chain(0..1200).map(find));
        let open = async {
            while locked(&table.batches).is_empty() {
                tokio::task::yield_now().await;
            }
            gate.add_permits(10);
        };
        let (answers, ()) = join(all, open).await;
        for (index, answer) in answers.into_iter().enumerate() {
            let number = index % 1200;
            let expected = if number.is_multiple_of(2) {
                Ok(number)
            } else {
                Err("unknown")
            };
            assert_eq!(answer, Some(expected), "{number}");
        }
        let batches = locked(&table.batches).clone();
        assert!(
            batches.len() <= 4 && batches.iter().all(|keys| *keys <= AT_ONCE),
            "{batches:?}"
        );
        assert_eq!(
            find(4).await,
            Some(Ok(4)),
            "a new task answers when one has ended"
        );
    }

    fn fault() -> &'static str {
        panic!("a fault")
    }

    #[tokio::test]
    async fn a_failure_is_the_answer_to_all_and_a_panic_to_none() {
        let lookups = Lookups::<(), &str>::default();
        let failing = || lookups.find("a", |_| async { Err("down") });
        assert_eq!(
            join_all([failing(), failing()]).await,
            [Some(Err("down")); 2]
        );
        let panicking = || lookups.find("a", |_| async { Err(fault()) });
        assert_eq!(join_all([panicking(), panicking()]).await, [None; 2]);
        assert_eq!(
            failing().await,
            Some(Err("down")),
            "the next one is answered"
        );
    }
}
