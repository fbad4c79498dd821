//! The log, as readable text or JSON, and the export of traces. Neither contains a body, a secret or a customer's id.

mod disk;
mod export;
mod file;
mod traced;

use crate::config::Variables;
use disk::FullDisk;
use file::LogFile;
use std::io::IsTerminal;
use std::path::Path;
use traced::Traced;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Default filter without `SETTLE_LOG`: settle's crates from `info`, others from `warn`. A name applies to all crates
/// that begin with it, such as `api` to `api_pages`. Retries of Temporal's client are excluded, because settle itself
/// logs once that Temporal does not respond.
const DEFAULT_FILTER: &str = "warn,settle=info,api=info,activities=info,workflows=info,storage=info,traces=info,\
    temporalio_client::retry=off";

/// Crates of the HTTP client. At `debug` and `trace` they log URLs, which may contain a secret, so `SETTLE_LOG` cannot
/// enable those levels for them.
const HTTP_CRATES: [&str; 4] = ["reqwest", "hyper", "hyper_util", "hyper_rustls"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Readable text, with colours on a terminal.
    Human,
    Json,
}

/// Starts the log on standard error, and the export of traces if the standard variables name a collector.
/// `SETTLE_LOG_FORMAT` sets the format of the log, and `SETTLE_LOG` its filter, such as `info` or `warn,api=debug`.
///
/// # Errors
/// Names the invalid variable and the expected value.
pub fn start(variables: &Variables) -> Result<(), String> {
    let (format, filter) = settings(variables)?;
    let exported = export::settings(variables)?;
    // In tests, a second start in one process fails and the first log is kept.
    let _ = lines(format, filter, std::io::stderr).try_init();
    exported.map_or(Ok(()), traces::start)
}

/// Starts the log in a file, in the same way as [`start`]. Standard error gets only warnings and errors.
///
/// # Errors
/// Those of [`start`], and an error if the file cannot be written.
pub fn start_in(file: &Path, variables: &Variables) -> Result<(), String> {
    let (format, filter) = settings(variables)?;
    let exported = export::settings(variables)?;
    let log = LogFile::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let to_file = layer(format, log, false);
    let to_terminal = layer(format, std::io::stderr, std::io::stderr().is_terminal())
        .with_filter(LevelFilter::WARN);
    let layers = tracing_subscriber::registry()
        .with(to_file)
        .with(to_terminal)
        .with(filter);
    let _ = layers
        .with(filter_fn(is_discreet))
        .with(FullDisk::default())
        .try_init();
    exported.map_or(Ok(()), traces::start)
}

/// Exports the remaining spans before the process ends.
pub fn stop() {
    traces::stop();
}

fn settings(variables: &Variables) -> Result<(Format, EnvFilter), String> {
    let text = |name: &str| variables.get(name).map_or("", String::as_str);
    let format = match text("SETTLE_LOG_FORMAT") {
        "" | "human" => Format::Human,
        "json" => Format::Json,
        other => {
            return Err(format!(
                "SETTLE_LOG_FORMAT: `{other}` is not a log format (expected `human` or `json`)"
            ));
        }
    };
    let filter = Some(text("SETTLE_LOG"))
        .filter(|filter| !filter.is_empty())
        .unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        format!("SETTLE_LOG: expected a filter such as `info` or `warn,api=debug` ({error})")
    })?;
    Ok((format, filter))
}

fn lines<W>(format: Format, filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = layer(format, writer, std::io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .with(filter_fn(is_discreet))
        .with(FullDisk::default())
}

/// Returns the layer that writes log lines, with colours on a terminal.
fn layer<S, W>(format: Format, writer: W, is_terminal: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        Format::Human => lines
            .with_ansi(is_terminal)
            .map_event_format(|inner| Traced { inner, format })
            .boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .map_event_format(|inner| Traced { inner, format })
            .boxed(),
    }
}

