//! Where a platform's purchases are made.

use crate::names::names;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of a store's two environments a platform belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Purchases for money.
    #[default]
    Production,
    /// Purchases in the store's test environment.
    Sandbox,
}

names!(Environment, "an environment (expected `production` or `sandbox`)" {
    Production = "production",
    Sandbox = "sandbox",
});
