//! The keys of the database and of what Temporal stores, as texts.

use super::read::invalid;
use super::{Invalid, Keys};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Parses the keys of the database and those of Temporal's payloads. None may be of both: each has its own way to be
/// turned, and its own readers.
pub fn both(key: Option<&str>, engine: Option<&str>) -> Result<(Option<Keys>, Option<Keys>), Invalid> {
    let key = key.map(|text| keys("key", text)).transpose()?;
    let engine = engine.map(|text| keys("engine.key", text)).transpose()?;
    let all = |keys: &Option<Keys>| -> Vec<[u8; 32]> {
        keys.iter().flat_map(|keys| std::iter::once(&keys.newest).chain(&keys.older)).copied().collect()
    };
    if all(&engine).iter().any(|one| all(&key).contains(one)) {
        let expected = "other keys than those of `key` (SETTLE_KEY); `openssl rand -base64 32` makes one";
        return Err(invalid("engine.key", expected));
    }
    Ok((key, engine))
}

/// Parses keys, the newest first. The error does not repeat the text.
fn keys(field: &str, text: &str) -> Result<Keys, Invalid> {
    let expected = "32 bytes in base64 or hex (`openssl rand -base64 32` makes some), \
                    or several such keys with commas between them, each once and the newest first";
    let parsed: Option<Vec<[u8; 32]>> = text.split(',').map(|key| one_key(key.trim())).collect();
    let mut parsed = parsed.unwrap_or_default();
    let is_repeated = parsed.iter().enumerate().any(|(index, key)| parsed.iter().take(index).any(|one| one == key));
    if parsed.is_empty() || is_repeated {
        return Err(invalid(field, expected));
    }
    Ok(Keys { newest: parsed.remove(0), older: parsed })
}

fn one_key(text: &str) -> Option<[u8; 32]> {
    let bytes = from_hex(text).or_else(|| STANDARD.decode(text).ok())?;
    <[u8; 32]>::try_from(bytes).ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
