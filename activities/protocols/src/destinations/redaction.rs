//! Redacts a secret that is cut off at the end of a text. Only the beginning of a reply is read, so it may end within a
//! secret.

/// Minimum length in bytes of a secret's beginning that is redacted. A shorter one reveals little and would match
/// unrelated text.
const MIN_BYTES: usize = 6;

/// Replaces the end of a text with `mark` if it is the beginning of one of the secrets, ignoring case. Of several
/// matches the longest is replaced, so that no part of a secret remains.
pub fn without_beginning<'a>(
    mut text: String,
    secrets: impl Iterator<Item = &'a str>,
    mark: &str,
) -> String {
    let longest = secrets.filter_map(|secret| beginning(&text, secret)).max();
    if let Some(at) = longest.and_then(|length| text.len().checked_sub(length)) {
        text.truncate(at);
        text.push_str(mark);
    }
    text
}

/// Returns the length in bytes of the longest end of the text with which the secret begins; `None` if it is too short.
fn beginning(text: &str, secret: &str) -> Option<usize> {
    let longest = secret.len().saturating_sub(1).min(text.len());
    (MIN_BYTES..=longest).rev().find(|length| {
        let end = text
            .len()
            .checked_sub(*length)
            .and_then(|at| text.get(at..));
        end.zip(secret.get(..*length))
            .is_some_and(|(end, beginning)| end.eq_ignore_ascii_case(beginning))
    })
}
