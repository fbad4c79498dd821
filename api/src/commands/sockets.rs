//! The addresses at which a process serves HTTP: one for stores and devices, one for the whole API.

use super::stop::Stop;
use anyhow::Context;
use api::config::Config;
use api::edge::Shared;
use api::listener::Listener;
use api::listener::limits::{self, LimitSettings, Limits};
use api::route::Surface;
use api::router::{Dashboard, router_of};
use futures::future::join_all;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};

/// Time after a stop at which running requests are cut off.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of connections that wait to be accepted; the system may allow fewer. A client for whose connection
/// there is no room tries again after a second.
const BACKLOG: u32 = 4096;

/// The bound sockets of a process, with their limits.
pub struct Sockets {
    public: Listener,
    /// `None` if `public` serves everything.
    admin: Option<Listener>,
}

/// The addresses at which a process serves HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Address for stores and devices.
    pub public: SocketAddr,
    /// Address of the whole API.
    pub api: SocketAddr,
}

impl Addresses {
    /// Returns both addresses as text.
    pub fn text(&self) -> String {
        let Self { public, api } = self;
        if public == api {
            format!("http://{public}")
        } else {
            format!("http://{public}, its API at http://{api}")
        }
    }
}

impl Sockets {
    /// Binds the configured addresses, and replaces a port 0 by the port that the system chose. Raises the limit of
    /// file descriptors, which limits connections.
    pub fn bind(config: &mut Config) -> anyhow::Result<Self> {
        let http = &config.http;
        let wanted = LimitSettings {
            connections: http.connections,
            per_address: http.connections_per_address,
            proxies: config.devices.trusted_proxies.clone(),
        };
        let limits::Both { public, admin } = wanted.within(limits::descriptors());
        let public = Listener {
            name: "public",
            socket: bind("--listen", http.listen)?,
            limits: public,
        };
        let admin = match http.admin_listen {
            None => None,
            Some(address) => {
                let socket = bind("--admin-listen", address)?;
                Some(Listener {
                    name: "admin",
                    socket,
                    limits: admin,
                })
            }
        };
        let sockets = Self { public, admin };
        let Addresses { public, api } = sockets.addresses()?;
        config.http.set_ports(public.port(), api.port());
        Ok(sockets)
    }

    /// Returns the addresses with the ports that are in use.
    pub fn addresses(&self) -> anyhow::Result<Addresses> {
        let of = |listener: &Listener| {
            listener
                .socket
                .local_addr()
                .context("the address of a listener")
        };
        let public = of(&self.public)?;
        Ok(Addresses {
            public,
            api: self.admin.as_ref().map_or(Ok(public), of)?,
        })
    }

    /// Serves requests until `stop`, then finishes the running ones.
    pub async fn serve(self, edge: Shared, dashboard: &'static Dashboard, stop: Stop) {
        let surface = if self.admin.is_some() {
            Surface::Public
        } else {
            Surface::All
        };
        let live = edge.pages.live.clone();
        let router = |surface| router_of(surface, edge.clone(), dashboard);
        let public = self.public.serve(router(surface), stop.clone().requested());
        let admin = self
            .admin
            .map(|admin| admin.serve(router(Surface::All), stop.clone().requested()));
        let stopped = stop.clone().requested();
        let streams = async move {
            stopped.await;
            live.stop();
        };
        let too_long = async {
            stop.requested().await;
            tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
        };
        tokio::select! {
            _ = futures::future::join3(public, join_all(admin), streams) => {}
            () = too_long => {
                tracing::warn!(seconds = SHUTDOWN_TIMEOUT.as_secs(), "requests were cut off: they took too long to end");
            }
        }
    }
}

/// Binds the address that `flag` sets. The error names the cause and the remedy.
pub fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    bound(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "{address} is in use by another program: choose another address with {flag}"
            )
        }
        ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("{address} is not an address of this machine: change {flag}")
        }
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!(
                "this user may not listen on {address}: choose a port above 1023 with {flag}"
            )
        }
        _ => anyhow::Error::new(error).context(format!("cannot listen on {address}")),
    })
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Like tokio's default: after a restart, the port can be bound while old connections are still in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Returns the limits of the listener that serves a worker's metrics.
pub fn of_metrics() -> Limits {
    let wanted = LimitSettings {
        connections: 16,
        per_address: 16,
        proxies: Vec::new(),
    };
    wanted.within(limits::descriptors()).admin
}
