//! The settings of an email destination. They are stored as JSON; nothing is secret.

use crate::destinations::settings;
use crate::smtp::is_plain;
use lettre::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// Maximum number of recipients.
pub const MAX_RECIPIENTS: usize = 10;
/// Maximum length of the subject prefix, in characters.
const MAX_PREFIX: usize = 50;

/// The settings of a destination of mails. A new one is also an entry of the form, and a flag of `settle destination`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// Email addresses of the recipients.
    #[serde(deserialize_with = "recipients", skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        with = "Vec<String>",
        extend(
            "minItems" = 1,
            "maxItems" = MAX_RECIPIENTS,
            "x-expected" = "1 to 10 different addresses of ASCII characters, such as ops@example.com"
        )
    )]
    pub to: Vec<String>,
    /// Prefix for the subject of each email.
    #[serde(deserialize_with = "prefix")]
    #[schemars(extend("maxLength" = MAX_PREFIX, "x-expected" = "a text of at most 50 characters in one line"))]
    pub subject_prefix: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            to: Vec::new(),
            subject_prefix: "[settle]".to_owned(),
        }
    }
}

impl settings::Settings for Settings {}

fn recipients<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let texts: Vec<String> = texts
        .into_iter()
        .map(|text| text.trim().to_owned())
        .collect();
    let is_right = |text: &String| {
        text.parse()
            .is_ok_and(|address: Address| is_plain(&address))
    };
    let is_once = |(at, text): (usize, &String)| {
        !texts
            .iter()
            .take(at)
            .any(|one| one.eq_ignore_ascii_case(text))
    };
    let is_counted = (1..=MAX_RECIPIENTS).contains(&texts.len());
    let is_valid =
        is_counted && texts.iter().all(is_right) && texts.iter().enumerate().all(is_once);
    if is_valid {
        Ok(texts)
    } else {
        Err(serde::de::Error::custom("no list of addresses"))
    }
}

fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let is_valid = text.chars().count() <= MAX_PREFIX && !text.chars().any(char::is_control);
    if is_valid {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("too long, or several lines"))
    }
}
