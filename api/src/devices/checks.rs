//! Where device request bodies are parsed and checked. A large body takes milliseconds of CPU time and requires no
//! authentication, so only a few are checked at a time, on threads other than those that respond to stores.

use crate::error::Error;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Maximum size of a body that is checked immediately, in bytes.
const SMALL_BYTES: usize = 64 * 1024;
/// Maximum number of larger bodies that are checked concurrently; others wait.
const AT_ONCE: usize = 2;

#[derive(Debug)]
pub struct Checks {
    turns: Arc<Semaphore>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Checks {
    /// Runs the check of a body with this size.
    ///
    /// # Errors
    /// The error of the check.
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        check: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if bytes <= SMALL_BYTES {
            return check();
        }
        let turn = self
            .turns
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::Internal)?;
        let checked = spawn_blocking(move || {
            // A check continues when its request has ended, so it must keep its permit.
            let _turn = turn;
            check()
        });
        checked.await.map_err(|_| Error::Internal)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::{join, join_all};
    use std::sync::{Barrier, Mutex};
    use std::thread;

    #[tokio::test]
    async fn large_bodies_are_checked_beside_the_runtime_two_at_once() {
        let (checks, begin) = (Checks::default(), Arc::new(Barrier::new(AT_ONCE)));
        // The number of running checks, and its maximum.
        let running = Arc::new(Mutex::new((0, 0)));
        let all = (0..4 * AT_ONCE).map(|_| {
            let (begin, running) = (begin.clone(), running.clone());
            checks.run(SMALL_BYTES + 1, move || {
                let mut now = running.lock().expect("no check panics");
                *now = (now.0 + 1, now.1.max(now.0 + 1));
                drop(now);
                // Waits until another check is running.
                begin.wait();
                running.lock().expect("no check panics").0 -= 1;
                Ok(thread::current().id())
            })
        });
        let small = checks.run(SMALL_BYTES, || Ok(thread::current().id()));
        let (threads, small) = join(join_all(all), small).await;
        let here = thread::current().id();
        assert_eq!(small.ok(), Some(here));
        assert!(
            threads
                .into_iter()
                .all(|thread| thread.is_ok_and(|thread| thread != here))
        );
        assert_eq!(*running.lock().expect("no check panics"), (0, AT_ONCE));
    }
}
