//! The stored data of Temporal with decoded payloads, so that texts can be searched in it.

use super::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The name of a searched place, and its content.
pub type Place = (String, Vec<u8>);

/// Returns the histories of all runs of all workflows, with their payloads decoded.
pub async fn histories(world: &World) -> Vec<Place> {
    let runs = world
        .temporal
        .list("WorkflowType IN ('purchase', 'sweep', 'destination', 'stream', 'claims')")
        .await;
    assert!(runs.len() >= 2, "{} runs are too few", runs.len());
    let mut histories = Vec::new();
    for run in runs.into_iter().filter_map(|run| run.execution) {
        let mut bytes = world.temporal.run_history_json(&run).await;
        let json: Value = serde_json::from_slice(&bytes).expect("a history as JSON");
        decode(&json, &mut bytes);
        histories.push((format!("the history of {}", run.workflow_id), bytes));
    }
    histories
}

/// Adds the decoded form of every base64 text: in JSON, payloads are base64.
fn decode(json: &Value, found: &mut Vec<u8>) {
    match json {
        Value::String(text) => found.extend(STANDARD.decode(text).unwrap_or_default()),
        Value::Array(items) => items.iter().for_each(|item| decode(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| decode(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
