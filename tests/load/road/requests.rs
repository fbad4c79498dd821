//! The engine's own counters: `service_requests` of the Temporal server, by operation.

use reqwest::Method;
use std::collections::BTreeMap;
use system_tests::http::send_raw;
use system_tests::temporal::Temporal;

/// Returns the number of requests that all of the server's services have received so far, by operation, such as
/// `RespondWorkflowTaskCompleted`.
pub async fn counts(temporal: &Temporal) -> BTreeMap<String, f64> {
    let answer = send_raw(Method::GET, &temporal.metrics_url(), &[], Vec::new())
        .await
        .expect("the server's metrics");
    let mut counts = BTreeMap::new();
    for line in answer.body.as_str().unwrap_or_default().lines() {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        if name != "service_requests" && name != "service_requests_total" {
            continue;
        }
        let Some((labels, count)) = rest.rsplit_once('}') else {
            continue;
        };
        let label = |wanted: &str| {
            let value = labels
                .split(',')
                .find_map(|label| label.strip_prefix(wanted)?.strip_prefix("=\""));
            value
                .map(|value| value.trim_end_matches('"').to_owned())
                .unwrap_or_default()
        };
        let key = format!("{}.{}", label("service_name"), label("operation"));
        *counts.entry(key).or_default() += count.trim().parse::<f64>().unwrap_or(0.0);
    }
    counts
}
