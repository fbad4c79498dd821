//! A session: the requests to the server, their order, and the server's responses.
//!
//! Statements that need no immediate response wait in a queue. They are sent together with the next query that needs
//! one, in the order of the calls, and cost no round trip of their own. The server runs the statements one after the
//! other. If it refuses one in a transaction, it refuses the rest of the transaction too, and the query whose response
//! is awaited fails with that first error. So a transaction whose `COMMIT` succeeded has run all its statements.

use super::failure;
use super::query::Query;
use super::row::PgRow;
use crate::waits::{self, Step};
use diesel::QueryResult;
use diesel::result::Error;
use futures::future::{MaybeDone, maybe_done};
use futures::{TryStreamExt, poll};
use std::collections::{HashMap, HashSet};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::yield_now;
use tokio_postgres::{Client, Statement};

/// A message to the server.
pub enum Request {
    /// One or more statements without values, whose rows are ignored.
    Batch(String),
    Query(Query),
}

/// The statement that begins a transaction.
const BEGIN: &str = "BEGIN";

impl Request {
    fn is_batch(&self, statement: &str) -> bool {
        matches!(self, Self::Batch(batch) if batch == statement)
    }
}

/// The server's answer to a request.
#[derive(Default)]
pub struct PgResponse {
    pub rows: Vec<PgRow>,
    /// Number of rows that the request changed.
    pub changed: usize,
}

/// Identifies a query whose rows are fetched later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueuedQuery(u64);

/// A request that waits in the queue, or whose response is awaited.
struct PendingRequest {
    request: Request,
    queued: Option<QueuedQuery>,
    /// The step that the thread waits for while the server runs the request.
    step: Step,
}

impl PendingRequest {
    fn new(request: Request, queued: Option<QueuedQuery>) -> Self {
        Self {
            request,
            queued,
            step: waits::present(),
        }
    }
}

pub struct Session {
    client: Client,
    /// The server's process id of the session.
    backend: Option<i32>,
    prepared: HashMap<String, Statement>,
    queue: Vec<PendingRequest>,
    fetched: HashMap<QueuedQuery, Vec<PgRow>>,
    last_queued: u64,
    is_undone: bool,
    /// Whether the server refused a request of the open transaction: it answers a `COMMIT` as if it had committed, but
    /// rolls back.
    is_aborted: bool,
    /// Whether an error showed that another session must take its place.
    is_stale: bool,
    /// Whether the server accepts no writes any more, according to its last report.
    is_read_only: Arc<AtomicBool>,
}

type PendingResponse<'s> = Pin<
    Box<
        MaybeDone<
            Pin<Box<dyn Future<Output = Result<PgResponse, tokio_postgres::Error>> + Send + 's>>,
        >,
    >,
>;

impl Session {
    /// Returns a session of this client. `backend` is the server's process id of it; `is_read_only` is set while the
    /// server accepts no writes.
    pub fn new(client: Client, backend: Option<i32>, is_read_only: Arc<AtomicBool>) -> Self {
        Self {
            client,
            backend,
            prepared: HashMap::new(),
            queue: Vec::new(),
            fetched: HashMap::new(),
            last_queued: 0,
            is_undone: false,
            is_aborted: false,
            is_stale: false,
            is_read_only,
        }
    }

    /// Returns whether the session must not be used again: another one, perhaps of another host, takes its place.
    pub fn is_over(&self) -> bool {
        self.client.is_closed() || self.is_stale || self.is_read_only.load(Ordering::Relaxed)
    }

    /// Returns whether the last request, if it was a `COMMIT`, rolled back: the server refused a request of its
    /// transaction.
    pub const fn is_undone(&self) -> bool {
        self.is_undone
    }

    /// Sends a request with the next one whose response is awaited.
    pub fn queue(&mut self, request: Request) {
        self.queue.push(PendingRequest::new(request, None));
    }

    /// Sends a query with the next request whose response is awaited; its rows are fetched later.
    pub fn queue_query(&mut self, query: Query) -> QueuedQuery {
        self.last_queued += 1;
        let queued = QueuedQuery(self.last_queued);
        self.queue
            .push(PendingRequest::new(Request::Query(query), Some(queued)));
        queued
    }

    /// Returns the rows of a queued query.
    pub async fn fetch(&mut self, queued: QueuedQuery) -> QueryResult<Vec<PgRow>> {
        if !self.fetched.contains_key(&queued) {
            self.send(None).await?;
        }
        self.fetched.remove(&queued).ok_or(Error::NotFound)
    }

    /// Discards the rows that were not fetched.
    pub fn forget(&mut self) {
        self.fetched.clear();
    }

    /// Sends all waiting requests and then this one; waits for all answers and returns the last one.
    ///
    /// # Errors
    /// The error of the first request that was refused.
    pub async fn answer(&mut self, request: Request) -> QueryResult<PgResponse> {
        self.send(Some(request)).await
    }

    /// Like [`Self::answer`] for a `ROLLBACK`, which succeeds whatever happened before it. Requests that wait in the
    /// transaction or savepoint are never sent.
    pub async fn roll_back(&mut self, statement: &str) -> QueryResult<()> {
        let savepoint = statement.strip_prefix("ROLLBACK TO ");
        if savepoint.is_none() {
            self.fetched.clear();
        }
        let beginning = savepoint.unwrap_or(BEGIN);
        if let Some(place) = self
            .queue
            .iter()
            .rposition(|entry| entry.request.is_batch(beginning))
        {
            self.queue.truncate(place);
            return Ok(());
        }
        self.queue.clear();
        let queue = [PendingRequest::new(
            Request::Batch(statement.to_owned()),
            None,
        )];
        let answers = self.exchange(&queue).await;
        answers
            .into_iter()
            .try_for_each(|answer| answer.map(drop))
            .map_err(|error| failure::of(&error))?;
        self.is_aborted = false;
        Ok(())
    }

