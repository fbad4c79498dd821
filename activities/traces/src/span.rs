//! Spans. While nothing is exported, a span is empty, and beginning, changing and ending it has no effect.

use crate::export;
use crate::ids::with_id;
use domain::{Timestamp, TraceContext};
use futures::future::Either;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{
    Link, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;
use std::future::Future;
use std::time::{Duration, SystemTime};

pub fn is_on() -> bool {
    export::tracer().is_some()
}

/// Returns the context of the running task's span; `None` without one.
pub fn current() -> Option<TraceContext> {
    export::tracer()?;
    Context::map_current(|context| local(context.span().span_context()))
}

/// Sets an attribute of the running task's span. The value is computed only if spans are exported.
pub fn annotate(name: &'static str, value: impl FnOnce() -> String) {
    if is_on() {
        Context::map_current(|context| context.span().set_attribute(KeyValue::new(name, value())));
    }
}

/// Marks the running task's span as failed.
pub fn fail_current(class: &'static str) {
    if is_on() {
        Context::map_current(|context| fail(context, class));
    }
}

/// A span that began before its process knew of it, under an id that other processes already know.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    pub context: TraceContext,
    pub at: Timestamp,
}

/// A span. Dropping it ends the span.
#[derive(Debug)]
pub struct Span(Option<Context>);

impl Span {
    pub const fn none() -> Self {
        Self(None)
    }

    /// Begins a span as a child of the running task's span; without one, begins a new trace.
    pub fn child(name: &'static str, kind: SpanKind) -> Self {
        export::tracer().map_or(Self(None), |tracer| {
            Self(Some(begin(
                tracer,
                SpanBuilder::from_name(name).with_kind(kind),
                &Context::current(),
            )))
        })
    }

    /// Begins a span as a child of the first of these contexts, with links to the others; without contexts, begins a
    /// new trace.
    pub fn of(contexts: &[TraceContext], name: &'static str, kind: SpanKind) -> Self {
        export::tracer().map_or(Self(None), |tracer| {
            let (builder, parent) = below(contexts, SpanBuilder::from_name(name).with_kind(kind));
            Self(Some(begin(tracer, builder, &parent)))
        })
    }

    /// Like [`Self::of`], for a span that began earlier under a known id.
    pub fn begun(
        begun: Begun,
        contexts: &[TraceContext],
        name: &'static str,
        kind: SpanKind,
    ) -> Self {
        export::tracer().map_or(Self(None), |tracer| {
            let builder = SpanBuilder::from_name(name)
                .with_kind(kind)
                .with_start_time(time(begun.at));
            let (builder, parent) = below(contexts, builder);
            let id = SpanId::from(begun.context.span_id());
            Self(Some(with_id(id, || begin(tracer, builder, &parent))))
        })
    }

    /// Returns the context of the span, for a row or a header; `None` while nothing is exported.
    pub fn context(&self) -> Option<TraceContext> {
        self.0
            .as_ref()
            .and_then(|context| local(context.span().span_context()))
    }

    /// Calls `describe` with the span if it is recorded. Intended for attributes that are expensive to compute.
    pub fn describe(&self, describe: impl FnOnce(&Self)) {
        if self
            .0
            .as_ref()
            .is_some_and(|context| context.span().is_recording())
        {
            describe(self);
        }
    }

    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// Marks the span as failed, with the attribute `error.type`.
    pub fn fail(&self, class: impl Into<Value>) {
        if let Some(context) = &self.0 {
            fail(context, class);
        }
    }

    /// Runs a future as the task of this span: log lines contain its ids, and spans of the task are its children.
    pub fn within<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        match &self.0 {
            Some(context) => Either::Left(future.with_context(context.clone())),
            None => Either::Right(future),
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

fn begin(tracer: &SdkTracer, builder: SpanBuilder, parent: &Context) -> Context {
    parent.with_span(tracer.build_with_context(builder, parent))
}

fn fail(context: &Context, class: impl Into<Value>) {
    context
        .span()
        .set_attribute(KeyValue::new("error.type", class));
    context.span().set_status(Status::error(""));
}

/// Adds links to all contexts but the first to the builder. Returns it together with the first context as the parent.
fn below(contexts: &[TraceContext], builder: SpanBuilder) -> (SpanBuilder, Context) {
    let Some((parent, others)) = contexts.split_first() else {
        return (builder, Context::new());
    };
    let links = others
        .iter()
        .filter(|other| *other != parent)
        .map(|other| Link::with_context(remote(*other)));
    (
        builder.with_links(links.collect()),
        Context::new().with_remote_span_context(remote(*parent)),
    )
}

fn remote(context: TraceContext) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(context.is_sampled());
    let (trace_id, span_id) = (
        TraceId::from(context.trace_id()),
        SpanId::from(context.span_id()),
    );
    SpanContext::new(trace_id, span_id, flags, true, TraceState::NONE)
}

fn local(context: &SpanContext) -> Option<TraceContext> {
    let (trace_id, span_id) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
    TraceContext::new(
        u128::from_be_bytes(trace_id),
        u64::from_be_bytes(span_id),
        context.is_sampled(),
    )
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.micros()).unwrap_or(0))
}
