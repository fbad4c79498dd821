//! The spans of activities. Their contexts come from the database, regardless of the process: a settling is a child of
//! its first notification, and an attempt is a child of the settling that announced its event.

use domain::{CollapseKey, DestinationId, TraceContext};
use protocols::outgoing::{Incoming, Outgoing};
use std::future::Future;
use storage::{Batch, Lease, Mode, SettlingTrace, Store, chain};
use traces::{Begun, Span, SpanKind};
use workflows::contract::workflow_id;

/// The trace of a purchase's next settling.
pub struct Settling {
    key: CollapseKey,
    trace: Option<SettlingTrace>,
}

impl Settling {
    /// Reads the trace, unless nothing is exported. If reading fails, the settling continues without it.
    pub async fn find(store: &Store, key: CollapseKey) -> Self {
        let trace = if traces::is_on() {
            store.settling_trace(key).await.unwrap_or_else(|error| {
                tracing::debug!(collapse_key = %key, error = chain(&error), "a settling is not traced");
                None
            })
        } else {
            None
        };
        Self { key, trace }
    }

    /// Returns the context of the whole settling's span, from its first notification to its record. [`Self::finish`]
    /// records that span.
    pub fn context(&self) -> Option<TraceContext> {
        let trace = self.trace.as_ref()?;
        trace
            .contexts
            .first()
            .map(|first| first.of_settling(trace.settling))
    }

    /// Begins the span of one activity of the settling.
    pub fn activity(&self, name: &'static str) -> Span {
        let Some(context) = self.context() else {
            return Span::none();
        };
        let span = Span::of(&[context], name, SpanKind::Server);
        span.describe(|span| span.set("temporalWorkflowID", workflow_id(self.key)));
        span
    }

    /// Records the span of the settling as a child of its first notification, with links to the others.
    pub fn finish(&self) {
        let (Some(context), Some(trace)) = (self.context(), &self.trace) else {
            return;
        };
        let begun = Begun {
            context,
            at: trace.began_at,
        };
        let span = Span::begun(
            begun,
            &trace.contexts,
            "RunWorkflow:purchase",
            SpanKind::Server,
        );
        span.describe(|span| {
            span.set("temporalWorkflowID", workflow_id(self.key));
            span.set("collapse_key", self.key.to_string());
            span.set("settling", trace.settling);
            span.set(
                "notifications",
                i64::try_from(trace.contexts.len()).unwrap_or(i64::MAX),
            );
        });
    }
}

/// Begins the span of an attempt as a child of its first event's settling, with links to the settlings of the others.
pub fn attempt(lease: &Lease, batch: &Batch) -> Span {
    if !traces::is_on() {
        return Span::none();
    }
    let contexts = batch
        .attempts
        .iter()
        .filter_map(|attempt| attempt.traceparent.as_deref()?.parse().ok());
    let contexts: Vec<TraceContext> = contexts.collect();
    let name = match lease.mode {
        Mode::Lane => "RunActivity:deliver",
        Mode::Drain | Mode::Probe => "RunActivity:supervise",
    };
    let span = Span::of(&contexts, name, SpanKind::Server);
    span.describe(|span| {
        span.set("collapse_key", lease.key.to_string());
        span.set("destination.id", lease.destination.to_string());
        span.set("mode", lease.mode.as_str());
        if let [attempt] = batch.attempts.as_slice() {
            span.set("event.id", attempt.event_id.to_string());
            span.set("event.type", attempt.event_type.clone());
            span.set("attempt", attempt.number);
        }
    });
    span
}

/// Begins the span of an activity that belongs to no settling, as a trace of its own.
pub fn apart(name: &'static str, destination: DestinationId) -> Span {
    let span = Span::of(&[], name, SpanKind::Server);
    span.describe(|span| span.set("destination.id", destination.to_string()));
    span
}

/// Adds the result of an attempt to the span of the running task. The value is the label of the metric that counts it.
pub fn note_outcome(outcome: &'static str) {
    traces::annotate("outcome", || outcome.to_owned());
}

/// Makes a request in a span of its own. The span omits path and query, since they may contain a secret.
pub async fn request<F: Future<Output = Incoming>>(
    request: Outgoing,
    send: impl FnOnce(Outgoing) -> F,
) -> Incoming {
    let span = Span::child(request.method(), SpanKind::Client);
    span.describe(|span| describe(span, &request));
    let reply = span.within(async move { send(request).await }).await;
    match reply.status() {
        Ok(status) => {
            span.set("http.response.status_code", i64::from(status));
            if status >= 400 {
                span.describe(|span| span.fail(status.to_string()));
            }
        }
        Err(class) => span.fail(class.as_str()),
    }
    reply
}

/// Adds the context of the running task to an HTTP request.
pub fn propagate(outgoing: &mut Outgoing) {
    let Outgoing::Http(request) = outgoing else {
        return;
    };
    let is_free = request
        .headers
        .iter()
        .all(|(name, _)| name != "traceparent");
    if let Some(context) = traces::current().filter(|_| is_free) {
        request
            .headers
            .push(("traceparent".to_owned(), context.to_string()));
    }
}

fn describe(span: &Span, request: &Outgoing) {
    let url = request.url();
    let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
    span.set("http.request.method", request.method());
    span.set("server.address", host.to_owned());
    if let Some(port) = url.port_or_known_default() {
        span.set("server.port", i64::from(port));
        span.set("url.full", format!("{scheme}://{host}:{port}/REDACTED"));
    }
}
