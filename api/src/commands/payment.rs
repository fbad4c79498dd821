//! `settle payment`: what the table of its verbs cannot state.

use super::drawn::Hook;
use crate::resources::refunds::STATE;
use serde_json::Value;

pub const HOOKS: &[(&str, Hook)] = &[("payment", Hook::Humanize(humanize_sources))];

/// Names an amount that no store and no report shows.
fn humanize_sources(answer: &mut Value) {
    let items = answer.get_mut("items").and_then(Value::as_array_mut);
    for one in items.into_iter().flatten().filter(|one| one["source"] == STATE) {
        let is_reported = one["transaction_id"].is_string();
        one["source"] = if is_reported { "report" } else { "estimate" }.into();
    }
}

#[cfg(test)]
mod tests {
    use super::humanize_sources;
    use serde_json::json;

    #[test]
    fn a_refund_that_no_report_has_is_an_estimate() {
        let of = |source: &str, transaction: Option<&str>| json!({ "source": source, "transaction_id": transaction });
        let all = [of("store", None), of("store", Some("T-1")), of("report", Some("T-2")), of("catalogue", None)];
        let mut answer = json!({ "items": all });
        humanize_sources(&mut answer);
        let shown: Vec<_> = answer["items"].as_array().unwrap().iter().map(|one| one["source"].clone()).collect();
        assert_eq!(shown, ["estimate", "report", "report", "catalogue"]);
    }
}
