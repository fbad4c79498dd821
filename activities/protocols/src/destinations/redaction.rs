//! Redacts a secret that was cut off at the end of a text: replies are read up to a bound.

/// The shortest beginning of a secret that is redacted. A shorter one reveals nothing and occurs everywhere.
const SHORTEST: usize = 6;

/// Replaces the end of a text by `mark` where it is a beginning of one of the secrets, in any case of letters. The longest
/// such end counts, so that nothing of one secret remains before another's beginning.
#[must_use]
pub fn without_beginning<'a>(mut text: String, secrets: impl Iterator<Item = &'a str>, mark: &str) -> String {
    let longest = secrets.filter_map(|secret| beginning(&text, secret)).max();
    if let Some(at) = longest.and_then(|length| text.len().checked_sub(length)) {
        text.truncate(at);
        text.push_str(mark);
    }
    text
}

/// The length of the text's end that is the secret's beginning, in bytes.
fn beginning(text: &str, secret: &str) -> Option<usize> {
    let longest = secret.len().saturating_sub(1).min(text.len());
    (SHORTEST..=longest).rev().find(|length| {
        let end = text.len().checked_sub(*length).and_then(|at| text.get(at..));
        end.zip(secret.get(..*length)).is_some_and(|(end, beginning)| end.eq_ignore_ascii_case(beginning))
    })
}
