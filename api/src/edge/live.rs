//! Changes of stored data, for all open streams of the process. One task reads them while there are listeners.

use crate::error::Error;
use domain::{AppId, KeyId, SignInId};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::{LatestChanges, Store, chain};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Time between two reads of the tables, which serve all listeners.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of open streams: of one key or sign-in, of all keys and sign-ins of one app, and in total.
const OF_ONE: usize = 4;
const OF_APP: usize = 16;
const OF_ALL: usize = 64;
/// Time after which a refused client may try again: by then, one of its streams has probably ended.
const NEXT_AFTER: Duration = Duration::from_secs(15);

/// Number of bytes of a mark, so that two states hardly ever have the same mark.
const MARK_BYTES: usize = 4;

/// State that a client has seen: for each kind of row, an opaque hash that changes with the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks(Vec<(&'static str, String)>);

impl Marks {
    /// Returns the marks of the latest changes.
    pub fn of(latest: &LatestChanges) -> Self {
        let mark = |values: &[Option<i64>; 3]| {
            let hash = digest(&SHA256, format!("{values:?}").as_bytes());
            storage::hex(hash.as_ref().get(..MARK_BYTES).unwrap_or_default())
        };
        Self(
            latest
                .kinds()
                .iter()
                .map(|(kind, values)| (*kind, mark(values)))
                .collect(),
        )
    }

    /// Parses marks; `None` if the text has another format.
    pub fn parse(text: &str) -> Option<Self> {
        let kinds = LatestChanges::default().kinds();
        let marks: Vec<&str> = text.split('.').collect();
        let all = kinds
            .iter()
            .zip(&marks)
            .map(|((kind, _), mark)| (*kind, (*mark).to_owned()));
        (marks.len() == kinds.len()).then(|| Self(all.collect()))
    }

    pub fn text(&self) -> String {
        self.0
            .iter()
            .map(|(_, mark)| mark.as_str())
            .collect::<Vec<_>>()
            .join(".")
    }

    /// Returns the kinds of resources that changed since earlier marks.
    pub fn changed_since(&self, before: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&before.0);
        pairs
            .filter_map(|((kind, mark), (_, known))| (mark != known).then_some(*kind))
            .collect()
    }
}

/// Changes of stored data, for all streams of this process.
#[derive(Debug, Clone)]
pub struct Live(Arc<LiveState>);

#[derive(Debug)]
struct LiveState {
    latest: watch::Sender<Option<LatestChanges>>,
    stopped: watch::Sender<bool>,
    /// Whether a task is reading the tables.
    is_read: Mutex<bool>,
    /// When that task last saw a change; `None` while there is no such task.
    changed_at: Mutex<Option<Instant>>,
    /// Number of open streams of each holder.
    open: Mutex<HashMap<Holder, usize>>,
}

/// Holder of a stream: a sign-in or a key; if neither is set, the admin token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The only app that the holder can access; `None` for all apps.
    pub app: Option<AppId>,
    pub sign_in: Option<SignInId>,
    pub key: Option<KeyId>,
}

/// Slot of an open stream, which is freed on drop.
#[derive(Debug)]
pub struct OpenStream {
    live: Live,
    holder: Holder,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.live.open();
        if let Some(count) = open.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.holder);
            }
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        let (latest, stopped) = (watch::Sender::new(None), watch::Sender::new(false));
        let (is_read, changed_at, open) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(LiveState {
            latest,
            stopped,
            is_read,
            changed_at,
            open,
        }))
    }
}

impl Live {
    /// Ends all streams because the process is stopping.
    pub fn stop(&self) {
        self.0.stopped.send_replace(true);
    }

