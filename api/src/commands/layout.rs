//! Fits text to the width of a terminal: breaks lines at spaces, and cuts times to the second.
//!
//! Without a terminal, lines are not broken, unless `COLUMNS` is set.

use api::config;
use domain::text::is_commanding;
use std::borrow::Cow;
use std::io::IsTerminal;

/// Width of a terminal that does not report its width.
const DEFAULT_WIDTH: usize = 80;
/// Minimum width to which text is fitted.
const MIN_WIDTH: usize = 40;
/// Length of `2026-01-31T12:00:00`.
const TIME_LENGTH: usize = 19;

/// Returns the width of standard output; `None` if lines are not broken.
pub fn width() -> Option<usize> {
    let terminal = std::io::stdout()
        .is_terminal()
        .then(|| terminal_size::terminal_size_of(std::io::stdout()));
    fitted(terminal.map(|size| size.map(|(width, _)| width.0)))
}

/// Returns the width of standard error; `None` if lines are not broken.
pub fn width_of_errors() -> Option<usize> {
    let terminal = std::io::stderr()
        .is_terminal()
        .then(|| terminal_size::terminal_size_of(std::io::stderr()));
    fitted(terminal.map(|size| size.map(|(width, _)| width.0)))
}

/// Returns the terminal's reported width; otherwise the value of `COLUMNS`, or the default width if there is a
/// terminal.
fn fitted(terminal: Option<Option<u16>>) -> Option<usize> {
    let columns = || {
        config::environment()
            .get("COLUMNS")
            .and_then(|columns| columns.parse().ok())
    };
    let width = match terminal {
        Some(size) => Some(size.map_or_else(|| columns().unwrap_or(DEFAULT_WIDTH), usize::from)),
        None => columns(),
    };
    width.map(|width| width.max(MIN_WIDTH))
}

/// Escapes a line for a terminal: a character that the terminal could interpret as a command is shown as `\u{1b}`.
pub fn harmless(line: &str) -> Cow<'_, str> {
    escaped(line, |letter, text| {
        text.push_str(&letter.escape_unicode().to_string())
    })
}

/// Escapes indented JSON for a terminal. The result is valid JSON, since such characters occur only in its strings.
pub fn harmless_json(line: &str) -> Cow<'_, str> {
    escaped(line, |letter, text| {
        text.push_str(&format!("\\u{:04x}", u32::from(letter)))
    })
}

fn escaped(line: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let is_plain = |letter: char| matches!(letter, '\n' | '\t') || !is_commanding(letter);
    if line.chars().all(is_plain) {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len());
    line.chars().for_each(|letter| {
        if is_plain(letter) {
            text.push(letter)
        } else {
            escape(letter, &mut text)
        }
    });
    Cow::Owned(text)
}

/// Breaks a text at spaces into lines of at most `width` characters. All lines but the first are indented by `indent`
/// spaces. A part without spaces that is wider than a line is not broken.
pub fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let begins = text.len() - text.trim_start_matches(' ').len();
    let mut lines = vec![" ".repeat(begins)];
    let mut is_empty = true;
    for part in text.split(' ').filter(|part| !part.is_empty()) {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if !is_empty && line + 1 + part.chars().count() > width {
            lines.push(" ".repeat(indent));
            is_empty = true;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if is_empty { "" } else { " " });
            line.push_str(part);
        }
        is_empty = false;
    }
    lines
}

/// Cuts every time (RFC 3339, UTC) in a text after the seconds.
pub fn short_times(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit()
            && !short.ends_with(|before: char| before.is_ascii_alphanumeric())
            && let Some((seconds, behind)) = time(rest)
        {
            short.push_str(seconds);
            short.push('Z');
            rest = behind;
        } else {
            short.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    short
}

/// Splits a text after the time with which it begins, cut after the seconds; `None` if it begins with no time.
fn time(text: &str) -> Option<(&str, &str)> {
    let (seconds, behind) = text.split_at_checked(TIME_LENGTH)?;
    let fits = |(letter, pattern): (u8, u8)| match pattern {
        b'0' => letter.is_ascii_digit(),
        other => letter == other,
    };
    let is_time = seconds.bytes().zip(*b"0000-00-00T00:00:00").all(fits);
    let behind = match behind.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|letter: char| letter.is_ascii_digit()),
        None => behind,
    };
    behind
        .strip_prefix('Z')
        .filter(|_| is_time)
        .map(|behind| (seconds, behind))
}

#[cfg(test)]
mod tests {
    use super::{short_times, wrap};

    #[test]
    fn lines_break_at_spaces_and_a_long_id_is_not_cut() {
        assert_eq!(
            wrap("one two three four", 9, 2),
            ["one two", "  three", "  four"]
        );
        assert_eq!(
            wrap("  deep text that goes on", 12, 4),
            ["  deep text", "    that", "    goes on"]
        );
        let id = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
        assert_eq!(
            wrap(&format!("see {id} there"), 20, 0),
            ["see", id, "there"]
        );
        assert_eq!(wrap("", 9, 2), [""]);
        assert_eq!(wrap("a  gap", 9, 2), ["a  gap"], "what fits stays as it is");
    }

    #[test]
    fn a_time_loses_its_fraction_and_nothing_else() {
        for (long, short) in [
            (
                "at 2026-11-21T07:47:06.127019Z, then",
                "at 2026-11-21T07:47:06Z, then",
            ),
            ("2026-11-21T07:47:06Z", "2026-11-21T07:47:06Z"),
            (
                "2026-11-21T07:47:06.5Z 2026-11-22T00:00:00.000001Z",
                "2026-11-21T07:47:06Z 2026-11-22T00:00:00Z",
            ),
            (
                "1.5 s, 2026-11-21, äöü 12.5Z",
                "1.5 s, 2026-11-21, äöü 12.5Z",
            ),
        ] {
            assert_eq!(short_times(long), short);
        }
    }
}
