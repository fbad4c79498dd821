//! Credentials for queries of a platform's store: one secret, or the fields of the store's own form.

use db::error::Error;
use db::secrets::Secrets;
use db::statement::row;
use domain::PlatformId;
use secrecy::SecretString;
use serde_json::{Map, Value};

/// Encryption purpose of a store's one secret; the encryption is also bound to the platform's id.
pub const SHARED_SECRET: &str = "platforms";
/// Encryption purpose of credentials in a store's own form; the encryption is also bound to the platform's id.
pub const STORE_CREDENTIALS: &str = "platforms.store_credentials";

/// Whether the store of a platform can be queried: it has a credential that the store has not refused.
pub const IS_USABLE: &str =
    "(COALESCE(store_credentials, shared_secret) IS NOT NULL AND secret_refused_at IS NULL)";
/// [`IS_USABLE`], of the platform `f`.
pub const IS_USABLE_F: &str =
    "(COALESCE(f.store_credentials, f.shared_secret) IS NOT NULL AND f.secret_refused_at IS NULL)";

/// The settings and credentials of a platform that are specific to its store, by the field names of the store's own
/// form.
#[derive(Debug, Clone, Default)]
pub struct StorePart {
    /// Settings, which can be read back.
    pub settings: Option<Value>,
    /// Credentials, which are never shown again.
    pub credentials: Option<SecretString>,
}

/// A change of a platform's [`StorePart`]. It has what is changed alone, so that two changes at once both stay.
#[derive(Debug, Clone, Default)]
pub struct StorePartChange {
    /// New values of settings; null removes a setting. The others stay.
    pub settings: Map<String, Value>,
    /// New credentials; without any the stored ones stay.
    pub credentials: Option<SecretString>,
}

impl StorePartChange {
    /// The change from these settings to that part.
    pub fn between(before: Option<&Value>, after: StorePart) -> Self {
        let (before, after_settings) = (fields(before), fields(after.settings.as_ref()));
        let removed = before
            .keys()
            .filter(|name| !after_settings.contains_key(*name))
            .map(|name| (name.clone(), Value::Null));
        let set = after_settings
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(*value))
            .map(|(name, value)| (name.clone(), value.clone()));
        Self {
            settings: set.chain(removed).collect(),
            credentials: after.credentials,
        }
    }

    /// Applies the change to these settings; an empty object is no settings.
    pub fn applied(&self, settings: Option<&Value>) -> Map<String, Value> {
        let mut all = fields(settings);
        for (name, value) in &self.settings {
            if value.is_null() {
                all.remove(name);
            } else {
                all.insert(name.clone(), value.clone());
            }
        }
        all
    }
}

fn fields(settings: Option<&Value>) -> Map<String, Value> {
    let fields = settings.and_then(Value::as_object);
    fields.cloned().unwrap_or_default()
}

/// The credential for queries of a platform's store.
#[derive(Default)]
pub struct Credential {
    /// The credential of a store that has one secret; empty for others.
    pub secret: SecretString,
    pub of_store: StorePart,
    /// The encrypted form as stored, to detect whether the platform's credential has changed since.
    pub sealed: String,
}

row! {
    /// The stored credential of a platform.
    pub struct SealedCredential {
        shared_secret: Option<String>,
        store_settings: Option<Value>,
        store_credentials: Option<String>,
    }
}

impl SealedCredential {
    /// Returns the platform's settings without a credential.
    pub fn without_secret(self) -> Credential {
        Credential {
            of_store: StorePart {
                settings: self.store_settings,
                credentials: None,
            },
            ..Credential::default()
        }
    }

    /// Decrypts the credential; `None` if the platform has none.
    pub fn open(self, secrets: &Secrets, id: PlatformId) -> Result<Option<Credential>, Error> {
        let id = id.to_string();
        let open = |purpose: &'static str, sealed: Option<&String>| {
            sealed
                .map(|sealed| secrets.open(purpose, &id, sealed))
                .transpose()
        };
        let secret = open(SHARED_SECRET, self.shared_secret.as_ref())?;
        let credentials = open(STORE_CREDENTIALS, self.store_credentials.as_ref())?;
        let sealed = self.store_credentials.or(self.shared_secret);
        Ok(sealed.map(|sealed| Credential {
            secret: secret.unwrap_or_default(),
            of_store: StorePart {
                settings: self.store_settings,
                credentials,
            },
            sealed,
        }))
    }
}
