//! The sender of a device's request: an address within its rate limits, with a platform's publishable key.

use crate::devices::address::{Peer, site};
use crate::devices::admission::Gate;
use crate::devices::quota::Reporter;
use crate::edge::Shared;
use crate::error::Error;
use crate::operation::{Input, Operation, Schemas};
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use std::net::IpAddr;
use storage::Platform;
use tokio::time::Instant;

/// Maximum length of a key that is looked up, in bytes; longer texts are refused.
const MAX_KEY_BYTES: usize = 100;

/// The address of a request that is within the address's rate limits.
pub struct Address(pub IpAddr);

/// The platform of the publishable key that a request has as its bearer token, and the address of the sender.
pub struct Client {
    pub platform: Platform,
    pub address: IpAddr,
}

impl Client {
    /// Returns the reporter whose usage the platform's quota counts.
    pub fn reporter(&self) -> Reporter<'_> {
        Reporter {
            platform: &self.platform,
            network: site(self.address),
        }
    }
}

impl FromRequestParts<Shared> for Address {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, edge: &Shared) -> Result<Self, Error> {
        let Peer(peer) = Peer::from_request_parts(parts, edge).await?;
        let devices = &edge.devices;
        if devices
            .trusted_proxies
            .is_unknown_proxy(peer, &parts.headers)
            && devices.unknown_proxies.note(Instant::now())
        {
            tracing::warn!(%peer, "X-Forwarded-For from an address that devices.trusted_proxies does not name");
        }
        let address = devices.trusted_proxies.client(peer, &parts.headers);
        devices
            .limits
            .check_address(address)
            .map_err(|wait| Gate::AddressRequests.refuse(wait))?;
        Ok(Self(address))
    }
}

impl FromRequestParts<Shared> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, edge: &Shared) -> Result<Self, Error> {
        let Address(address) = Address::from_request_parts(parts, edge).await?;
        let shown = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let key = shown.and_then(|text| text.split_once(' '));
        let key = key.filter(|(scheme, key)| {
            scheme.eq_ignore_ascii_case("bearer") && key.len() <= MAX_KEY_BYTES
        });
        let (_, key) = key.ok_or(Error::PublishableKey)?;
        let platform = edge
            .devices
            .publishable_keys
            .platform(&edge.store, key.trim())
            .await?;
        Ok(Self { platform, address })
    }
}

impl Input for Address {
    fn describe(_: &mut Operation, _: &mut Schemas) {}
}

impl Input for Client {
    fn describe(_: &mut Operation, _: &mut Schemas) {}
}
