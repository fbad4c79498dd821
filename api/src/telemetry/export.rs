//! Reads from the standard `OTEL_*` variables whether and how traces are exported.

use crate::clock;
use crate::config::Variables;
use std::time::Duration;
use traces::ExportSettings;
use url::Url;

const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
/// Default of `OTEL_EXPORTER_OTLP_TIMEOUT`, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// Default of `OTEL_BSP_MAX_QUEUE_SIZE`.
const QUEUE: u64 = 2_048;

/// Returns the settings of the export; `None` without `OTEL_EXPORTER_OTLP_ENDPOINT`, which enables the export.
///
/// # Errors
/// Names the invalid variable and the expected value. Never repeats a value.
pub fn settings(variables: &Variables) -> Result<Option<ExportSettings>, String> {
    let text = |name: &str| {
        variables
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    };
    let either = |suffix: &str| {
        let names = [
            format!("OTEL_EXPORTER_OTLP_TRACES_{suffix}"),
            format!("OTEL_EXPORTER_OTLP_{suffix}"),
        ];
        names
            .into_iter()
            .find_map(|name| text(&name).map(|value| (name, value)))
    };
    let Some((name, endpoint)) = either("ENDPOINT") else {
        return Ok(None);
    };
    let is_disabled =
        text("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    match text("OTEL_TRACES_EXPORTER") {
        _ if is_disabled => return Ok(None),
        Some("none") => return Ok(None),
        None | Some("otlp") => {}
        Some(_) => return Err("OTEL_TRACES_EXPORTER: expected `otlp` or `none`".to_owned()),
    }
    let is_http = Url::parse(endpoint)
        .is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if !is_http {
        return Err(format!(
            "{name}: expected the URL of a collector, such as http://127.0.0.1:4318"
        ));
    }
    if let Some((name, _)) = either("PROTOCOL").filter(|(_, protocol)| *protocol != "http/protobuf")
    {
        return Err(format!("{name}: expected `http/protobuf`"));
    }
    if let Some((name, _)) = either("COMPRESSION").filter(|(_, compression)| *compression != "none")
    {
        return Err(format!("{name}: expected no compression"));
    }
    if text("OTEL_TRACES_SAMPLER").is_some_and(|sampler| !SAMPLERS.contains(&sampler)) {
        return Err(format!(
            "OTEL_TRACES_SAMPLER: expected one of {}",
            SAMPLERS.join(", ")
        ));
    }
    let timeout = match either("TIMEOUT") {
        Some((name, value)) => number(&name, value)?,
        None => TIMEOUT_MS,
    };
    let queue = text("OTEL_BSP_MAX_QUEUE_SIZE")
        .map_or(Ok(QUEUE), |value| number("OTEL_BSP_MAX_QUEUE_SIZE", value))?;
    let attributes = text("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_named = text("OTEL_SERVICE_NAME").is_some() || attributes.contains("service.name=");
    Ok(Some(ExportSettings {
        service_name: (!is_named).then_some("settle"),
        instance: clock::random_uuid().to_string(),
        timeout: Duration::from_millis(timeout),
        queue: usize::try_from(queue).unwrap_or(usize::MAX),
    }))
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{name}: expected a positive whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<ExportSettings>, String> {
        settings(
            &variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        let off = [
            vec![],
            vec![("OTEL_SERVICE_NAME", "shop")],
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            vec![ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            vec![ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ];
        for variables in off {
            assert!(matches!(read(&variables), Ok(None)), "{variables:?}");
        }
    }

    #[test]
    fn the_standard_variables_are_read() {
        let settings = read(&[ENDPOINT]).expect("settings").expect("an export");
        assert_eq!(
            (
                settings.service_name,
                settings.timeout.as_secs(),
                settings.queue
            ),
            (Some("settle"), 10, 2_048)
        );
        let variables = [
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://collector.example/v1/traces",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ];
        let settings = read(&variables).expect("settings").expect("an export");
        assert_eq!(
            (
                settings.service_name,
                settings.timeout.as_millis(),
                settings.queue
            ),
            (None, 500, 16)
        );
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_and_not_repeated() {
        let wrong = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "secret-7f"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc-secret-7f"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "secret-7f"),
            ("OTEL_TRACES_SAMPLER", "secret-7f"),
            ("OTEL_TRACES_EXPORTER", "secret-7f"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "secret-7f"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ];
        for (name, value) in wrong {
            let error = read(&[ENDPOINT, (name, value)]).expect_err(name);
            assert!(
                error.contains(name) && !error.contains("secret-7f"),
                "{error}"
            );
        }
    }
}
