//! Webhooks as Standard Webhooks 1.0.0 defines them:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

pub mod config;
pub mod request;
pub mod response;

#[cfg(test)]
mod tests;

pub use config::Config;
