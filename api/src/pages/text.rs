//! Texts for display: the parts of sentences, times and states.

use super::parts::{Badge, Tone};
use api::resources::deliveries::status_for_people;
use api::resources::destinations::shown_state_for_people;
use api::resources::purchases::state_for_people;
use api::times::to_second;
use domain::Timestamp;
use std::time::Duration;
use storage::{DeliveryStatus, ShownState};

/// Minimum length of a time in a sentence.
const INSTANT_CHARS: usize = "2026-01-31T12:00:00Z".len();

/// Label of the store's id of a purchase, if the store is not known.
pub const PURCHASE_ID: &str = "Store's purchase id";

/// Length of one of settle's ids.
const ID_CHARS: usize = 36;
/// Number of an id's characters that are shown in a sentence.
const SHOWN_CHARS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    /// A time: for machines, and as displayed.
    Instant(String, String),
    Code(String),
    /// An id: in full, and as displayed.
    Id(String, String),
}

/// Returns a time in UTC, to the second.
pub fn plain(time: Timestamp) -> String {
    format!("{} UTC", to_second(time))
}

/// Splits a sentence into parts: text between backticks is code, and times are recognized by their form.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 1 {
            found.push(Piece::Code(part.to_owned()));
        } else {
            instants(part, &mut found);
        }
    }
    found.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
    found
}

fn instants(text: &str, found: &mut Vec<Piece>) {
    let mut plain_text = String::new();
    for part in text.split_inclusive(' ') {
        let (text, space) = part
            .strip_suffix(' ')
            .map_or((part, ""), |text| (text, " "));
        let bare = text.trim_end_matches([',', ';', ':', '.', ')']);
        let time = bare
            .parse::<Timestamp>()
            .ok()
            .filter(|_| bare.len() >= INSTANT_CHARS);
        match time {
            Some(time) => {
                found.push(Piece::Text(std::mem::take(&mut plain_text)));
                found.push(Piece::Instant(time.to_string(), plain(time)));
                plain_text.push_str(&text[bare.len()..]);
            }
            None => match id(text) {
                Some((before, id, after)) => {
                    plain_text.push_str(before);
                    found.push(Piece::Text(std::mem::take(&mut plain_text)));
                    found.push(Piece::Id(id.to_owned(), format!("{}…", &id[..SHOWN_CHARS])));
                    plain_text.push_str(after);
                }
                None => plain_text.push_str(text),
            },
        }
        plain_text.push_str(space);
    }
    found.push(Piece::Text(plain_text));
}

/// Finds one of settle's ids in a part of a sentence. Returns the text before it, the id, and the text after it.
fn id(part: &str) -> Option<(&str, &str, &str)> {
    let bare = part.trim_start_matches('(');
    let (id, after) = bare.split_at_checked(ID_CHARS)?;
    let is_id =
        id.parse::<uuid::Uuid>().is_ok() && !after.starts_with(|next: char| next.is_alphanumeric());
    is_id.then(|| (&part[..part.len() - bare.len()], id, after))
}

/// Returns a text with its first letter in upper case: sentences of explanations begin in lower case.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

pub fn purchase_state(state: &str) -> Badge {
    let tone = match state {
        "active" | "trial" => Tone::Good,
        "off" | "trial_off" | "pending" => Tone::Busy,
        "grace" | "account_hold" => Tone::Warn,
        _ => Tone::Idle,
    };
    Badge::new(tone, state_for_people(state))
}

pub fn destination_state(state: ShownState) -> Badge {
    let tone = match state {
        ShownState::Healthy => Tone::Good,
        ShownState::Failing | ShownState::SkipsEverything => Tone::Warn,
        ShownState::Open => Tone::Bad,
        ShownState::NotTried | ShownState::Disabled => Tone::Idle,
    };
    Badge::new(tone, shown_state_for_people(state))
}

