//! Limits on a caller's concurrent reads. There are few connections for reads, and one caller's slow lists must not
//! block other callers. Each read of a request takes a turn, whatever the request's method, because previews and dry
//! runs use POST. A read without a free turn waits. A caller with too many waiting requests is refused further ones
//! that only read.

use crate::error::Error;
use const_format::formatcp;
use domain::{AppId, KeyId, SignInId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::taking_turns;
use tokio::sync::Semaphore;

/// Maximum number of concurrent reads: of one key or sign-in, and of all that can access only one particular app.
/// Storage has six connections for reads.
const MAX_PER_CALLER: usize = 2;
const MAX_PER_APP: usize = 4;
/// Maximum number of waiting requests of each reader.
const MAX_QUEUED: usize = 32;
/// Time after which a refused caller may try again: the statement of a list takes at most two seconds on SQLite.
const NEXT_AFTER: Duration = Duration::from_secs(2);

/// A group of reads that are counted together. The admin token's reads are not counted, because it is the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reader {
    SignIn(SignInId),
    Key(KeyId),
    /// All keys and sign-ins that can access only this app.
    App(AppId),
}

impl Reader {
    const fn places(self) -> usize {
        match self {
            Self::SignIn(_) | Self::Key(_) => MAX_PER_CALLER,
            Self::App(_) => MAX_PER_APP,
        }
    }

    const fn shown(self) -> &'static str {
        match self {
            Self::SignIn(_) => formatcp!("this sign-in ({MAX_QUEUED} reads wait)"),
            Self::Key(_) => formatcp!("this key ({MAX_QUEUED} reads wait)"),
            Self::App(_) => formatcp!("this app ({MAX_QUEUED} reads of its keys wait)"),
        }
    }
}

/// A reader's turns, and one handle for each of its requests that only read.
#[derive(Debug)]
struct Places {
    turns: Arc<Semaphore>,
    requests: Arc<()>,
}

impl Places {
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.turns) > 1
    }
}

/// Readers that have current requests or reads.
#[derive(Debug, Default)]
pub struct Reads(Mutex<HashMap<Reader, Places>>);

/// A request's share in its readers' turns. Dropping it ends the request, but not a running read.
#[derive(Debug, Default)]
pub struct Turns {
    of_readers: Vec<Arc<Semaphore>>,
    requests: Vec<Arc<()>>,
}

impl Turns {
    /// Runs the request's work. Each read in it waits for a turn of each reader.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> T {
        let Self {
            of_readers,
            requests,
        } = self;
        let done = taking_turns(of_readers, work).await;
        drop(requests);
        done
    }
}

impl Reads {
    /// Adds a request that only reads.
    ///
    /// # Errors
    /// 429 if one of the readers has too many waiting requests.
    pub fn enter(&self, readers: impl IntoIterator<Item = Reader>) -> Result<Turns, Error> {
        let mut turns = Turns::default();
        for reader in readers {
            self.with(reader, |places| {
                // The map itself has one handle.
                if Arc::strong_count(&places.requests) > reader.places() + MAX_QUEUED {
                    return Err(Error::TooMany {
                        what: reader.shown(),
                        wait: NEXT_AFTER,
                    });
                }
                turns.requests.push(Arc::clone(&places.requests));
                turns.of_readers.push(Arc::clone(&places.turns));
                Ok(())
            })?;
        }
        Ok(turns)
    }

    /// Adds a request that may change something. It is never refused, but its reads wait for turns too.
    pub fn enter_change(&self, readers: impl IntoIterator<Item = Reader>) -> Turns {
        Turns {
            of_readers: readers
                .into_iter()
                .map(|reader| self.turns(reader))
                .collect(),
            requests: Vec::new(),
        }
    }

    /// Returns the semaphore of a reader's turns.
    pub fn turns(&self, reader: Reader) -> Arc<Semaphore> {
        self.with(reader, |places| Arc::clone(&places.turns))
    }

    fn with<T>(&self, reader: Reader, work: impl FnOnce(&Places) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, places| places.is_used());
        let new = || Places {
            turns: Arc::new(Semaphore::new(reader.places())),
            requests: Arc::default(),
        };
        work(all.entry(reader).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_PER_APP, MAX_PER_CALLER, MAX_QUEUED, Reader, Reads};
    use domain::{AppId, KeyId};
    use std::sync::Arc;
    use uuid::Uuid;

    fn key(number: u128) -> Reader {
        Reader::Key(KeyId::new(Uuid::from_u128(number)))
    }

    fn app() -> Reader {
        Reader::App(AppId::new(Uuid::from_u128(9)))
    }

    #[test]
    fn requests_of_a_key_share_two_turns_and_those_of_an_app_four() {
        let reads = Reads::default();
        let (first, change) = (
            reads.enter([key(1), app()]).expect("a place"),
            reads.enter_change([key(1), app()]),
        );
        let other = reads.enter([key(2), app()]).expect("a place");
        assert!(
            first
                .of_readers
                .iter()
                .zip(&change.of_readers)
                .all(|(one, other)| Arc::ptr_eq(one, other))
        );
        assert!(
            !Arc::ptr_eq(&first.of_readers[0], &other.of_readers[0])
                && Arc::ptr_eq(&first.of_readers[1], &other.of_readers[1])
        );
        assert_eq!(
            other
                .of_readers
                .iter()
                .map(|one| one.available_permits())
                .collect::<Vec<_>>(),
            [MAX_PER_CALLER, MAX_PER_APP]
        );
    }

    #[test]
    fn a_read_has_its_turn_after_its_request() {
        let reads = Reads::default();
        let request = reads.enter([key(1)]).expect("a place");
        let read = Arc::clone(&request.of_readers[0])
            .try_acquire_owned()
            .expect("a turn");
        drop(request);
        assert_eq!(
            reads.turns(key(1)).available_permits(),
            MAX_PER_CALLER - 1,
            "it is under way"
        );
        drop(read);
        assert_eq!(reads.turns(key(1)).available_permits(), MAX_PER_CALLER);
    }

    #[test]
    fn a_key_with_many_waiting_requests_is_refused_the_next_one() {
        let reads = Reads::default();
        let enter = || reads.enter([key(1)]);
        let all: Vec<_> = (0..MAX_PER_CALLER + MAX_QUEUED)
            .map(|_| enter().expect("a place"))
            .collect();
        assert!(enter().is_err() && reads.enter([key(2)]).is_ok());
        let change = reads.enter_change([key(1)]);
        assert!(
            Arc::ptr_eq(&change.of_readers[0], &all[0].of_readers[0]),
            "a change waits for its turns all the same"
        );
        drop(all);
        assert!(enter().is_ok(), "all have ended");
    }
}
