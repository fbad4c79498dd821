//! How names are looked up.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

/// Gives all addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// How many names this process looks up at once. A look-up has a thread until the resolver has given up all name servers,
/// long after nobody waits any more, and storage reads with threads of the same pool.
const AT_ONCE: usize = 64;

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The resolver of this machine, for so many names at once as the process looks up.
#[must_use]
pub fn of_this_machine() -> Lookup {
    bounded(PLACES.clone(), |name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

/// A resolver that blocks, each time in one of these places until it returns. Who finds none waits, for as long as the
/// asker does.
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
