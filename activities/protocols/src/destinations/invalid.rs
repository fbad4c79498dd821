//! An invalid value of a field or setting, in the form that all kinds of destinations report.

/// An invalid value of a field or a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: expected {expected}")]
pub struct Invalid {
    /// The field's API name.
    pub field: String,
    /// The expected form of the value. Never repeats a secret.
    pub expected: String,
}

impl Invalid {
    /// Returns the error for a field, with the value that was expected.
    pub fn new(field: &str, expected: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            expected: expected.into(),
        }
    }
}
