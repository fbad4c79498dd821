//! Apps, their platforms and their destinations. Deleting one hides it; the ledger keeps what it did.

use crate::{Error, Page, Paged, Store};
use domain::{AppId, DestinationId, Environment, PlatformId, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// An app of the org.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Its name, unique among the apps that were not deleted.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A platform that is to be made.
#[derive(Debug, Clone)]
pub struct NewPlatform {
    /// The app it belongs to.
    pub app_id: AppId,
    /// The store's name, such as `amazon`.
    pub store: String,
    /// A name for people, unique in the app.
    pub name: String,
    /// The app's package name in the store.
    pub package_name: String,
    /// Whether purchases of it are real.
    pub environment: Environment,
    /// The store's shared secret, for verification.
    pub shared_secret: Option<SecretString>,
    /// The topic that alone may send to it, when it is known beforehand.
    pub topic_arn: Option<String>,
    /// The quiet period in milliseconds.
    pub window_ms: i64,
    /// The longest wait in milliseconds, however often the window is restarted.
    pub max_wait_ms: Option<i64>,
    /// The unguessable part of the notification URL.
    pub ingress_key: String,
}

/// An app on one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Its id.
    pub id: PlatformId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The store's name.
    pub store: String,
    /// A name for people.
    pub name: String,
    /// The app's package name in the store.
    pub package_name: String,
    /// Whether purchases of it are real.
    pub environment: Environment,
    /// Whether a shared secret is stored.
    pub has_shared_secret: bool,
    /// The quiet period in milliseconds.
    pub window_ms: i64,
    /// The longest wait in milliseconds.
    pub max_wait_ms: Option<i64>,
    /// The unguessable part of the notification URL.
    pub ingress_key: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What is to change in a platform; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct PlatformPatch {
    /// A new name.
    pub name: Option<String>,
    /// A new package name.
    pub package_name: Option<String>,
    /// Another environment.
    pub environment: Option<Environment>,
    /// A new shared secret; `Some(None)` removes it.
    pub shared_secret: Option<Option<SecretString>>,
    /// Another window, in milliseconds.
    pub window_ms: Option<i64>,
    /// Another longest wait, in milliseconds; `Some(None)` removes it.
    pub max_wait_ms: Option<Option<i64>>,
    /// A new ingress key.
    pub ingress_key: Option<String>,
}

/// A destination that is to be made.
#[derive(Debug, Clone)]
pub struct NewDestination {
    /// The app whose events it receives.
    pub app_id: AppId,
    /// Its kind, such as `webhook`.
    pub kind: String,
    /// A name for people, unique in the app.
    pub name: String,
    /// The event types it chose.
    pub events: Vec<String>,
    /// What its kind needs to know, without secrets.
    pub settings: serde_json::Value,
    /// Its secret.
    pub secret: SecretString,
    /// Whether deliveries are attempted.
    pub enabled: bool,
}

/// Whom we tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its id.
    pub id: DestinationId,
    /// The app whose events it receives.
    pub app_id: AppId,
    /// Its kind.
    pub kind: String,
    /// A name for people.
    pub name: String,
    /// The event types it chose.
    pub events: Vec<String>,
    /// What its kind needs to know, without secrets.
    pub settings: serde_json::Value,
    /// Whether deliveries are attempted.
    pub enabled: bool,
    /// `healthy`, `failing`, `open` or `disabled`.
    pub state: String,
    /// Why it is in that state.
    pub reason: Option<String>,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What is to change in a destination; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct DestinationPatch {
    /// A new name.
    pub name: Option<String>,
    /// Another choice of event types.
    pub events: Option<Vec<String>>,
    /// Other settings, as a whole.
    pub settings: Option<serde_json::Value>,
    /// A new secret.
    pub secret: Option<SecretString>,
    /// Switch it on or off. What is owed stays owed.
    pub enabled: Option<bool>,
    /// Another state; `since` becomes now when it differs.
    pub state: Option<String>,
    /// Why; `Some(None)` removes it.
    pub reason: Option<Option<String>>,
}

impl Store {
    /// Makes an app.
    pub async fn new_app(&self, name: &str) -> Result<App, Error> {
        todo!()
    }

    /// One app.
    pub async fn app(&self, id: AppId) -> Result<App, Error> {
        todo!()
    }

    /// All apps, the oldest first.
    pub async fn apps(&self, page: Page) -> Result<Paged<App>, Error> {
        todo!()
    }

    /// Gives an app another name.
    pub async fn rename_app(&self, id: AppId, name: &str) -> Result<App, Error> {
        todo!()
    }

    /// Hides an app, its platforms and its destinations.
    pub async fn delete_app(&self, id: AppId) -> Result<(), Error> {
        todo!()
    }

    /// Makes a platform, and its topic when one is named.
    pub async fn new_platform(&self, new: NewPlatform) -> Result<Platform, Error> {
        todo!()
    }

    /// One platform.
    pub async fn platform(&self, id: PlatformId) -> Result<Platform, Error> {
        todo!()
    }

    /// The platforms of an app, the oldest first.
    pub async fn platforms(&self, app: AppId, page: Page) -> Result<Paged<Platform>, Error> {
        todo!()
    }

    /// Changes a platform.
    pub async fn update_platform(&self, id: PlatformId, patch: PlatformPatch) -> Result<Platform, Error> {
        todo!()
    }

    /// Hides a platform: its ingress key answers nobody any more.
    pub async fn delete_platform(&self, id: PlatformId) -> Result<(), Error> {
        todo!()
    }

    /// The platform that an ingress key belongs to.
    pub async fn platform_by_ingress_key(&self, key: &str) -> Result<Option<Platform>, Error> {
        todo!()
    }

    /// The store's shared secret of a platform, for verification.
    pub async fn platform_secret(&self, id: PlatformId) -> Result<Option<SecretString>, Error> {
        todo!()
    }

    /// Makes a destination.
    pub async fn new_destination(&self, new: NewDestination) -> Result<Destination, Error> {
        todo!()
    }

    /// One destination.
    pub async fn destination(&self, id: DestinationId) -> Result<Destination, Error> {
        todo!()
    }

    /// The destinations of an app, the oldest first.
    pub async fn destinations(&self, app: AppId, page: Page) -> Result<Paged<Destination>, Error> {
        todo!()
    }

    /// Changes a destination.
    pub async fn update_destination(&self, id: DestinationId, patch: DestinationPatch) -> Result<Destination, Error> {
        todo!()
    }

    /// Hides a destination: nothing is sent to it any more.
    pub async fn delete_destination(&self, id: DestinationId) -> Result<(), Error> {
        todo!()
    }

    /// The secret of a destination.
    pub async fn destination_secret(&self, id: DestinationId) -> Result<SecretString, Error> {
        todo!()
    }
}
