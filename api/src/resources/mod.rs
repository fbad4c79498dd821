//! The resources of the admin API: one file per resource, with the types of its requests and answers.

pub mod alarms;
pub mod apps;
pub mod audit;
pub mod catalogue;
pub mod customer_state;
pub mod customers;
pub mod deliveries;
pub mod destinations;
pub mod devices;
pub mod document;
pub mod events;
pub mod explain;
pub mod feed;
pub mod health;
pub mod import;
pub mod metrics;
pub mod notifications;
pub mod platforms;
pub mod purchases;
mod query;
pub mod rates;
pub mod redeliveries;
pub mod sales;
pub mod schema;
mod signals;
pub mod stores;
pub mod topics;