    /// Sends a `ROLLBACK` and does not wait for the answer. For a transaction that wrote nothing, whose rollback fails
    /// only if the connection does.
    pub async fn roll_back_later(&mut self, statement: &str) {
        self.fetched.clear();
        self.is_aborted = false;
        let was_sent = !self.queue.iter().any(|entry| entry.request.is_batch(BEGIN));
        self.queue.clear();
        if !was_sent {
            return;
        }
        let mut rolling_back = pin!(self.client.batch_execute(statement));
        let _ = poll!(rolling_back.as_mut());
        // Lets the connection's task run, which sends the request.
        yield_now().await;
    }

    async fn send(&mut self, last: Option<Request>) -> QueryResult<PgResponse> {
        self.queue
            .extend(last.map(|request| PendingRequest::new(request, None)));
        self.is_undone = false;
        let queue = mem::take(&mut self.queue);
        let refused = self.prepare(&queue).await;
        let mut newest = PgResponse::default();
        for (index, (entry, answer)) in queue.iter().zip(self.exchange(&queue).await).enumerate() {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    self.is_aborted = failure::is_refusal(&error);
                    self.is_undone = index + 1 < queue.len() && failure::is_refusal(&error);
                    let first = refused
                        .filter(|_| failure::is_aftermath(&error))
                        .unwrap_or(error);
                    self.is_stale |= failure::ends_session(&first);
                    return Err(failure::of(&first));
                }
            };
            if entry.request.is_batch(BEGIN) {
                self.is_aborted = false;
            }
            if entry.request.is_batch("COMMIT") && self.is_aborted {
                (self.is_aborted, self.is_undone) = (false, true);
                return Err(failure::rolled_back());
            }
            match entry.queued {
                Some(queued) => drop(self.fetched.insert(queued, answer.rows)),
                None => newest = answer,
            }
        }
        Ok(newest)
    }

    /// Prepares the cacheable queries that are not prepared yet, in one round trip. A query that cannot be prepared
    /// fails again when it is run. Returns the first such error, which may have aborted the transaction.
    async fn prepare(&mut self, queue: &[PendingRequest]) -> Option<tokio_postgres::Error> {
        let mut texts = HashSet::new();
        let mut sent = Vec::new();
        for entry in queue {
            let Request::Query(query) = &entry.request else {
                continue;
            };
            if query.is_cached
                && !self.prepared.contains_key(&query.text)
                && texts.insert(&query.text)
            {
                let client = &self.client;
                let prepare = async move {
                    (
                        &query.text,
                        client.prepare_typed(&query.text, &query.kinds()).await,
                    )
                };
                let mut prepare = Box::pin(maybe_done(prepare));
                let _ = poll!(prepare.as_mut());
                sent.push(prepare);
            }
        }
        let mut refused = None;
        for mut prepare in sent {
            prepare.as_mut().await;
            match prepare.as_mut().take_output() {
                Some((text, Ok(statement))) => drop(self.prepared.insert(text.clone(), statement)),
                Some((_, Err(error))) => refused = refused.or(Some(error)),
                None => {}
            }
        }
        refused
    }

    /// Sends requests in order, and then waits for their answers.
    async fn exchange(
        &self,
        queue: &[PendingRequest],
    ) -> Vec<Result<PgResponse, tokio_postgres::Error>> {
        let mut sent: Vec<PendingResponse<'_>> = Vec::with_capacity(queue.len());
        for entry in queue {
            let mut run = Box::pin(maybe_done(self.run(&entry.request)));
            // The client sends a request when it is polled for the first time.
            let _ = poll!(run.as_mut());
            sent.push(run);
        }
        let mut answers = Vec::with_capacity(sent.len());
        for (entry, mut run) in queue.iter().zip(sent) {
            // The server runs the requests one after the other, and is at this one.
            waits::note(entry.step, self.backend);
            run.as_mut().await;
            answers.extend(run.as_mut().take_output());
        }
        answers
    }

    fn run<'s>(
        &'s self,
        request: &'s Request,
    ) -> Pin<Box<dyn Future<Output = Result<PgResponse, tokio_postgres::Error>> + Send + 's>> {
        Box::pin(async move {
            let query = match request {
                Request::Batch(statements) => {
                    return self
                        .client
                        .batch_execute(statements)
                        .await
                        .map(|()| PgResponse::default());
                }
                Request::Query(query) => query,
            };
            let rows = match self.prepared.get(&query.text) {
                Some(statement) => self.client.query_raw(statement, &query.values).await?,
                None => {
                    let values = query.values.iter().map(|value| (value, value.kind.clone()));
                    self.client.query_typed_raw(&query.text, values).await?
                }
            };
            let mut rows = pin!(rows);
            let mut received = Vec::new();
            while let Some(row) = rows.try_next().await? {
                received.push(row);
            }
            let changed = rows.rows_affected().unwrap_or_default();
            Ok(PgResponse {
                rows: PgRow::of_answer(received),
                changed: usize::try_from(changed).unwrap_or(usize::MAX),
            })
        })
    }
}
