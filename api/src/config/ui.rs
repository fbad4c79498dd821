//! Sign-ins to the dashboard, its host names, and the addresses that it links to.

use super::{Invalid, Ui};
use crate::setting::{bounded, invalid, origin};
use crate::times;
use serde::Deserialize;
use std::time::Duration;

/// Section `ui` of the configuration file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    sign_in_idle: Option<String>,
    sign_in_lifetime: Option<String>,
    hosts: Vec<String>,
    temporal_url: Option<String>,
    url: Option<String>,
}

/// Parses the section.
pub fn read(raw: &Raw) -> Result<Ui, Invalid> {
    let time = |field: &str, text: Option<&str>, default: &str, max: Duration| {
        let least = Duration::from_secs(60);
        let parsed = bounded(text.unwrap_or(default), max).filter(|duration| *duration >= least);
        parsed.ok_or_else(|| {
            invalid(
                field,
                format!(
                    "a duration from 1m to {}, such as {default}",
                    times::compact(max)
                ),
            )
        })
    };
    let [day, week] = [24, 7 * 24].map(|hours| Duration::from_secs(hours * 3600));
    Ok(Ui {
        sign_in_idle: time("ui.sign_in_idle", raw.sign_in_idle.as_deref(), "1h", day)?,
        sign_in_lifetime: time(
            "ui.sign_in_lifetime",
            raw.sign_in_lifetime.as_deref(),
            "12h",
            week,
        )?,
        hosts: hosts(&raw.hosts)?,
        temporal_url: raw
            .temporal_url
            .as_deref()
            .map(|text| origin("ui.temporal_url", text))
            .transpose()?,
        url: raw
            .url
            .as_deref()
            .map(|text| origin("ui.url", text))
            .transpose()?,
    })
}

/// Checks that host names have no scheme, port or path.
fn hosts(texts: &[String]) -> Result<Vec<String>, Invalid> {
    let is_name = |text: &str| {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "-.".contains(letter);
        !text.is_empty() && text.chars().all(letters)
    };
    let expected = "host names such as settle.example.com, without scheme or port";
    let names = texts.iter().map(|text| text.trim().to_owned());
    names
        .map(|name| {
            if is_name(&name) {
                Ok(name)
            } else {
                Err(invalid("ui.hosts", expected))
            }
        })
        .collect()
}
