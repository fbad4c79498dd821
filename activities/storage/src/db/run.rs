//! The choice between a real call and a dry run.

/// Whether a call makes its change or is a dry run. Not a run of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    Real,
    /// Only counts the changes.
    Dry,
}
