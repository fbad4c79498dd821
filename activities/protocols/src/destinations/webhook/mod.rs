//! A webhook: an HTTPS endpoint that receives signed events.
//!
//! Requests follow Standard Webhooks 1.0.0 (<https://www.standardwebhooks.com>).

pub mod body;
pub mod config;
pub mod form;
mod headers;
pub mod kind;
pub mod request;
pub mod response;
pub mod schemas;
pub mod secret_url;
mod secrets;
mod settings;
mod signature;

#[cfg(test)]
mod tests;

/// The name of this kind of destination, in the API and in the database.
pub const KIND: &str = "webhook";
