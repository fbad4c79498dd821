//! Decides whether `settle run` starts a Temporal dev server, and at which ports.

use crate::data;
use activities::engine::Addresses;
use anyhow::Context;
use api::config::Variables;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

/// Temporal's standard variables that name a server, a profile or a file of profiles.
const VARIABLES: [&str; 3] = [
    "TEMPORAL_ADDRESS",
    "TEMPORAL_PROFILE",
    "TEMPORAL_CONFIG_FILE",
];

/// Returns whether a dev server is needed, because the environment names no other server.
pub fn is_needed(variables: &Variables) -> bool {
    !VARIABLES
        .iter()
        .any(|name| variables.get(*name).is_some_and(|text| !text.is_empty()))
}

/// The ports at which a dev server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The ports of the last start or, without one, the default ports, so that bookmarks work. Ports that are taken are
    /// replaced.
    Usual,
    /// Any free ports.
    Any,
}

/// Stores the ports of a start in the data directory, for the next start.
pub fn note(data: &Path, Addresses { temporal, ui }: Addresses) -> anyhow::Result<()> {
    data::write(
        &data::temporal_ports_file(data),
        format!("{} {}\n", temporal.port(), ui.port()).as_bytes(),
    )
}

/// Parses the stored ports: Temporal's, then that of its UI.
fn noted(text: &str) -> Option<(u16, u16)> {
    let (temporal, ui) = text.trim().split_once(' ')?;
    Some((temporal.parse().ok()?, ui.parse().ok()?))
}

/// Returns addresses that are free at the moment. Another program can take them before the server does.
pub fn addresses(data: &Path, ports: Ports) -> anyhow::Result<Addresses> {
    let (temporal, ui) = match ports {
        Ports::Usual => {
            let text = std::fs::read_to_string(data::temporal_ports_file(data)).unwrap_or_default();
            noted(&text).unwrap_or((7233, 8233))
        }
        Ports::Any => (0, 0),
    };
    // Both are bound at the same time, so that they differ.
    let (temporal, ui) = (bind(temporal)?, bind(ui)?);
    Ok(Addresses {
        temporal: address(&temporal)?,
        ui: address(&ui)?,
    })
}

/// Binds this port if it is free, otherwise any free port.
fn bind(wanted: u16) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    listener.context("no free port for the Temporal dev server")
}

fn address(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener
        .local_addr()
        .context("the address of the Temporal dev server")
}
