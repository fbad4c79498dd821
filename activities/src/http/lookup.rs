//! Resolves host names with the resolver of this machine.

use super::slots::{LookupRequest, Slots};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::timeout;

/// Resolves a name to all its addresses.
pub type Lookup =
    Arc<dyn Fn(LookupRequest) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Maximum number of concurrent lookups of this process, shared fairly among apps and names. Storage's reads use the
/// same thread pool.
const MAX_CONCURRENT: usize = 64;
/// How long a lookup occupies its slot. The resolver may continue for half a minute, until it has tried all name
/// servers, and occupies one of the pool's 512 threads until then.
const BUDGET: Duration = Duration::from_secs(5);

static SLOTS: LazyLock<Slots> = LazyLock::new(|| Slots::new(MAX_CONCURRENT));

/// Returns the resolver of this machine, with at most 64 concurrent lookups per process.
pub fn of_this_machine() -> Lookup {
    bounded(SLOTS.clone(), BUDGET, |name| {
        Ok((name, 0)
            .to_socket_addrs()?
            .map(|address| address.ip())
            .collect())
    })
}

/// Makes an asynchronous lookup from a blocking resolver. Each call occupies a slot until `resolve` returns or the
/// budget is exhausted, even if its caller has timed out. A call without a slot waits until its caller times out.
pub fn bounded<F>(slots: Slots, budget: Duration, resolve: F) -> Lookup
where
    F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
{
    let resolve = Arc::new(resolve);
    Arc::new(move |wanted| {
        let (slots, resolve) = (slots.clone(), resolve.clone());
        async move {
            let slot = slots
                .take(&wanted)
                .await
                .ok_or_else(|| io::Error::other("no slot for a lookup"))?;
            let found = tokio::task::spawn_blocking(move || resolve(&wanted.name));
            // The caller may be dropped before the lookup ends, but this task occupies the slot until then.
            let held = tokio::spawn(async move {
                let _slot = slot;
                timeout(budget, found).await
            });
            held.await
                .map_err(io::Error::other)?
                .map_err(io::Error::other)?
                .map_err(io::Error::other)?
        }
        .boxed()
    })
}
