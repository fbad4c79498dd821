//! Whether what is asked for is done, or only counted.

/// Whether a change is made, or only what it would concern is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It is made.
    Real,
    /// It is only counted.
    Dry,
}
