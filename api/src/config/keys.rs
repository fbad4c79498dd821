//! The database's encryption keys, as text.

use super::{Invalid, Keys};
use crate::setting::invalid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::text::trimmed;

/// Parses keys, newest first. Errors do not repeat the text.
pub fn parse(text: &str) -> Result<Keys, Invalid> {
    let expected = "32 bytes in base64 or hex (`openssl rand -base64 32` generates them), \
                    or several such keys separated by commas, each once and the newest first";
    let parsed: Option<Vec<[u8; 32]>> = text.split(',').map(|key| one_key(trimmed(key))).collect();
    let mut parsed = parsed.unwrap_or_default();
    let is_repeated = parsed
        .iter()
        .enumerate()
        .any(|(index, key)| parsed.iter().take(index).any(|one| one == key));
    if parsed.is_empty() || is_repeated {
        return Err(invalid("key", expected));
    }
    Ok(Keys {
        newest: parsed.remove(0),
        older: parsed,
    })
}

fn one_key(text: &str) -> Option<[u8; 32]> {
    let bytes = from_hex(text).or_else(|| STANDARD.decode(text).ok())?;
    <[u8; 32]>::try_from(bytes).ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}
