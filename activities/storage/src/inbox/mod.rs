//! Notifications of stores, from their acceptance until they are settled, and the topics that they come by.

pub mod accept;
pub mod acceptances;
pub mod notifications;
pub mod topics;
pub mod waiting;
