//! `/v1/live`: which kinds of things change, as they change. A tick says that something changed and never what: who
//! wants to know reads it as before.

use crate::edge::Shared;
use crate::keys::Caller;
use crate::operation::{Operation, Output, Schemas};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use schemars::json_schema;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
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

/// What changes, for all streams of this process.
#[derive(Debug, Clone)]
pub struct Live(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    pulse: watch::Sender<Option<Pulse>>,
    stopped: watch::Sender<bool>,
    /// Whether a task reads the tables.
    is_read: Mutex<bool>,
}

impl Default for Live {
    fn default() -> Self {
        let (pulse, stopped) = (watch::Sender::new(None), watch::Sender::new(false));
        Self(Arc::new(Shown { pulse, stopped, is_read: Mutex::default() }))
    }
}

/// The ticks of a stream.
struct Ticks {
    pulse: watch::Receiver<Option<Pulse>>,
    stopped: watch::Receiver<bool>,
    until: Instant,
    /// What this stream has seen; `None` before the first look.
    seen: Option<Pulse>,
    waiting: VecDeque<Event>,
}

impl Live {
    /// Ends all streams: the process stops.
    pub fn stop(&self) {
        self.0.stopped.send_replace(true);
    }

    /// The ticks from now on.
    fn ticks(&self, store: &Store) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
        let ticks = Ticks {
            pulse: self.0.pulse.subscribe(),
            stopped: self.0.stopped.subscribe(),
            until: Instant::now() + LASTS,
            seen: None,
            waiting: VecDeque::from([Event::default().retry(RETRY)]),
        };
        self.read(store.clone());
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
                    Ok(pulse) => drop(live.0.pulse.send_replace(Some(pulse))),
                    Err(error) => tracing::debug!(error = chain(&error), "what changed could not be read"),
                }
                sleep(EVERY).await;
            }
        });
    }

    /// Whether somebody listens. Without anybody the reading task ends, and the next listener starts another.
    fn is_wanted(&self) -> bool {
        let mut is_read = self.0.is_read.lock().unwrap_or_else(PoisonError::into_inner);
        *is_read = self.0.pulse.receiver_count() > 0;
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
            let before = self.seen.replace(pulse);
            let kinds = before.map(|before| pulse.changed_since(&before)).unwrap_or_default();
            self.waiting.extend(kinds.into_iter().map(|kind| Event::default().event(kind).data("changed")));
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

/// `GET /v1/live`: an event for each kind of thing that changed, such as `event: purchases`, without data.
pub async fn show(State(edge): State<Shared>, _: Caller) -> Changes {
    let comments = KeepAlive::new().interval(COMMENT_EVERY);
    let answer = Sse::new(edge.pages.live.ticks(&edge.store)).keep_alive(comments);
    // A proxy that buffers would deliver ticks late.
    Changes(([("x-accel-buffering", "no")], answer).into_response())
}
