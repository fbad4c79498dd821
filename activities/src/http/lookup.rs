//! Resolves host names with the resolver of this machine.

use super::slots::Slots;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};

/// Resolves a name to all its addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Maximum number of concurrent lookups of this process, shared fairly among the names. A lookup occupies a blocking
/// thread until the resolver has tried all name servers, long after the request has timed out. Storage's reads use
/// the same thread pool.
const MAX_CONCURRENT: usize = 64;

static SLOTS: LazyLock<Slots> = LazyLock::new(|| Slots::new(MAX_CONCURRENT));

/// The resolver of this machine, with at most 64 concurrent lookups per process.
#[must_use]
pub fn of_this_machine() -> Lookup {
    bounded(SLOTS.clone(), |name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
}

/// Makes an asynchronous lookup from a blocking resolver. Each call holds a slot until `resolve` returns, even when its
/// caller has timed out. A call without a slot waits until its caller times out.
pub fn bounded<F>(slots: Slots, resolve: F) -> Lookup
where
    F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
{
    let resolve = Arc::new(resolve);
    Arc::new(move |name| {
        let (slots, resolve) = (slots.clone(), resolve.clone());
        async move {
            let slot = slots.take(&name).await.ok_or_else(|| io::Error::other("no slot for a lookup"))?;
            let found = tokio::task::spawn_blocking(move || {
                let _slot = slot;
                resolve(&name)
            });
            found.await.map_err(io::Error::other)?
        }
        .boxed()
    })
}
