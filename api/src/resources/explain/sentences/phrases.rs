//! Parts of sentences.

use storage::{Destination, Filter};

/// A sentence of these parts; some may be absent.
pub fn sentence<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect()
}

/// The environments that a destination wants.
pub fn environments(filter: &Filter) -> String {
    filter.environments.iter().map(|environment| environment.as_str()).collect::<Vec<_>>().join(", ")
}

/// `hook` (webhook, ID)
pub fn label(destination: &Destination) -> String {
    format!("`{}` ({} {})", destination.name, destination.kind, destination.id)
}

/// How many there are of something.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// How many of something it happened to.
pub fn were(number: usize, what: &str) -> String {
    let verb = if number == 1 { "was" } else { "were" };
    format!("{} {verb}", count(number, what))
}
