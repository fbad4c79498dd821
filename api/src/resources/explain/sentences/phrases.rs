//! Parts of sentences.

use storage::{Destination, Filter};

/// Joins the parts that are present to one sentence.
pub fn sentence<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect()
}

/// The environments that a destination wants.
pub fn environments(filter: &Filter) -> String {
    filter.environments.iter().map(|environment| environment.as_str()).collect::<Vec<_>>().join(", ")
}

/// A destination as `name` (kind id).
pub fn label(destination: &Destination) -> String {
    format!("`{}` ({} {})", destination.name, destination.kind, destination.id)
}

/// A number with its noun: `1 failure`, `2 failures`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The verb after a number of things.
pub const fn was(number: usize) -> &'static str {
    if number == 1 { "was" } else { "were" }
}
