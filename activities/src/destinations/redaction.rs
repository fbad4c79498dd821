//! How a text of the other side is rid of a secret that was cut off in the middle: answers are read up to a bound.

/// How much of a secret's beginning is hidden at a text's end. Less of it tells nothing, and is found everywhere.
const SHORTEST: usize = 6;

/// The text, whose end is `mark` where it was a beginning of one of the secrets, in capitals or not. The longest such
/// end counts, so that nothing of one secret stays before another's beginning.
#[must_use]
pub fn without_beginning<'a>(mut text: String, secrets: impl Iterator<Item = &'a str>, mark: &str) -> String {
    let longest = secrets.filter_map(|secret| beginning(&text, secret)).max();
    if let Some(at) = longest.and_then(|length| text.len().checked_sub(length)) {
        text.truncate(at);
        text.push_str(mark);
    }
    text
}

/// How much of the text's end is the secret's beginning, in bytes.
fn beginning(text: &str, secret: &str) -> Option<usize> {
    let longest = secret.len().saturating_sub(1).min(text.len());
    (SHORTEST..=longest).rev().find(|length| {
        let end = text.len().checked_sub(*length).and_then(|at| text.get(at..));
        end.zip(secret.get(..*length)).is_some_and(|(end, beginning)| end.eq_ignore_ascii_case(beginning))
    })
}
