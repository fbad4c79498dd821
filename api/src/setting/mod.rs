//! Building blocks for settings, used by `config` and by each store.

mod section;
mod value;

pub use section::{Form, Section, Variable, unreadable};
pub use value::{bounded, invalid, list, none, origin, parsed};

/// The error for a setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting `{field}`{}: expected {expected}", from(.origin))]
pub struct Invalid {
    /// Name of the setting in the configuration file, such as `destinations.allow_http`.
    pub field: String,
    /// The flag that set it, else its environment variable, if it has one.
    pub origin: Option<&'static str>,
    pub expected: String,
}

fn from(origin: &Option<&'static str>) -> String {
    origin.map(|name| format!(" ({name})")).unwrap_or_default()
}
