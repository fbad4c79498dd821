//! Stand-ins for `domain::{Purchase, State, Decision, Environment}` until those are committed.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State { Unknown }

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision { pub purchase: Purchase, pub changed: bool, pub outcomes: Vec<(i64, domain::Outcome)> }

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment { Production, Sandbox }
