//! What devices report. The key of a request is public, so everything here is bounded: the size of a request, the number
//! of its events, and how many requests a device and an address may send.

pub mod address;
mod checks;
pub mod claims;
pub mod client;
pub mod limits;
mod places;
pub mod request;
pub mod room;
pub mod token;

use crate::config;
use address::{TrustedProxies, UnknownProxies};
use checks::Checks;
use limits::Limits;
use places::Places;
use room::Room;
use std::sync::Arc;

/// Maximum size of a request in bytes: five hundred events of two kilobytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The state of the ingress of devices.
#[derive(Debug)]
pub struct Devices {
    /// The bounds on requests.
    pub limits: Limits,
    /// The proxies that name the address of a client.
    pub trusted_proxies: TrustedProxies,
    /// Those that nobody named.
    pub unknown_proxies: UnknownProxies,
    /// The places for requests that are carried out at once.
    pub places: Places,
    /// The checks of bodies.
    pub checks: Checks,
    /// The room on the disk.
    pub room: Arc<Room>,
}

impl Devices {
    /// The ingress with these settings.
    #[must_use]
    pub fn new(settings: &config::Devices) -> Self {
        Self {
            limits: Limits::new(settings.per_device, settings.per_address),
            trusted_proxies: TrustedProxies(settings.trusted_proxies.clone()),
            unknown_proxies: UnknownProxies::default(),
            places: Places::default(),
            checks: Checks::default(),
            room: Arc::new(Room::new(settings.disk_reserve)),
        }
    }
}
