#![doc = include_str!("../README.md")]

mod bounded;
mod export;
mod ids;
mod send;
mod span;

pub use export::{ExportSettings, start, stop};
pub use opentelemetry::trace::SpanKind;
pub use span::{Begun, Span, annotate, current, fail_current, is_on};
