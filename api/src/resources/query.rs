//! Query parameters that lists share.

use crate::extract::PageQuery;
use domain::AppId;
use schemars::JsonSchema;
use serde::Deserialize;

/// Which items of a list that belong to apps or to the whole installation.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct OfApp {
    /// Only items of this app.
    pub app_id: Option<AppId>,
}

/// Which items of a list, and which page of them.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Listed<F> {
    /// Filter of the list.
    #[serde(flatten)]
    pub filter: F,
    /// The page.
    #[serde(flatten)]
    pub page: PageQuery,
}
