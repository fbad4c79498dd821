//! Data that all open pages share is read once after each change, not once for each page.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long something may be shown again: what changes with time alone must not stand still.
const LASTS: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct CachedValue<T> {
    /// When the reading began: what was stored before is in it.
    began: Instant,
    /// The marks of what was stored then, by which a page gets a tick for what changed since.
    pub marks: String,
    pub value: T,
}

impl<T> CachedValue<T> {
    /// Returns whether it contains all changes until `changed_at` and is recent. `None`: changes are not being watched.
    fn is_current(&self, changed_at: Option<Instant>, now: Instant, lasts: Duration) -> bool {
        changed_at.is_some_and(|changed_at| self.began >= changed_at)
            && now.duration_since(self.began) < lasts
    }
}

/// Recently read data by its subject.
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
    /// What was read about `key` since the last change, which was seen at `changed_at`, or what `read` returns now,
    /// with the marks of before. Others wait for it in the meantime, and share it.
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

    /// What `of` returns for a key, when `value` is stored.
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
        // However slow the machine is, nothing grows old in the meantime.
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
