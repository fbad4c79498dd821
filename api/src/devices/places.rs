//! The places for requests that are carried out at once: they bound the memory of the requests' bodies, and one address
//! cannot take all of them by sending slowly.

use crate::devices::limits::customer;
use crate::error::Error;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of requests that are carried out at once; further ones are answered 503.
const PLACES: usize = 128;
/// Maximum number of these of one address; further ones are answered 429.
const PER_ADDRESS: usize = 8;
/// When an address that has all its places may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The places. Clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    of_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place that is taken. Dropping it frees it.
#[derive(Debug)]
pub struct Place {
    places: Places,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(PLACES)), of_address: Arc::default() }
    }
}

impl Places {
    /// Takes a place for a request of this address.
    ///
    /// # Errors
    /// The address has all its places, or there is none left for anybody.
    pub fn take(&self, address: IpAddr) -> Result<Place, Error> {
        let busy = |_| Error::Unavailable("too many devices report at the moment; try again".to_owned());
        let address = customer(address);
        let mut taken = self.taken();
        let count = taken.entry(address).or_default();
        if *count >= PER_ADDRESS {
            return Err(Error::TooMany { what: "this address", wait: RETRY_AFTER });
        }
        *count += 1;
        drop(taken);
        // From here on a place is given back, also when there is none left.
        let permit = self.free.clone().try_acquire_owned().map_err(busy);
        let permit = permit.inspect_err(|_| self.free(address))?;
        Ok(Place { places: self.clone(), address, _permit: permit })
    }

    fn free(&self, address: IpAddr) {
        let mut taken = self.taken();
        if let Some(count) = taken.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&address);
            }
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.of_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.free(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn an_address_has_eight_places_and_all_have_a_hundred() {
        let places = Places::default();
        let mut of_one: Vec<Place> = std::iter::from_fn(|| places.take(address(1)).ok()).collect();
        assert_eq!(of_one.len(), PER_ADDRESS);
        assert!(matches!(places.take(address(1)), Err(Error::TooMany { .. })));
        let others: Vec<Place> = (2..1000).filter_map(|number| places.take(address(number)).ok()).collect();
        assert_eq!(others.len(), PLACES - PER_ADDRESS);
        of_one.pop();
        assert!(places.take(address(1)).is_ok(), "a freed place can be taken");
        let full = places.take(address(7));
        drop((of_one, others, full));
        assert!(places.taken().is_empty(), "no entry remains without places");
        assert_eq!(places.free.available_permits(), PLACES);
    }
}
