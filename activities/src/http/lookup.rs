//! Resolves names.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

/// Resolves a name to all its addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Maximum number of concurrent lookups of this process. A lookup occupies a thread until the resolver has tried all name
/// servers, long after the request has timed out, and storage reads with threads of the same pool.
const AT_ONCE: usize = 64;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The resolver of this machine, bounded by the number of places of this process.
#[must_use]
pub fn of_this_machine() -> Lookup {
    bounded(PLACES.clone(), |name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

/// A blocking resolver, each call of which takes one of these places until it returns. A call without a place waits for as
/// long as its caller does.
pub fn bounded<F>(places: Arc<Semaphore>, find: F) -> Lookup
where
    F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
{
    let find = Arc::new(find);
    Arc::new(move |name| {
        let (places, find) = (places.clone(), find.clone());
        async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let found = tokio::task::spawn_blocking(move || {
                let _place = place;
                find(&name)
            });
            found.await.map_err(io::Error::other)?
        }
        .boxed()
    })
}
