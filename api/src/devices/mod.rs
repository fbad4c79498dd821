//! Device reports. The key in these requests is public, so everything is limited: the size of a request, its number of
//! events, and the number of requests from a device and from an address.

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

/// Maximum size of a device request's body, in bytes: five hundred events of two kilobytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Header with the secret that proves a device.
pub const SECRET_HEADER: HeaderName = HeaderName::from_static("settle-device-secret");

/// State for handling device requests.
#[derive(Debug)]
pub struct Devices {
    pub limits: Limits,
    pub publishable_keys: PublishableKeys,
    /// Proxies that are trusted to report a client's address.
    pub trusted_proxies: TrustedProxies,
    pub unknown_proxies: UnknownProxies,
    /// Places for requests that are handled concurrently.
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

    /// Takes a place for a request from an address. The request has a body of this size and may store something.
    ///
    /// # Errors
    /// The disk has too little free space, the address sent too many bytes, or no place is free.
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

    /// Counts a request with this secret for a device, before the secret is verified.
    ///
    /// # Errors
    /// Too many requests have this secret.
    pub fn count(&self, place: DevicePlace, shown: Option<SecretHash>) -> Result<(), Error> {
        let counted = self.limits.check_device(place, shown);
        counted.map_err(|wait| Gate::DeviceRequests.refuse(wait))
    }
}