/// Returns whether a line cannot contain a secret URL from the HTTP client.
fn is_discreet(metadata: &Metadata<'_>) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::INFO || !HTTP_CRATES.contains(&crate_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_format_is_a_variable_and_errors_name_it() {
        let variables =
            |name: &str, value: &str| Variables::from([(name.to_owned(), value.to_owned())]);
        let json = variables("SETTLE_LOG_FORMAT", "json");
        assert_eq!(settings(&json).map(|(format, _)| format), Ok(Format::Json));
        assert_eq!(
            settings(&Variables::new()).map(|(format, _)| format),
            Ok(Format::Human)
        );
        let filter = settings(&Variables::new()).expect("settings").1;
        assert!(
            filter.to_string().contains("temporalio_client::retry=off"),
            "settle itself reports that Temporal does not answer: {filter}"
        );
        let wrong = settings(&variables("SETTLE_LOG_FORMAT", "xml")).map(|_| ());
        assert!(wrong.is_err_and(
            |message| message.contains("SETTLE_LOG_FORMAT") && message.contains("json")
        ));
        assert!(
            settings(&variables("SETTLE_LOG", "api=loudest"))
                .is_err_and(|m| m.contains("SETTLE_LOG"))
        );
    }

    #[test]
    fn a_filter_of_a_package_is_that_of_the_crates_within() {
        let logged = Logged::default();
        let writer = logged.clone();
        let filter = EnvFilter::try_new("warn,api=info").expect("a filter");
        tracing::subscriber::with_default(
            lines(Format::Human, filter, move || writer.clone()),
            || {
                tracing::info!(target: "api_commands::serve", "of the commands");
                tracing::info!(target: "api_pages::visit", "of the pages");
                tracing::info!(target: "storage_db::writer", "of the database");
            },
        );
        let logged = String::from_utf8(logged.0.lock().expect("no panic").clone()).expect("text");
        assert!(
            logged.contains("of the commands") && logged.contains("of the pages"),
            "{logged}"
        );
        assert!(!logged.contains("of the database"), "{logged}");
    }

    /// Log output of a test.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_one_line_and_hides_no_other() {
        let logged = Logged::default();
        let writer = logged.clone();
        let filter = EnvFilter::try_new("info").expect("a filter");
        tracing::subscriber::with_default(
            lines(Format::Human, filter, move || writer.clone()),
            || {
                for _ in 0..3 {
                    tracing::error!(
                        error = "cannot write: database or disk is full",
                        "storage failed"
                    );
                    tracing::warn!(error = %std::io::Error::other("No space left on device"), "not noted");
                    tracing::warn!(
                        error = "not available",
                        "cannot be copied; is the disk full?"
                    );
                    tracing::warn!("something else");
                }
            },
        );
        let logged = String::from_utf8(logged.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(
            (
                logged.matches("full").count(),
                logged.matches("No space").count()
            ),
            (1, 0),
            "{logged}"
        );
        assert_eq!(logged.matches("something else").count(), 3, "{logged}");
    }

    #[test]
    fn logs_of_http_clients_below_info_are_never_shown() {
        for filter in [
            "trace",
            "info,hyper=trace,hyper_util=trace,reqwest=trace",
            "info,hyper::proto=trace",
        ] {
            for format in [Format::Human, Format::Json] {
                let logged = Logged::default();
                let writer = logged.clone();
                let filter = EnvFilter::try_new(filter).expect("a filter");
                tracing::subscriber::with_default(
                    lines(format, filter, move || writer.clone()),
                    || {
                        tracing::trace!(target: "hyper::proto::h1", "GET /developer/secret");
                        tracing::debug!(target: "hyper_util::client", "GET /developer/secret");
                        tracing::debug!(target: "reqwest", "GET /developer/secret");
                        tracing::warn!(target: "hyper", "a warning of theirs");
                        tracing::error!(target: "api", "ours");
                    },
                );
                let logged =
                    String::from_utf8(logged.0.lock().expect("no panic").clone()).expect("text");
                assert!(!logged.contains("secret"), "{logged}");
                assert!(
                    logged.contains("a warning of theirs") && logged.contains("ours"),
                    "{logged}"
                );
            }
        }
    }
}
