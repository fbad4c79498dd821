#![doc = include_str!("../README.md")]

pub mod answer;
pub mod auditing;
pub mod clock;
pub mod commands;
pub mod config;
pub mod dispatch;
pub mod edge;
pub mod error;
pub mod extract;
pub mod metrics;
pub mod openapi;
pub mod operation;
pub mod resources;
pub mod router;
pub mod routes;
pub mod stores;
pub mod telemetry;
pub mod times;
pub mod tools;

pub use commands::{allowed, main, sender};
