#![doc = include_str!("../README.md")]

mod answer;
mod checking;
pub mod clock;
mod commands;
pub mod config;
mod counting;
pub mod devices;
pub mod dispatch;
pub mod edge;
mod error;
mod extract;
pub mod figures;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod flags;
pub mod keyring;
pub mod keys;
mod listener;
mod lookups;
pub mod metrics;
mod near;
pub mod openapi;
mod operation;
pub mod pages;
mod resources;
pub mod route;
pub mod router;
pub mod routes;
pub mod setting;
mod shell;
mod signs;
pub mod silence;
mod sizes;
pub mod stores;
mod telemetry;
mod times;
pub mod tools;
pub mod workers;

pub use commands::{Additions, allowed, main, main_with, polls, sender, sweeping};
