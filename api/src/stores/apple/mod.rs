//! The App Store at the HTTP edge: its settings, the form of its platforms, its samples and the demo's simulated store.
//! It is in no list of stores yet.

pub mod form;
pub mod own_fields;
pub mod sample;
pub mod settings;
pub mod signer;
pub mod simulated;
#[cfg(test)]
mod tests;

pub use settings::{
    ACCOUNT_IDS, APP_APPLE_ID, ExpectedApp, ISSUER_ID, KEY_ID, PRIVATE_KEY, Settings,
};

/// Name of the App Store as a platform's store.
pub const STORE: &str = "apple";
