//! The addresses of the Temporal dev server that `settle run` starts when the environment names no server.

use crate::config::Variables;
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Temporal's standard variables that name a server, a profile or a file of profiles.
const VARIABLES: [&str; 3] = ["TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"];

/// The addresses of the dev server.
#[derive(Debug, Clone, Copy)]
pub struct DevServer {
    /// Where workers and clients connect.
    pub address: SocketAddr,
    /// The address of the web UI.
    pub ui: SocketAddr,
}

impl DevServer {
    /// The address as Temporal's client takes it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The addresses of the dev server; `None` when the environment names another server.
pub fn addresses(variables: &Variables) -> anyhow::Result<Option<DevServer>> {
    if VARIABLES.iter().any(|name| variables.get(*name).is_some_and(|text| !text.is_empty())) {
        return Ok(None);
    }
    Ok(Some(DevServer { address: free(7233)?, ui: free(8233)? }))
}

/// The usual port if it is free, so that bookmarks work; otherwise any free port.
fn free(usual: u16) -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    listener.and_then(|listener| listener.local_addr()).context("no free port for the Temporal dev server")
}
