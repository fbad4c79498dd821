//! `/v1/live`: which kinds of things change, as they change. A tick says that something changed and never what: who
//! wants to know reads it as before.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Query;
use crate::keys::{Caller, still_holds};
use crate::operation::{Input, Operation, Output, Schemas};
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::{KeyId, SignInId};
use futures::stream::{self, Stream};
use ring::digest::{SHA256, digest};
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::{Pulse, Store, chain};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Time between two looks at the tables while somebody listens: all listeners share one.
const EVERY: Duration = Duration::from_secs(1);
/// A comment is sent after this time without a tick, so that a dead connection is noticed.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// A stream ends after this time, below the limit of an answer, and the client opens the next one.
const LASTS: Duration = Duration::from_secs(50);
/// The client opens the next one after this time.
const RETRY: Duration = Duration::from_secs(1);
/// Maximum number of open streams of one key or sign-in, and of all.
const OF_ONE: usize = 4;
const OF_ALL: usize = 64;
/// When a client that has too many may open the next one: about then one of them ends.
const NEXT_AFTER: Duration = Duration::from_secs(15);

/// Number of bytes of a mark: enough that two states hardly ever have the same one.
const MARK_BYTES: usize = 4;

/// What somebody has seen: for each kind of thing a mark, which differs when such a thing changed. It shows no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks(Vec<(&'static str, String)>);

impl Marks {
    /// The marks of what is stored.
    #[must_use]
    pub fn of(pulse: &Pulse) -> Self {
        let mark = |values: &[Option<i64>; 3]| {
            let hash = digest(&SHA256, format!("{values:?}").as_bytes());
            storage::hex(hash.as_ref().get(..MARK_BYTES).unwrap_or_default())
        };
        Self(pulse.kinds().iter().map(|(kind, values)| (*kind, mark(values))).collect())
    }

    /// The marks in a text; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kinds = Pulse::default().kinds();
        let marks: Vec<&str> = text.split('.').collect();
        let all = kinds.iter().zip(&marks).map(|((kind, _), mark)| (*kind, (*mark).to_owned()));
        (marks.len() == kinds.len()).then(|| Self(all.collect()))
    }

    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|(_, mark)| mark.as_str()).collect::<Vec<_>>().join(".")
    }

    /// The kinds of things that changed since others.
    fn changed_since(&self, before: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&before.0);
        pairs.filter_map(|((kind, mark), (_, known))| (mark != known).then_some(*kind)).collect()
    }
}

/// What changes, for all streams of this process.
#[derive(Debug, Clone)]
pub struct Live(Arc<LiveState>);

#[derive(Debug)]
struct LiveState {
    pulse: watch::Sender<Option<Pulse>>,
    stopped: watch::Sender<bool>,
    /// Whether a task reads the tables.
    is_read: Mutex<bool>,
    /// When that task saw the last change; `None` while there is no such task.
    changed_at: Mutex<Option<Instant>>,
    /// The number of open streams of each who has any.
    open: Mutex<HashMap<Holder, usize>>,
}

/// Whose stream it is: a sign-in, else a key; with neither, the admin token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Holder {
    sign_in: Option<SignInId>,
    key: Option<KeyId>,
}

/// The place of an open stream. Dropping it frees it.
struct OpenStream {
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
        let (pulse, stopped) = (watch::Sender::new(None), watch::Sender::new(false));
        let (is_read, changed_at, open) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(LiveState { pulse, stopped, is_read, changed_at, open }))
    }
}

struct Ticks {
    pulse: watch::Receiver<Option<Pulse>>,
    stopped: watch::Receiver<bool>,
    until: Instant,
    /// What its client has seen; `None` if that is not known before the first reading.
    seen: Option<Marks>,
    waiting: VecDeque<Event>,
    edge: Shared,
    caller: Caller,
    _place: OpenStream,
}

impl Live {
    /// Ends all streams: the process stops.
    pub fn stop(&self) {
        self.0.stopped.send_replace(true);
    }

    /// When the last change was seen: who began to read the tables later has it. `None` while nobody listens, since
    /// nobody sees changes then.
    #[must_use]
    pub fn changed_at(&self) -> Option<Instant> {
        *self.0.changed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stream, if neither this caller nor all of them have too many.
    fn place(&self, caller: &Caller) -> Result<OpenStream, Error> {
        let holder = Holder { sign_in: caller.sign_in, key: caller.key };
        let mut open = self.open();
        let what = match (open.get(&holder).copied().unwrap_or(0), open.values().sum::<usize>()) {
            (OF_ONE.., _) => "who has four open streams",
            (_, OF_ALL..) => "who opens a stream while all have 64",
            _ => {
                *open.entry(holder).or_default() += 1;
                return Ok(OpenStream { live: self.clone(), holder });
            }
        };
        Err(Error::TooMany { what, wait: NEXT_AFTER })
    }

    /// The ticks since these marks, or from now on.
    fn ticks(
        &self,
        edge: &Shared,
        caller: Caller,
        place: OpenStream,
        since: Option<Marks>,
    ) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
        let ticks = Ticks {
            pulse: self.0.pulse.subscribe(),
            stopped: self.0.stopped.subscribe(),
            until: Instant::now() + LASTS,
            seen: since,
            waiting: VecDeque::from([Event::default().retry(RETRY)]),
            edge: edge.clone(),
            caller,
            _place: place,
        };
        self.read(edge.store.clone());
        stream::unfold(ticks, |mut ticks| async move { ticks.next().await.map(|event| (Ok(event), ticks)) })
    }

