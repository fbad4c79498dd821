//! The whole road: signed messages in, verified webhooks out, on a real Temporal Server, with everything that can be
//! killed killed on the way.

mod cost;
mod durable;
mod heals;
mod kills;
mod metrics;
mod road;
mod search;
mod windows;
