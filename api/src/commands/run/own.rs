//! The addresses of a Temporal server of our own, told to ourselves by the environment.
//!
//! Temporal's client reads where to connect from its standard variables, and a running process cannot change its
//! variables soundly. So `run` executes itself once more with them set: same process, same terminal, same arguments.

use crate::config::Variables;
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Temporal's standard variable for its address.
const ADDRESS: &str = "TEMPORAL_ADDRESS";
/// The address of the UI of our own server: only set by ourselves.
const UI: &str = "SETTLE_RUN_TEMPORAL_UI";
/// What a profile could say about another server.
const OTHERS: &[&str] =
    &["TEMPORAL_API_KEY", "TEMPORAL_PROFILE", "TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH"];

/// Where our own server is to be.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// Where workers and clients connect.
    pub address: SocketAddr,
    /// Where people look.
    pub ui: SocketAddr,
}

/// Our own server's addresses; `None` when the environment names a server that is not ours.
/// When it names none, this process begins anew and this does not return.
pub fn addresses(variables: &Variables) -> anyhow::Result<Option<Own>> {
    let given = |name: &str| variables.get(name).filter(|text| !text.is_empty());
    match (given(ADDRESS), given(UI)) {
        (None, _) => Err(begin_anew()?),
        (Some(_), None) => Ok(None),
        (Some(address), Some(ui)) => {
            let address = address.strip_prefix("http://").unwrap_or(address).parse().context(ADDRESS)?;
            Ok(Some(Own { address, ui: ui.parse().context(UI)? }))
        }
    }
}

/// Returns only when it cannot be done.
fn begin_anew() -> anyhow::Result<anyhow::Error> {
    let (address, ui) = (free(7233)?, free(8233)?);
    let mut command = Command::new(std::env::current_exe().context("this program's own file")?);
    command.args(std::env::args_os().skip(1));
    command.env(ADDRESS, format!("http://{address}")).env(UI, ui.to_string());
    command.env("TEMPORAL_NAMESPACE", "default").env("TEMPORAL_TLS", "false").env("TEMPORAL_CONFIG_FILE", "/dev/null");
    for name in OTHERS {
        command.env_remove(name);
    }
    Ok(anyhow::Error::new(command.exec()).context("settle cannot begin anew with a Temporal server of its own"))
}

/// The usual port when it is free, so that bookmarks keep working; else any.
fn free(usual: u16) -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    listener.and_then(|listener| listener.local_addr()).context("no free port for the Temporal dev server")
}
