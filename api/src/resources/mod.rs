//! What an admin reads and changes by HTTP: one file per resource, and how requests are read.

pub mod alarms;
pub mod apps;
mod asked;
pub mod audit;
pub mod catalogue;
pub mod customers;
pub mod deliveries;
pub mod destinations;
pub mod events;
pub mod explain;
pub mod feed;
pub mod import;
mod input;
mod near;
pub mod notifications;
pub mod platforms;
pub mod purchases;
pub mod rates;
pub mod redeliveries;
pub mod sales;
pub mod schema;
pub mod stores;
pub mod topics;

pub use input::{Body, Fields, Id, Ids, Query};
