//! Trace contexts, in the format of the header `traceparent` of [W3C Trace
//! Context](https://www.w3.org/TR/trace-context/).

use std::fmt;
use std::str::FromStr;

/// Number of digits of a trace id.
const TRACE_DIGITS: usize = 32;
/// Number of digits of a span id.
const SPAN_DIGITS: usize = 16;
/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A span of a trace, by its ids, neither of which is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    is_sampled: bool,
}

/// The error for a text that is not a `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 00-{{32 hexadecimal digits}}-{{16 hexadecimal digits}}-{{2 hexadecimal digits}}")]
pub struct InvalidTraceContext;

impl TraceContext {
    /// Creates the context of a span; `None` if an id is zero.
    pub const fn new(trace_id: u128, span_id: u64, is_sampled: bool) -> Option<Self> {
        if trace_id == 0 || span_id == 0 {
            None
        } else {
            Some(Self {
                trace_id,
                span_id,
                is_sampled,
            })
        }
    }

    pub const fn trace_id(self) -> u128 {
        self.trace_id
    }

    pub const fn span_id(self) -> u64 {
        self.span_id
    }

    pub const fn is_sampled(self) -> bool {
        self.is_sampled
    }

    /// Returns the span of a settling whose first notification has this context. Every process computes the same span,
    /// before it is recorded.
    #[must_use]
    pub const fn of_settling(self, settling: i64) -> Self {
        let mixed = mix(self.span_id ^ mix(settling.cast_unsigned()));
        Self {
            span_id: if mixed == 0 { 1 } else { mixed },
            ..self
        }
    }
}

/// Applies the finalizer of `SplitMix64` (<https://prng.di.unimi.it/splitmix64.c>), a bijection that changes all bits.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.is_sampled)
        )
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<Self, InvalidTraceContext> {
        let mut parts = text.split('-');
        let (Some("00"), Some(trace_id), Some(span_id), Some(flags), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(InvalidTraceContext);
        };
        let trace_id = u128::from_str_radix(digits(trace_id, TRACE_DIGITS)?, 16);
        let span_id = u64::from_str_radix(digits(span_id, SPAN_DIGITS)?, 16);
        let flags = u8::from_str_radix(digits(flags, 2)?, 16);
        let (Ok(trace_id), Ok(span_id), Ok(flags)) = (trace_id, span_id, flags) else {
            return Err(InvalidTraceContext);
        };
        Self::new(trace_id, span_id, flags & SAMPLED == SAMPLED).ok_or(InvalidTraceContext)
    }
}

/// Returns the text if it consists of `number` lower-case hexadecimal digits.
fn digits(text: &str, number: usize) -> Result<&str, InvalidTraceContext> {
    let are_digits = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if are_digits && text.len() == number {
        Ok(text)
    } else {
        Err(InvalidTraceContext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-b1c4d9bb0fd954b28f748e59c91e396a-0f748e59c91e396a-01";

    #[test]
    fn a_context_reads_back_as_it_was_written() {
        let context: TraceContext = TEXT.parse().expect("a context");
        assert_eq!(
            (context.to_string().as_str(), context.is_sampled()),
            (TEXT, true)
        );
        let unsampled: TraceContext = TEXT.replace("-01", "-00").parse().expect("a context");
        assert!(!unsampled.is_sampled());
    }

    #[test]
    fn what_is_no_context_is_refused() {
        let wrong = [
            "",
            "00",
            "01-b1c4d9bb0fd954b28f748e59c91e396a-0f748e59c91e396a-01",
            "00-B1C4D9BB0FD954B28F748E59C91E396A-0f748e59c91e396a-01",
            "00-+1c4d9bb0fd954b28f748e59c91e396a-0f748e59c91e396a-01",
            "00-00000000000000000000000000000000-0f748e59c91e396a-01",
            "00-b1c4d9bb0fd954b28f748e59c91e396a-0000000000000000-01",
            "00-b1c4d9bb0fd954b28f748e59c91e396a-0f748e59c91e396a-01-",
        ];
        for text in wrong {
            assert_eq!(
                text.parse::<TraceContext>(),
                Err(InvalidTraceContext),
                "{text}"
            );
        }
    }

    #[test]
    fn each_settling_has_a_span_of_its_own() {
        let context: TraceContext = TEXT.parse().expect("a context");
        let [first, second] = [1, 2].map(|settling| context.of_settling(settling));
        assert_eq!(first, context.of_settling(1));
        assert_ne!(first.span_id(), second.span_id());
        assert_ne!(first.span_id(), context.span_id());
        assert_eq!(
            (first.trace_id(), first.is_sampled()),
            (context.trace_id(), true)
        );
    }
}