    /// Returns when the last change was seen. Data that is read later already includes it. `None` if there are no
    /// listeners, because changes are not watched then.
    pub fn changed_at(&self) -> Option<Instant> {
        *self
            .0
            .changed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a slot for a stream, unless the holder, the holder's app or all holders together already have the
    /// maximum.
    ///
    /// # Errors
    /// 429 if there are too many streams.
    pub fn slot(&self, holder: Holder) -> Result<OpenStream, Error> {
        let mut open = self.open();
        let of_app = |app| {
            open.iter()
                .filter(|(other, _)| other.app == Some(app))
                .map(|(_, count)| count)
                .sum()
        };
        let of_app: usize = holder.app.map_or(0, of_app);
        let what = match (
            open.get(&holder).copied().unwrap_or(0),
            of_app,
            open.values().sum::<usize>(),
        ) {
            (OF_ONE.., ..) => "this key or sign-in (4 streams are open)",
            (_, OF_APP.., _) => "the keys and sign-ins of this app (16 streams are open)",
            (.., OF_ALL..) => "the service (64 streams are open)",
            _ => {
                *open.entry(holder).or_default() += 1;
                return Ok(OpenStream {
                    live: self.clone(),
                    holder,
                });
            }
        };
        Err(Error::TooMany {
            what,
            wait: NEXT_AFTER,
        })
    }

    /// Returns receivers for the changes from now on and for the end of all streams, and starts the reading task if
    /// needed.
    pub fn listen(
        &self,
        store: &Store,
    ) -> (
        watch::Receiver<Option<LatestChanges>>,
        watch::Receiver<bool>,
    ) {
        let receivers = (self.0.latest.subscribe(), self.0.stopped.subscribe());
        self.read(store.clone());
        receivers
    }

    /// Starts a task that reads the tables while there are listeners, unless one is running.
    fn read(&self, store: Store) {
        let mut is_read = self
            .0
            .is_read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *is_read, true) {
            return;
        }
        let live = self.clone();
        tokio::spawn(async move {
            while live.is_wanted() {
                match store.latest_changes().await {
                    Ok(latest) => live.saw(latest),
                    Err(error) => {
                        tracing::debug!(error = chain(&error), "what changed could not be read")
                    }
                }
                sleep(EVERY).await;
            }
        });
    }

    /// Records the time of a change before announcing it, so that a reader that reacts to it reads again.
    fn saw(&self, latest: LatestChanges) {
        if *self.0.latest.borrow() != Some(latest) || self.changed_at().is_none() {
            *self
                .0
                .changed_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.0.latest.send_replace(Some(latest));
    }

    /// Returns whether there are listeners. If there are none, the reading task ends; the next listener starts a new
    /// one.
    fn is_wanted(&self) -> bool {
        let mut is_read = self
            .0
            .is_read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *is_read = self.0.latest.receiver_count() > 0;
        if !*is_read {
            *self
                .0
                .changed_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
        }
        *is_read
    }
}

#[cfg(test)]
mod tests {
    use super::{Holder, Live, Marks, OF_ALL, OF_APP, OF_ONE};
    use domain::{AppId, KeyId};
    use storage::LatestChanges;
    use uuid::Uuid;

    #[test]
    fn one_holder_has_four_streams_and_all_have_sixty_four() {
        let key = |number: usize| Some(KeyId::new(Uuid::from_u128(number as u128)));
        let holder = |number: usize| Holder {
            app: None,
            sign_in: None,
            key: key(number),
        };
        let live = Live::default();
        let mut slots: Vec<_> = (0..OF_ALL)
            .filter_map(|number| live.slot(holder(number / OF_ONE)).ok())
            .collect();
        assert_eq!((OF_ONE, slots.len()), (4, 64));
        let is_free = |number: usize| live.slot(holder(number)).is_ok();
        assert!(
            !is_free(0) && !is_free(OF_ALL),
            "all slots are taken, even for a holder without one"
        );
        drop(slots.pop());
        assert!(
            !is_free(0) && is_free(OF_ALL),
            "a holder of four gets no other"
        );
    }

    #[test]
    fn an_app_has_a_quarter_of_all_streams() {
        let holder = |app: u128, number: usize| {
            let key = KeyId::new(Uuid::from_u128(number as u128));
            Holder {
                app: Some(AppId::new(Uuid::from_u128(app))),
                sign_in: None,
                key: Some(key),
            }
        };
        let live = Live::default();
        let slots: Vec<_> = (0..OF_ALL)
            .filter_map(|number| live.slot(holder(1, number)).ok())
            .collect();
        assert_eq!((OF_APP * 4, slots.len()), (OF_ALL, OF_APP));
        assert!(live.slot(holder(2, OF_ALL)).is_ok(), "another app");
        assert!(
            live.slot(Holder {
                app: None,
                sign_in: None,
                key: None
            })
            .is_ok(),
            "the admin token"
        );
        drop(slots);
        assert!(live.slot(holder(1, 0)).is_ok());
    }

    #[test]
    fn a_change_names_what_changed_since_the_marks() {
        let before = LatestChanges {
            events: Some(1),
            failed: Some(1),
            ..LatestChanges::default()
        };
        let changed = |after: LatestChanges| {
            let known = Marks::parse(&Marks::of(&before).text()).expect("marks");
            Marks::of(&after).changed_since(&known)
        };
        assert_eq!(changed(before), [""; 0]);
        assert_eq!(
            changed(LatestChanges {
                events: Some(2),
                audit_log: Some(1),
                ..before
            }),
            ["events", "audit_log"]
        );
        assert_eq!(
            changed(LatestChanges {
                failed: Some(2),
                ..before
            }),
            ["deliveries", "destinations"]
        );
        assert!(Marks::parse("").is_none() && Marks::parse("a.b").is_none());
    }
}
