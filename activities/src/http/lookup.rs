//! Resolves host names with the resolver of this machine.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};
use tokio::sync::Semaphore;

/// Resolves a name to all its addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Maximum number of concurrent lookups of this process. A lookup occupies a blocking thread until the resolver has
/// tried all name servers, long after the request has timed out. Storage's reads use the same thread pool.
const MAX_CONCURRENT: usize = 64;

static PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_CONCURRENT)));

/// The resolver of this machine, with at most 64 concurrent lookups per process.
#[must_use]
pub fn of_this_machine() -> Lookup {
    bounded(PERMITS.clone(), |name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

/// Makes an asynchronous lookup from a blocking resolver. Each call holds one of `permits` until `resolve` returns,
/// even when its caller has timed out. A call without a permit waits until its caller times out.
pub fn bounded<F>(permits: Arc<Semaphore>, resolve: F) -> Lookup
where
    F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
{
    let resolve = Arc::new(resolve);
    Arc::new(move |name| {
        let (permits, resolve) = (permits.clone(), resolve.clone());
        async move {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            let found = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                resolve(&name)
            });
            found.await.map_err(io::Error::other)?
        }
        .boxed()
    })
}
