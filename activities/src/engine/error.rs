//! Why Temporal did not accept a request, and whether a retry can help.

use temporalio_client::tonic::{Code, Status};

/// Why Temporal did not accept a request.
#[derive(Debug, thiserror::Error)]
pub enum TemporalError {
    /// Temporal cannot be reached or shuts down, or the run is just ending. Try again.
    #[error("Temporal is not available at the moment: {0}")]
    Unavailable(String),
    /// A limit of Temporal's own is reached. Try again, with fewer calls at once.
    #[error("Temporal accepts no more calls at the moment: {0}")]
    Exhausted(String),
    /// Temporal will never accept this request.
    #[error("Temporal refused the request: {0}")]
    Rejected(String),
}

impl From<Status> for TemporalError {
    fn from(status: Status) -> Self {
        match status.code() {
            // Temporal rejects an unregistered search attribute as an invalid argument. That is temporary: `ensure`
            // registers it. The missing first letter matches both capital and small.
            Code::InvalidArgument if !status.message().contains("earch attribute") => {
                Self::Rejected(status.message().to_owned())
            }
            Code::ResourceExhausted if !is_about_one_run(&status) => {
                Self::Exhausted(format!("{:?}: {}", status.code(), status.message()))
            }
            Code::NotFound if status.message().starts_with("Namespace ") => {
                Self::Unavailable(format!("{}{NO_NAMESPACE}", status.message()))
            }
            _ => Self::Unavailable(format!("{:?}: {}", status.code(), status.message())),
        }
    }
}

/// Advice for a server that does not have the namespace.
const NO_NAMESPACE: &str = " Name another one in TEMPORAL_NAMESPACE, or create it with `temporal operator namespace create`.";

/// The header that contains the reason of a refusal.
const CAUSE: &str = "x-resource-exhausted-cause";

/// Whether a limit is reached only because one run is closing, which says nothing about the server's load.
fn is_about_one_run(status: &Status) -> bool {
    status
        .metadata()
        .get(CAUSE)
        .is_some_and(|cause| cause == "BusyWorkflow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_namespace_names_the_way_out() {
        let error = TemporalError::from(Status::not_found("Namespace nope is not found."));
        assert_eq!(
            error.to_string(),
            "Temporal is not available at the moment: Namespace nope is not found. Name another one in TEMPORAL_NAMESPACE, \
             or create it with `temporal operator namespace create`."
        );
        let other = TemporalError::from(Status::not_found("workflow not found"));
        assert!(!other.to_string().contains("TEMPORAL_NAMESPACE"));
    }

    #[test]
    fn a_run_that_closes_is_no_limit_of_the_server() {
        let refused = |cause: &'static str| {
            let mut status = Status::resource_exhausted("not now");
            status
                .metadata_mut()
                .insert(CAUSE, cause.parse().expect("a value"));
            TemporalError::from(status)
        };
        assert!(matches!(refused("RpsLimit"), TemporalError::Exhausted(_)));
        assert!(matches!(
            refused("BusyWorkflow"),
            TemporalError::Unavailable(_)
        ));
    }
}
