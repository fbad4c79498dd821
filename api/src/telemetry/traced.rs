//! Adds the ids of the current task's span to each log line.

use super::Format;
use domain::TraceContext;
use std::fmt::{self, Write as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// A line format that adds the fields `trace_id` and `span_id` while traces are exported.
pub struct Traced<F> {
    pub inner: F,
    pub format: Format,
}

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(context) = traces::current() else {
            return self.inner.format_event(ctx, writer, event);
        };
        let mut line = String::new();
        self.inner
            .format_event(ctx, Writer::new(&mut line), event)?;
        writer.write_str(&with_ids(&line, self.format, context))
    }
}

/// Returns the line with the ids appended.
fn with_ids(line: &str, format: Format, context: TraceContext) -> String {
    let (trace_id, span_id) = (
        format!("{:032x}", context.trace_id()),
        format!("{:016x}", context.span_id()),
    );
    let line = line.trim_end();
    let mut whole = String::with_capacity(line.len() + 90);
    let written = match (format, line.strip_suffix('}')) {
        (Format::Json, Some(object)) => {
            writeln!(
                whole,
                r#"{object},"trace_id":"{trace_id}","span_id":"{span_id}"}}"#
            )
        }
        _ => writeln!(whole, "{line} trace_id={trace_id} span_id={span_id}"),
    };
    // Writing to a string cannot fail.
    let _ = written;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_end_with_the_ids() {
        let context = TraceContext::new(0xb1, 0x2f, true).expect("ids");
        let ids = ("000000000000000000000000000000b1", "000000000000002f");
        let human = with_ids("INFO api: a line\n", Format::Human, context);
        assert_eq!(
            human,
            format!("INFO api: a line trace_id={} span_id={}\n", ids.0, ids.1)
        );
        let json = with_ids("{\"message\":\"a line\"}\n", Format::Json, context);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(
            (json["trace_id"].as_str(), json["span_id"].as_str()),
            (Some(ids.0), Some(ids.1))
        );
        assert_eq!(json["message"], "a line");
    }
}
