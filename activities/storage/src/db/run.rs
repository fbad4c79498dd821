//! Whether a call is carried out, or its effect is only counted.

/// Whether a change is made, or its effect is only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// It is made.
    Real,
    /// It is only counted.
    Dry,
}
