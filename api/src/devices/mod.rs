//! What devices report. The key of a request is public, so everything here is bounded: the size of a request, the
//! number of its events, and how many requests a device and an address may send.

pub mod address;
pub mod admission;
mod checks;
pub mod limits;
mod places;
mod publishable_keys;
pub mod quota;
pub mod room;
pub mod token;

use crate::config;
use crate::error::Error;
use address::{TrustedProxies, UnknownProxies};
use admission::Gate;
use axum::http::HeaderName;
use checks::Checks;
use domain::DevicePlace;
use limits::Limits;
use places::{Places, RequestPlace};
use publishable_keys::PublishableKeys;
use quota::Quotas;
use room::Room;
use std::net::IpAddr;
use std::sync::Arc;
use storage::{SecretHash, Store};
use tokio::time::Instant;

/// The body limit of a device's request, in bytes: five hundred events of two kilobytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The header with which a device proves itself.
pub const SECRET_HEADER: HeaderName = HeaderName::from_static("settle-device-secret");

/// The state of the ingress of devices.
#[derive(Debug)]
pub struct Devices {
    pub limits: Limits,
    pub publishable_keys: PublishableKeys,
    /// The proxies that name the address of a client.
    pub trusted_proxies: TrustedProxies,
    pub unknown_proxies: UnknownProxies,
    /// The places for requests that are carried out at once.
    pub places: Places,
    pub checks: Checks,
    pub room: Arc<Room>,
    /// Daily quotas of devices.
    pub quotas: Arc<Quotas>,
}

impl Devices {
    pub fn new(settings: &config::Devices) -> Self {
        Self {
            limits: Limits::new(
                settings.per_device,
                settings.per_address,
                settings.bytes_per_address,
            ),
            trusted_proxies: TrustedProxies(settings.trusted_proxies.clone()),
            publishable_keys: PublishableKeys::default(),
            unknown_proxies: UnknownProxies::default(),
            places: Places::default(),
            checks: Checks::default(),
            room: Arc::new(Room::new(settings.disk_reserve)),
            quotas: Arc::default(),
        }
    }

    /// Takes a place for a request of an address, with a body of this size, which may store something.
    ///
    /// # Errors
    /// The disk has too little room, the address sent too many bytes, or there is no place.
    pub fn admit(
        &self,
        store: &Store,
        address: IpAddr,
        bytes: usize,
    ) -> Result<RequestPlace, Error> {
        self.room.check(store.disk(), Instant::now())?;
        let counted = self.limits.check_bytes(address, bytes);
        counted.map_err(|wait| Gate::AddressBytes.refuse(wait))?;
        self.places.take(address)
    }

    /// Counts a request that shows this secret for a device, before the secret is checked.
    ///
    /// # Errors
    /// Too many requests show it.
    pub fn count(&self, place: DevicePlace, shown: Option<SecretHash>) -> Result<(), Error> {
        let counted = self.limits.check_device(place, shown);
        counted.map_err(|wait| Gate::DeviceRequests.refuse(wait))
    }
}
