//! `/v1/live`: streams the kinds of resources that change. An event announces only that something changed; clients read
//! the data with the usual requests.

use crate::edge::live::{Holder, Marks, OpenStream};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Query;
use crate::keys::{Caller, still_holds};
use crate::operation::{Input, Operation, Output, Schemas};
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use storage::LatestChanges;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Time without an event after which a comment is sent, so that a dead connection is noticed.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Duration of a stream, below the time limit of a response. The client then opens the next one.
const LASTS: Duration = Duration::from_secs(50);
/// Time after which the client opens the next stream.
const RETRY: Duration = Duration::from_secs(1);

struct Ticks {
    latest: watch::Receiver<Option<LatestChanges>>,
    stopped: watch::Receiver<bool>,
    until: Instant,
    /// State that the client has seen; `None` if not known before the first read.
    seen: Option<Marks>,
    waiting: VecDeque<Event>,
    edge: Shared,
    caller: Caller,
    _slot: OpenStream,
}

impl Ticks {
    /// Returns the events for changes since these marks, or from now on.
    fn stream(
        edge: &Shared,
        caller: Caller,
        slot: OpenStream,
        since: Option<Marks>,
    ) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
        let (latest, stopped) = edge.pages.live.listen(&edge.store);
        let ticks = Self {
            latest,
            stopped,
            until: Instant::now() + LASTS,
            seen: since,
            waiting: VecDeque::from([Event::default().retry(RETRY)]),
            edge: edge.clone(),
            caller,
            _slot: slot,
        };
        stream::unfold(ticks, |mut ticks| async move {
            ticks.next().await.map(|event| (Ok(event), ticks))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            tokio::select! {
                _ = self.stopped.wait_for(|is_stopped| *is_stopped) => return None,
                () = sleep_until(self.until) => return None,
                changed = self.latest.changed() => changed.ok()?,
            }
            let Some(latest) = *self.latest.borrow_and_update() else {
                continue;
            };
            let marks = Marks::of(&latest);
            // The end of a sign-in or key adds an audit entry and so is a change, which is noticed here first.
            if !still_holds(&self.edge, &self.caller).await.unwrap_or(false) {
                return None;
            }
            let before = self.seen.replace(marks.clone());
            let is_new = before.as_ref() != Some(&marks);
            let changed = before
                .map(|before| marks.changed_since(&before))
                .unwrap_or_default();
            // The marks come last, so that a client that loses the connection earlier receives all of these changes
            // again.
            self.waiting.extend(
                changed
                    .into_iter()
                    .map(|kind| Event::default().event(kind).data("changed")),
            );
            self.waiting
                .extend(is_new.then(|| Event::default().id(marks.text())));
        }
    }
}

/// Server-sent events, one for each kind of resource that changed. The response ends after less than a minute.
pub struct Changes(Response);

impl IntoResponse for Changes {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Output for Changes {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.answer(
            StatusCode::OK,
            "text/event-stream",
            &json_schema!({ "type": "string" }),
        );
    }
}

/// Position in the stream of changes.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Since {
    /// `id` of the last received event, for clients that cannot send `Last-Event-ID`. The stream begins with the
    /// changes since then.
    since: Option<String>,
}

/// The `Last-Event-ID` header of a request, which a browser sends when it opens the next stream.
pub struct LastEvent(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for LastEvent {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let header = parts
            .headers
            .get("last-event-id")
            .and_then(|value| value.to_str().ok());
        Ok(Self(header.map(str::to_owned)))
    }
}

impl Input for LastEvent {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        operation.query.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The `id` of the last received event. The stream begins with the changes since then.",
            "schema": { "type": "string" },
        }));
    }
}

/// Returns the current marks of the stored data.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn marks(edge: &Edge) -> Result<Marks, Error> {
    Ok(Marks::of(&edge.store.latest_changes().await?))
}

/// `GET /v1/live`: one event for each kind of resource that changed, such as `event: purchases`, without data. Each key
/// or sign-in can have at most four open streams, and all keys and sign-ins of one app sixteen.
pub async fn show(
    State(edge): State<Shared>,
    caller: Caller,
    LastEvent(last): LastEvent,
    Query(Since { since }): Query<Since>,
) -> Result<Changes, Error> {
    let slot = edge.pages.live.slot(Holder {
        app: caller.app,
        sign_in: caller.sign_in,
        key: caller.key,
    })?;
    let since = last.or(since).as_deref().and_then(Marks::parse);
    let comments = KeepAlive::new().interval(COMMENT_EVERY);
    let answer = Sse::new(Ticks::stream(&edge, caller, slot, since)).keep_alive(comments);
    // A proxy that buffers would delay the events.
    Ok(Changes(
        ([("x-accel-buffering", "no")], answer).into_response(),
    ))
}
