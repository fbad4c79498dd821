//! The environment in which a platform's purchases are made.

use crate::names::names;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The store's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real purchases.
    #[default]
    Production,
    /// Test purchases.
    Sandbox,
}

names!(Environment, "an environment (expected `production` or `sandbox`)" {
    Production = "production",
    Sandbox = "sandbox",
});
