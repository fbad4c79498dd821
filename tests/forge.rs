//! The CI workflow only starts the scripts of `.ci`.

use super::{none, root};
use serde_json::{Value, json};

const FILE: &str = ".github/workflows/gate.yml";
/// The scripts that the workflow starts, each in its own job.
const SCRIPTS: [&str; 3] = [".ci/package", ".ci/release", ".ci/run"];
/// The actions before the scripts.
const PREPARATIONS: [&str; 2] = ["actions/checkout", "actions/setup-go"];

#[test]
fn a_forge_starts_the_gates_and_does_nothing_else() {
    let text = std::fs::read_to_string(root().join(FILE)).expect("a workflow");
    let workflow: Value = serde_saphyr::from_str(&text).expect("YAML");
    let jobs = workflow["jobs"].as_object().expect("jobs");
    let steps: Vec<&Value> = jobs
        .values()
        .flat_map(|job| job["steps"].as_array().expect("steps"))
        .collect();
    let mut started: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["run"].as_str())
        .collect();
    started.sort_unstable();
    assert_eq!(started, SCRIPTS);
    let is_preparation =
        |action: &str| PREPARATIONS.contains(&action.split('@').next().unwrap_or_default());
    let actions: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["uses"].as_str())
        .collect();
    none(
        "it uses these",
        actions
            .iter()
            .filter(|action| !is_preparation(action))
            .map(ToString::to_string),
    );
    assert_eq!(
        steps.len(),
        started.len() + actions.len(),
        "a step is an action or a script"
    );
    assert_eq!(workflow["permissions"], json!({ "contents": "read" }));
}
