//! The log: for people on a terminal, JSON for machines. Never a body, a secret or a customer identifier.

use crate::config::Variables;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Format as Line};

/// What is shown when `SETTLE_LOG` says nothing: ours from `info`, others from `warn`.
const DEFAULT_FILTER: &str = "warn,settle=info,api=info,activities=info,workflows=info,storage=info";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people, with colours on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is not a log format (expected `human` or `json`)")),
        }
    }
}

/// Starts the log on standard error. `flag` is `--log`, which wins over `SETTLE_LOG_FORMAT`; what is shown is
/// `SETTLE_LOG`, such as `info` or `warn,api=debug`.
///
/// # Errors
/// Says which of the two cannot be read, and what was expected.
pub fn start(flag: Option<Format>, variables: &Variables) -> Result<(), String> {
    let (format, filter) = settings(flag, variables)?;
    // A second start in one process (tests) keeps the first.
    let _ = match format {
        Format::Human => lines(filter).with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => lines(filter).json().flatten_event(true).try_init(),
    };
    Ok(())
}

fn settings(flag: Option<Format>, variables: &Variables) -> Result<(Format, EnvFilter), String> {
    let given = |name: &str| variables.get(name).filter(|text| !text.is_empty());
    let named =
        given("SETTLE_LOG_FORMAT").map(|word| word.parse().map_err(|error| format!("SETTLE_LOG_FORMAT: {error}")));
    let format = match flag {
        Some(format) => format,
        None => named.transpose()?.unwrap_or_default(),
    };
    let filter = given("SETTLE_LOG").map_or(DEFAULT_FILTER, String::as_str);
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| format!("SETTLE_LOG: expected a filter such as `info` or `warn,api=debug` ({error})"))?;
    Ok((format, filter))
}

type Lines = SubscriberBuilder<DefaultFields, Line, EnvFilter, fn() -> std::io::Stderr>;

fn lines(filter: EnvFilter) -> Lines {
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr as fn() -> std::io::Stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_variable_and_wrong_words_are_named() {
        let variables = |name: &str, value: &str| Variables::from([(name.to_owned(), value.to_owned())]);
        let json = variables("SETTLE_LOG_FORMAT", "json");
        assert_eq!(settings(None, &json).map(|(format, _)| format), Ok(Format::Json));
        assert_eq!(settings(Some(Format::Human), &json).map(|(format, _)| format), Ok(Format::Human));
        let wrong = settings(None, &variables("SETTLE_LOG_FORMAT", "xml")).map(|_| ());
        assert!(wrong.is_err_and(|message| message.contains("SETTLE_LOG_FORMAT") && message.contains("json")));
        assert!(settings(None, &variables("SETTLE_LOG", "api=loudest")).is_err_and(|m| m.contains("SETTLE_LOG")));
    }
}
