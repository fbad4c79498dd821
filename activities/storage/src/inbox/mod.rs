//! Notifications of stores, from acceptance until they are settled, and the topics that send them.

pub mod accept;
pub mod acceptances;
mod conceal;
pub mod notifications;
pub mod requests;
pub mod topics;
pub mod traces;
pub mod waiting;
mod windows;
