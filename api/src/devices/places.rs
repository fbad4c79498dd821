//! Places for concurrent requests, each taken once its request's body is complete. They limit the cost of requests, and
//! no single address or network can take all of them.

use super::address::networks;
use super::admission::{Gate, PLACES, PLACES_OF_NETWORK as OF_NETWORK};
use crate::error::Error;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits for an address; with IPv6, for the subnet and for the whole site.
const GATES_OF_NETWORK: [Gate; 2] = [Gate::AddressPlaces, Gate::SitePlaces];
/// Time after which a refused request may be repeated.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    of_network: Arc<Mutex<HashMap<IpNet, usize>>>,
}

/// A taken place, which is freed when dropped.
#[derive(Debug)]
pub struct RequestPlace {
    places: Places,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(PLACES)),
            of_network: Arc::default(),
        }
    }
}

impl Places {
    /// Takes a place for a request from this address.
    ///
    /// # Errors
    /// All places for the address or its network, or all places of the process, are taken.
    pub fn take(&self, address: IpAddr) -> Result<RequestPlace, Error> {
        let mut taken = self.taken();
        let bounds = OF_NETWORK.into_iter().zip(GATES_OF_NETWORK);
        for (network, (most, gate)) in networks(address).zip(bounds) {
            if taken.get(&network).is_some_and(|count| *count >= most) {
                return Err(gate.refuse(RETRY_AFTER));
            }
        }
        let permit = self.free.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Gate::Places.refuse(RETRY_AFTER))?;
        networks(address).for_each(|network| *taken.entry(network).or_default() += 1);
        drop(taken);
        Ok(RequestPlace {
            places: self.clone(),
            address,
            _permit: permit,
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpNet, usize>> {
        self.of_network
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        for network in networks(self.address) {
            if let Some(count) = taken.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ADDRESS: usize = OF_NETWORK[0];

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    /// Returns an IPv6 address in a network of a site.
    fn six(site: u16, network: u16, host: u16) -> IpAddr {
        IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, host])
    }

    #[test]
    fn an_address_has_eight_places_and_all_have_a_hundred() {
        let places = Places::default();
        let mut of_one: Vec<RequestPlace> =
            std::iter::from_fn(|| places.take(address(1)).ok()).collect();
        assert_eq!(of_one.len(), OF_ADDRESS);
        assert!(matches!(
            places.take(address(1)),
            Err(Error::TooMany { .. })
        ));
        let others: Vec<RequestPlace> = (2..1000)
            .filter_map(|number| places.take(address(number)).ok())
            .collect();
        assert_eq!(others.len(), PLACES - OF_ADDRESS);
        of_one.pop();
        assert!(
            places.take(address(1)).is_ok(),
            "a freed place can be taken"
        );
        let full = places.take(address(7));
        drop((of_one, others, full));
        assert!(places.taken().is_empty(), "no entry remains without places");
        assert_eq!(places.free.available_permits(), PLACES);
    }

    #[test]
    fn a_site_has_a_quarter_of_the_places_whatever_its_networks() {
        let places = Places::default();
        let of_network: Vec<RequestPlace> = (0..100)
            .filter_map(|host| places.take(six(1, 1, host)).ok())
            .collect();
        assert_eq!(of_network.len(), 8);
        let of_site: Vec<RequestPlace> = (2..100)
            .filter_map(|network| places.take(six(1, network, 1)).ok())
            .collect();
        assert_eq!(of_site.len(), 32 - 8);
        assert!(
            places.take(six(2, 1, 1)).is_ok(),
            "another site has its own"
        );
        drop((of_network, of_site));
        assert!(places.taken().is_empty(), "no entry remains without places");
    }
}
