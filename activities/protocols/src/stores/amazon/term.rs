//! Parses the length of a term in each of Amazon's notations.

use domain::verification::{Term, Unit};

/// The names of term lengths, in lower case without hyphens.
const NAMES: [(&str, u16, Unit); 11] = [
    ("daily", 1, Unit::Day),
    ("weekly", 1, Unit::Week),
    ("biweekly", 2, Unit::Week),
    ("monthly", 1, Unit::Month),
    ("bimonthly", 2, Unit::Month),
    ("quarterly", 3, Unit::Month),
    ("semiannually", 6, Unit::Month),
    ("semiannual", 6, Unit::Month),
    ("annually", 1, Unit::Year),
    ("annual", 1, Unit::Year),
    ("yearly", 1, Unit::Year),
];

/// Parses `1 Month`, `7 Days`, `SemiAnnually` or `P3M`; `None` for any other text.
pub fn term(name: &str) -> Option<Term> {
    // A hyphen is ignored in a name (`Bi-Weekly`), but not in a number (`-1 Week` is invalid).
    let is_name = name
        .trim_start()
        .starts_with(|letter: char| letter.is_ascii_alphabetic());
    let is_significant =
        |letter: &char| !(letter.is_whitespace() || is_name && matches!(letter, '-' | '_'));
    let text: String = name
        .chars()
        .filter(is_significant)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let named = NAMES
        .iter()
        .find(|(known, ..)| *known == text)
        .map(|(_, count, unit)| Term {
            count: *count,
            unit: *unit,
        });
    named.or_else(|| iso(&text)).or_else(|| counted(&text))
}

/// Parses an ISO 8601 duration in lower case: `p1w`, `p12m`.
fn iso(text: &str) -> Option<Term> {
    let (count, letter) = split(text.strip_prefix('p')?)?;
    let unit = match letter {
        "d" => Unit::Day,
        "w" => Unit::Week,
        "m" => Unit::Month,
        "y" => Unit::Year,
        _ => return None,
    };
    Some(Term { count, unit })
}

/// Parses a number and a unit: `2months`.
fn counted(text: &str) -> Option<Term> {
    let (count, name) = split(text)?;
    let unit = match name.strip_suffix('s').unwrap_or(name) {
        "day" => Unit::Day,
        "week" => Unit::Week,
        "month" => Unit::Month,
        "year" => Unit::Year,
        _ => return None,
    };
    Some(Term { count, unit })
}

/// Splits a text into a number of at least 1 and the rest.
fn split(text: &str) -> Option<(u16, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, rest) = text.split_at_checked(digits)?;
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some((count, rest))
}
