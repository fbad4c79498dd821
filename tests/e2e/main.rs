//! The whole road: signed messages in, verified webhooks out, on a real Temporal Server, with everything that can be
//! killed killed on the way.

mod admin;
mod amplitude;
mod cancelled;
mod cost;
mod destinations;
mod durable;
mod faults;
mod first;
mod fleet;
mod heals;
mod kills;
mod lanes;
mod lives;
mod metrics;
mod operators;
mod owned;
mod recovery;
mod restless;
mod road;
mod scripts;
mod search;
mod secrets;
mod storm;
mod verified;
mod windows;
mod year;