    /// Reads the tables as long as somebody listens.
    fn read(&self, store: Store) {
        let mut is_read = self.0.is_read.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *is_read, true) {
            return;
        }
        let live = self.clone();
        tokio::spawn(async move {
            while live.is_wanted() {
                match store.pulse().await {
                    Ok(pulse) => live.saw(pulse),
                    Err(error) => tracing::debug!(error = chain(&error), "what changed could not be read"),
                }
                sleep(EVERY).await;
            }
        });
    }

    /// Notes a change before it is announced: who reads because of it reads anew.
    fn saw(&self, pulse: Pulse) {
        if *self.0.pulse.borrow() != Some(pulse) || self.changed_at().is_none() {
            *self.0.changed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.0.pulse.send_replace(Some(pulse));
    }

    /// Whether somebody listens. Without anybody the reading task ends, and the next listener starts another.
    fn is_wanted(&self) -> bool {
        let mut is_read = self.0.is_read.lock().unwrap_or_else(PoisonError::into_inner);
        *is_read = self.0.pulse.receiver_count() > 0;
        if !*is_read {
            *self.0.changed_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        *is_read
    }
}

impl Ticks {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            tokio::select! {
                _ = self.stopped.wait_for(|is_stopped| *is_stopped) => return None,
                () = sleep_until(self.until) => return None,
                changed = self.pulse.changed() => changed.ok()?,
            }
            let Some(pulse) = *self.pulse.borrow_and_update() else { continue };
            let marks = Marks::of(&pulse);
            // The end of a sign-in or a key leaves an audit entry, so it is seen here first.
            if !still_holds(&self.edge, &self.caller).await.unwrap_or(false) {
                return None;
            }
            let before = self.seen.replace(marks.clone());
            let is_new = before.as_ref() != Some(&marks);
            let changed = before.map(|before| marks.changed_since(&before)).unwrap_or_default();
            // The marks come last: who loses the connection before gets all of it again.
            self.waiting.extend(changed.into_iter().map(|kind| Event::default().event(kind).data("changed")));
            self.waiting.extend(is_new.then(|| Event::default().id(marks.text())));
        }
    }
}

/// Server-sent events: one for each kind of thing that changed. The answer ends after less than a minute.
pub struct Changes(Response);

impl IntoResponse for Changes {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Output for Changes {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.answer(StatusCode::OK, "text/event-stream", &json_schema!({ "type": "string" }));
    }
}

/// Since when.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Since {
    /// The `id` of the last event, where `Last-Event-ID` cannot be sent: what changed since comes first.
    since: Option<String>,
}

/// The `Last-Event-ID` of a request, which a browser sends when it opens the next stream.
pub struct LastEvent(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for LastEvent {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let header = parts.headers.get("last-event-id").and_then(|value| value.to_str().ok());
        Ok(Self(header.map(str::to_owned)))
    }
}

impl Input for LastEvent {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.query.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The `id` of the last event: what changed since comes first.",
            "schema": { "type": "string" },
        }));
    }
}

/// `GET /v1/live`: an event for each kind of thing that changed, such as `event: purchases`, without data. A key or a
/// sign-in has at most four of these open.
pub async fn show(
    State(edge): State<Shared>,
    caller: Caller,
    LastEvent(last): LastEvent,
    Query(Since { since }): Query<Since>,
) -> Result<Changes, Error> {
    let place = edge.pages.live.place(&caller)?;
    let since = last.or(since).as_deref().and_then(Marks::parse);
    let comments = KeepAlive::new().interval(COMMENT_EVERY);
    let answer = Sse::new(edge.pages.live.ticks(&edge, caller, place, since)).keep_alive(comments);
    // A proxy that buffers would deliver ticks late.
    Ok(Changes(([("x-accel-buffering", "no")], answer).into_response()))
}

#[cfg(test)]
mod tests {
    use super::{Live, Marks, OF_ALL, OF_ONE};
    use crate::keys::Caller;
    use domain::KeyId;
    use storage::{Pulse, Role};
    use uuid::Uuid;

    #[test]
    fn one_caller_has_four_streams_and_all_have_sixty_four() {
        let caller = |number: usize| Caller {
            key: Some(KeyId::new(Uuid::from_u128(number as u128))),
            sign_in: None,
            name: String::new(),
            role: Role::Read,
            app: None,
        };
        let live = Live::default();
        let mut places: Vec<_> = (0..OF_ALL).filter_map(|number| live.place(&caller(number / OF_ONE)).ok()).collect();
        assert_eq!((OF_ONE, places.len()), (4, 64));
        let is_free = |number: usize| live.place(&caller(number)).is_ok();
        assert!(!is_free(0) && !is_free(OF_ALL), "all places are taken, also for who has none");
        drop(places.pop());
        assert!(!is_free(0) && is_free(OF_ALL), "who has four gets no other");
    }

    #[test]
    fn a_change_names_what_changed_since_the_marks() {
        let before = Pulse { events: Some(1), failed: Some(1), ..Pulse::default() };
        let changed = |after: Pulse| {
            let known = Marks::parse(&Marks::of(&before).text()).expect("marks");
            Marks::of(&after).changed_since(&known)
        };
        assert_eq!(changed(before), [""; 0]);
        assert_eq!(changed(Pulse { events: Some(2), audit_log: Some(1), ..before }), ["events", "audit_log"]);
        assert_eq!(changed(Pulse { failed: Some(2), ..before }), ["deliveries", "destinations"]);
        assert!(Marks::parse("").is_none() && Marks::parse("a.b").is_none());
    }
}
