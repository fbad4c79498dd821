//! Looks up the platforms of publishable keys. Keys may be made up, so concurrent lookups are combined into one query.

use crate::error::Error;
use crate::lookups::{Found, Lookups};
use storage::{Platform, Store};

/// Why no platform was found for a key.
#[derive(Debug, Clone)]
enum Miss {
    Unknown,
    /// The database does not respond, for this reason.
    Unavailable(String),
    Internal,
}

#[derive(Debug, Default)]
pub struct PublishableKeys(Lookups<Platform, Miss>);

impl PublishableKeys {
    /// Returns the platform that a publishable key belongs to.
    ///
    /// # Errors
    /// The key is unknown, or the database does not respond.
    pub async fn platform(&self, store: &Store, key: &str) -> Result<Platform, Error> {
        let store = store.clone();
        let look_up = move |keys: Vec<String>| {
            let store = store.clone();
            async move {
                let found = store
                    .platforms_by_publishable_keys(keys)
                    .await
                    .map_err(Miss::from)?;
                let values = found
                    .into_iter()
                    .map(|platform| (platform.publishable_key.clone(), platform))
                    .collect();
                Ok(Found {
                    values,
                    otherwise: Miss::Unknown,
                })
            }
        };
        let found = self.0.find(key, look_up).await;
        found.unwrap_or(Err(Miss::Internal)).map_err(Error::from)
    }
}

impl From<storage::Error> for Miss {
    fn from(error: storage::Error) -> Self {
        match Error::from(error) {
            Error::Unavailable(detail) => Self::Unavailable(detail),
            _ => Self::Internal,
        }
    }
}

impl From<Miss> for Error {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Unknown => Self::PublishableKey,
            Miss::Unavailable(detail) => Self::Unavailable(detail),
            Miss::Internal => Self::Internal,
        }
    }
}