pub fn delivery_status(status: DeliveryStatus) -> Badge {
    let tone = match status {
        DeliveryStatus::Delivered => Tone::Good,
        DeliveryStatus::Pending | DeliveryStatus::Waiting => Tone::Busy,
        DeliveryStatus::Superseded | DeliveryStatus::Skipped => Tone::Idle,
        DeliveryStatus::Failed => Tone::Bad,
    };
    Badge::new(tone, status_for_people(status))
}

/// Converts a time that was entered in a form; without a zone, it is UTC. A text that is not a time is returned
/// unchanged.
pub fn entered_instant(text: &str) -> String {
    const MINUTES: usize = "2026-01-31T12:00".len();
    const SECONDS: usize = "2026-01-31T12:00:00".len();
    match text.len() {
        MINUTES => format!("{text}:00Z"),
        SECONDS => format!("{text}Z"),
        _ => text.to_owned(),
    }
}

/// Returns a time in the form that an HTML input needs, in UTC; empty if the text is not a time.
pub fn input_instant(text: &str) -> String {
    const SECONDS: usize = "2026-01-31T12:00:00".len();
    let time = entered_instant(text).parse::<Timestamp>().ok();
    time.and_then(|time| Some(time.to_string().get(..SECONDS)?.to_owned()))
        .unwrap_or_default()
}

/// Returns a number with its noun: `1 window`, `2 windows`, `10,000 or more windows`.
pub fn counted(number: i64, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{} {what}s", amount(number))
    }
}

/// Returns a duration in its largest unit.
pub fn lasting(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    let (number, unit) = match minutes {
        0 => return "less than a minute".to_owned(),
        1..60 => (minutes, "minute"),
        60..1440 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    counted(i64::try_from(number).unwrap_or(i64::MAX), unit)
}

/// Returns a number as text; counting stops at 10,000.
pub fn amount(number: i64) -> String {
    if number >= 10_000 {
        "10,000 or more".to_owned()
    } else {
        number.to_string()
    }
}

/// Returns a number with all its digits, grouped by three.
pub fn exact(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Escapes a text for the query of an address.
pub fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Returns an address with those query fields that are not empty.
pub fn with_query(path: &str, fields: &[(&str, &str)]) -> String {
    let present = fields.iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = present
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::{entered_instant, exact, input_instant, lasting, with_query};
    use std::time::Duration;

    #[test]
    fn an_exact_number_has_groups_of_three_digits() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (-4321, "-4,321"),
        ] {
            assert_eq!(exact(number), text);
        }
    }

    #[test]
    fn an_instant_without_a_zone_is_of_utc() {
        for (entered, sent, shown) in [
            (
                "2026-01-31T12:00",
                "2026-01-31T12:00:00Z",
                "2026-01-31T12:00:00",
            ),
            (
                "2026-01-31T12:00:07",
                "2026-01-31T12:00:07Z",
                "2026-01-31T12:00:07",
            ),
            (
                "2026-01-31T13:00:07+01:00",
                "2026-01-31T13:00:07+01:00",
                "2026-01-31T12:00:07",
            ),
            ("yesterday", "yesterday", ""),
        ] {
            assert_eq!(
                (
                    entered_instant(entered).as_str(),
                    input_instant(entered).as_str()
                ),
                (sent, shown)
            );
        }
    }

    #[test]
    fn a_duration_is_stated_in_its_largest_unit() {
        let texts = [59, 60, 3_599, 3_600, 7_200, 86_399, 86_400, 864_000]
            .map(|s| lasting(Duration::from_secs(s)));
        let expected = [
            "less than a minute",
            "1 minute",
            "59 minutes",
            "1 hour",
            "2 hours",
            "23 hours",
            "1 day",
            "10 days",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn empty_fields_are_in_no_address() {
        assert_eq!(
            with_query("/ui/events", &[("type", ""), ("from", "")]),
            "/ui/events"
        );
        assert_eq!(
            with_query("/ui/events", &[("type", "user.*"), ("x", "a&b")]),
            "/ui/events?type=user.*&x=a%26b"
        );
    }
}
