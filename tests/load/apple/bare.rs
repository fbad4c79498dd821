//! What the bare server does with notifications: it verifies the signatures of the message and of both its parts, with
//! a chain that it remembers.

use crate::bare::Check;
use api::stores::apple::signer::Chain;
use api::stores::apple::{STORE, Settings, mapping};
use api::stores::push::Push;
use axum::http::{HeaderMap, StatusCode};
use protocols::stores::apple::chain::Chains;
use protocols::stores::apple::{jws, notification};
use std::collections::BTreeMap;
use storage::Platform;

pub struct SignatureCheck {
    chains: Chains,
}

impl SignatureCheck {
    /// Returns a check that trusts the root of this chain.
    pub fn new(chain: &Chain) -> Self {
        let settings = Settings {
            root: Some(chain.root().to_vec()),
            clock: api::clock::now,
        };
        Self {
            chains: settings.chains(),
        }
    }
}

impl Check for SignatureCheck {
    const STORE: &'static str = STORE;
    const ACCEPTED: StatusCode = StatusCode::OK;

    fn check(&self, platform: &Platform, _: &HeaderMap, body: &[u8]) -> Result<Push, StatusCode> {
        let refused = StatusCode::FORBIDDEN;
        let members: BTreeMap<&str, String> = serde_json::from_slice(body).map_err(|_| refused)?;
        let payload = members.get("signedPayload").ok_or(refused)?;
        let now = api::clock::now();
        let read = notification::read(&self.chains, jws::verify, payload, now);
        let payload = read.map_err(|_| refused)?;
        Ok(mapping::push(platform, payload, now))
    }
}
