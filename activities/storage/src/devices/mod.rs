//! What devices report: their descriptions, sessions, events and claims of purchases, and the destinations for which
//! the events are queued.
//!
//! Nothing here starts a workflow for an event: the run of a destination's stream takes pending events in batches.

pub mod accept;
mod admission;
pub mod claims;
mod conceal;
mod events;
pub mod request;
pub mod retention;
mod rows;
pub mod secret;
mod sessions;
mod signed;
pub mod timeouts;
