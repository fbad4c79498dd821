//! Phrases that several sentences share.

use domain::event::{Wildcards, listed};
use protocols::smtp::COMMAND;
use storage::{Destination, DestinationSettings, Filter};

/// Joins the parts that are present into one sentence.
pub fn sentence<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect()
}

/// Returns the types of events that a destination is subscribed to.
pub fn subscription(destination: &Destination) -> String {
    let Destination {
        wildcards,
        common: DestinationSettings { events, .. },
        ..
    } = destination;
    match (events.as_slice(), wildcards) {
        ([all], Wildcards::Everything) if all == "*" => "all events".to_owned(),
        ([all], Wildcards::Listed) if all == "*" => {
            format!("the {} events of its form", listed().len())
        }
        (some, _) => some.join(", "),
    }
}

/// Returns the error of an attempt, unless it only repeats the status.
pub fn error_beside(status: Option<i64>, error: Option<&str>) -> Option<&str> {
    error
        .filter(|error| status.is_none_or(|status| !error.ends_with(&format!("answered {status}"))))
}

/// Returns the protocol of a response's status, according to the response's headers.
pub fn protocol(headers: &[(String, String)]) -> &'static str {
    if headers.iter().any(|(name, _)| name == COMMAND) {
        "SMTP"
    } else {
        "HTTP"
    }
}

/// Returns the status with its protocol, and the error of an attempt.
pub fn response(protocol: &str, status: Option<i64>, error: Option<&str>) -> Option<String> {
    match (status, error_beside(status, error)) {
        (Some(status), Some(error)) => Some(format!("{protocol} {status}: {error}")),
        (Some(status), None) => Some(format!("{protocol} {status}")),
        (None, error) => error.map(str::to_owned),
    }
}

/// Returns a reason to append to a sentence; empty if there is none.
pub fn because(why: Option<&str>) -> String {
    why.map_or_else(String::new, |why| format!(": {why}"))
}

/// Returns the environments that a destination's filter allows.
pub fn environments(filter: &Filter) -> String {
    filter
        .environments
        .iter()
        .map(|environment| environment.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns a destination as `name` (kind and id).
pub fn label(destination: &Destination) -> String {
    format!(
        "`{}` ({} {})",
        destination.name, destination.kind, destination.id
    )
}

/// Returns a number with its noun: `1 failure`, `2 failures`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}
