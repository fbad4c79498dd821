//! How many reads of a caller are under way at once: the connections that read are few, and one caller's slow lists leave
//! those of others their turn. One more read waits for its turn; a caller that has many waiting is refused the next.

use crate::error::Error;
use domain::{AppId, KeyId, SignInId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of reads under way of one key or sign-in, and of all that reach one app only. Storage has six
/// connections for them.
const OF_ONE: usize = 2;
const OF_APP: usize = 4;
/// Maximum number of reads of each that wait.
const WAITING: usize = 32;
/// When a caller that has too many waiting may send the next one: a statement takes at most two seconds.
const NEXT_AFTER: Duration = Duration::from_secs(2);

/// Whose reads are counted together. The admin token's are not counted: it is the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reader {
    SignIn(SignInId),
    Key(KeyId),
    /// All keys and sign-ins that reach this app only.
    App(AppId),
}

impl Reader {
    const fn places(self) -> usize {
        match self {
            Self::SignIn(_) | Self::Key(_) => OF_ONE,
            Self::App(_) => OF_APP,
        }
    }

    const fn shown(self) -> &'static str {
        match self {
            Self::SignIn(_) => "this sign-in (32 reads wait)",
            Self::Key(_) => "this key (32 reads wait)",
            Self::App(_) => "this app (32 reads of its keys wait)",
        }
    }
}

/// The readers that have reads under way or waiting. Each of these reads holds a handle.
#[derive(Debug, Default)]
pub struct Reads(Mutex<HashMap<Reader, Arc<Semaphore>>>);

impl Reads {
    /// Waits for a turn of each of these readers, in their order. Dropping what is returned ends the read.
    ///
    /// # Errors
    /// 429 if too many reads of one of them wait.
    pub async fn enter(&self, readers: impl IntoIterator<Item = Reader>) -> Result<Vec<OwnedSemaphorePermit>, Error> {
        let mut entered = Vec::new();
        for reader in readers {
            let places = self.places(reader)?;
            entered.push(places.acquire_owned().await.map_err(|_| Error::Internal)?);
        }
        Ok(entered)
    }

    fn places(&self, reader: Reader) -> Result<Arc<Semaphore>, Error> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, places| Arc::strong_count(places) > 1);
        let places = all.entry(reader).or_insert_with(|| Arc::new(Semaphore::new(reader.places())));
        // One handle is that of the map.
        if Arc::strong_count(places) > reader.places() + WAITING {
            return Err(Error::TooMany { what: reader.shown(), wait: NEXT_AFTER });
        }
        Ok(Arc::clone(places))
    }
}

#[cfg(test)]
mod tests {
    use super::{OF_APP, OF_ONE, Reader, Reads, WAITING};
    use domain::{AppId, KeyId};
    use futures::FutureExt as _;
    use uuid::Uuid;

    fn key(number: u128) -> Reader {
        Reader::Key(KeyId::new(Uuid::from_u128(number)))
    }

    #[tokio::test]
    async fn a_key_has_two_reads_under_way_and_the_next_one_waits() {
        let reads = Reads::default();
        let first = reads.enter([key(1)]).await.expect("a place");
        let _second = reads.enter([key(1)]).await.expect("a place");
        let mut third = Box::pin(reads.enter([key(1)]));
        assert!((&mut third).now_or_never().is_none(), "two are under way");
        assert!(reads.enter([key(2)]).now_or_never().is_some(), "another key does not wait");
        drop(first);
        assert!(third.now_or_never().is_some_and(|third| third.is_ok()), "one has ended");
    }

    #[tokio::test]
    async fn the_keys_of_an_app_have_four_reads_under_way() {
        let (reads, app) = (Reads::default(), Reader::App(AppId::new(Uuid::from_u128(9))));
        let mut under_way = Vec::new();
        for number in 0..8 {
            under_way.extend(reads.enter([key(number), app]).now_or_never());
        }
        assert_eq!(under_way.len(), OF_APP);
    }

    #[tokio::test]
    async fn a_key_with_many_waiting_reads_is_refused_the_next_one() {
        let reads = Reads::default();
        let mut all: Vec<_> = (0..OF_ONE + WAITING).map(|_| Box::pin(reads.enter([key(1)]))).collect();
        let under_way: Vec<_> = all.iter_mut().filter_map(|read| read.now_or_never()).collect();
        assert_eq!(under_way.len(), OF_ONE);
        assert!(matches!(reads.enter([key(1)]).now_or_never(), Some(Err(_))), "it does not wait");
        drop((all, under_way));
        assert!(matches!(reads.enter([key(1)]).now_or_never(), Some(Ok(_))), "all have ended");
    }
}
