//! Tests of the App Store's form, settings, samples and simulated store without a database.

mod config;
mod form;
mod own_fields;
mod samples;
mod signer;
mod simulated;

use domain::{AppId, PlatformId, Timestamp};
use serde_json::Value;
use storage::{Platform, PlatformSettings};
use uuid::Uuid;

const BUNDLE: &str = "com.example.radio";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2026-12-01T12:00:00Z")
}

/// A platform with these store settings.
fn platform_with(store_settings: Option<Value>) -> Platform {
    Platform {
        id: PlatformId::new(Uuid::from_u128(1)),
        app_id: AppId::new(Uuid::from_u128(2)),
        store: super::STORE.to_owned(),
        settings: PlatformSettings::new("App Store", BUNDLE, 120_000),
        has_login_secret: false,
        has_shared_secret: false,
        unsigned_login_at: None,
        secret_refused_at: None,
        publishable_key: "pk_test".to_owned(),
        store_settings,
        store_credentials_at: None,
        created_at: now(),
    }
}
