//! The query of a list.

use crate::extract::PageQuery;
use schemars::JsonSchema;
use serde::Deserialize;

/// Which items of a list, and which page of them.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Listed<F> {
    /// Which items.
    #[serde(flatten)]
    pub filter: F,
    /// The page.
    #[serde(flatten)]
    pub page: PageQuery,
}
