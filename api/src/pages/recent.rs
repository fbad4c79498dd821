//! Data that all open pages share is read once after each change, not once per page.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long data may be reused: values that change with time alone must not become outdated.
const LASTS: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct CachedValue<T> {
    /// Time when the read began. It includes everything stored before.
    began: Instant,
    /// The marks of the state that was read. A page is notified of changes after them.
    pub marks: String,
    pub value: T,
}

impl<T> CachedValue<T> {
    /// Returns whether the value includes all changes until `changed_at` and is recent. `changed_at` is `None` while
    /// changes are not being watched.
    fn is_current(&self, changed_at: Option<Instant>, now: Instant, lasts: Duration) -> bool {
        changed_at.is_some_and(|changed_at| self.began >= changed_at)
            && now.duration_since(self.began) < lasts
    }
}

/// Recently read data, by key.
#[derive(Debug)]
pub struct Recent<K, T> {
    found: Mutex<HashMap<K, Arc<CachedValue<T>>>>,
    lasts: Duration,
}

impl<K, T> Default for Recent<K, T> {
    fn default() -> Self {
        Self {
            found: Mutex::default(),
            lasts: LASTS,
        }
    }
}

impl<K: Eq + Hash, T> Recent<K, T> {
    /// Returns the data about `key` that was read since the last change, which was seen at `changed_at`; otherwise what
    /// `read` returns now, with the marks from before the read. Concurrent calls wait for that read and share it.
    ///
    /// # Errors
    /// That of `read`; nothing is stored then.
    pub async fn of<E>(
        &self,
        key: K,
        changed_at: impl Fn() -> Option<Instant> + Send,
        read: impl AsyncFnOnce() -> Result<(String, T), E>,
    ) -> Result<Arc<CachedValue<T>>, E> {
        let mut all = self.found.lock().await;
        let began = Instant::now();
        let changed_at = changed_at();
        all.retain(|_, found| found.is_current(changed_at, began, self.lasts));
        if let Some(found) = all.get(&key) {
            return Ok(Arc::clone(found));
        }
        let (marks, value) = read().await?;
        let found = Arc::new(CachedValue {
            began,
            marks,
            value,
        });
        all.insert(key, Arc::clone(&found));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what `of` returns for a key while `value` is stored.
    async fn read(recent: &Recent<u8, u8>, key: u8, changed_at: Option<Instant>, value: u8) -> u8 {
        let found = recent
            .of(
                key,
                || changed_at,
                async || Ok::<_, ()>((String::new(), value)),
            )
            .await;
        found.expect("it was read").value
    }

    #[tokio::test]
    async fn what_was_read_is_shown_until_something_changes() {
        // With this, no value becomes outdated, however slow the machine is.
        let recent = Recent {
            lasts: Duration::MAX,
            ..Recent::default()
        };
        let before = Instant::now();
        assert_eq!(read(&recent, 1, Some(before), 1).await, 1);
        assert_eq!(
            read(&recent, 1, Some(before), 2).await,
            1,
            "nothing changed"
        );
        assert_eq!(
            read(&recent, 2, Some(before), 3).await,
            3,
            "it is about something else"
        );
        assert_eq!(
            read(&recent, 1, Some(Instant::now()), 4).await,
            4,
            "something changed"
        );
        assert_eq!(read(&recent, 1, None, 5).await, 5, "nobody watches");
        recent
            .of(1, || None, async || Err::<(String, u8), _>(()))
            .await
            .expect_err("nothing can be read");
        assert_eq!(read(&recent, 1, Some(before), 6).await, 6);
    }

    #[test]
    fn what_was_read_grows_old() {
        let began = Instant::now();
        let found = CachedValue {
            began,
            marks: String::new(),
            value: (),
        };
        assert!(found.is_current(Some(began), began + LASTS / 2, LASTS));
        assert!(!found.is_current(Some(began), began + LASTS, LASTS));
        assert!(!found.is_current(Some(began + LASTS / 4), began + LASTS / 2, LASTS));
    }
}
