//! The length of a term, in any of Amazon's spellings.

use domain::verification::{Term, Unit};

/// The names of terms, and their lengths.
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

/// `1 Month`, `7 Days`, `SemiAnnually`, `P3M`; `None` for everything else.
pub fn term(name: &str) -> Option<Term> {
    // `Bi-Weekly` is a name; `-1 Week` is not a week.
    let is_name = name.trim_start().starts_with(|letter: char| letter.is_ascii_alphabetic());
    let is_significant = |letter: &char| !(letter.is_whitespace() || is_name && matches!(letter, '-' | '_'));
    let text: String = name.chars().filter(is_significant).map(|letter| letter.to_ascii_lowercase()).collect();
    let named =
        NAMES.iter().find(|(known, ..)| *known == text).map(|(_, count, unit)| Term { count: *count, unit: *unit });
    named.or_else(|| iso(&text)).or_else(|| counted(&text))
}

/// `p1w`, `p12m`.
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

/// `2months`.
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

/// A number of at least 1, and what follows it.
fn split(text: &str) -> Option<(u16, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, rest) = text.split_at_checked(digits)?;
    let count = count.parse().ok().filter(|count| *count > 0)?;
    Some((count, rest))
}
