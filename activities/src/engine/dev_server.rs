//! The addresses of a Temporal dev server that this process starts and the engine connects to.

use std::net::SocketAddr;
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub temporal: SocketAddr,
    pub ui: SocketAddr,
}

/// A dev server that this process starts. If another program takes a port before the server does, the server is started
/// at other addresses. The addresses no longer change once the engine has found the server. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct DevServer(watch::Sender<ServerState>);

#[derive(Debug, Clone, Copy, Default)]
struct ServerState {
    addresses: Option<Addresses>,
    is_found: bool,
}

impl DevServer {
    /// Proposes the addresses for the next start. Returns the addresses to use: the proposed ones or, after the engine
    /// has found the server, the previous ones.
    pub fn propose(&self, addresses: Addresses) -> Addresses {
        self.0.send_modify(|state| {
            if !state.is_found {
                state.addresses = Some(addresses);
            }
        });
        self.addresses().unwrap_or(addresses)
    }

    /// Returns the current addresses; `None` before the first start.
    pub fn addresses(&self) -> Option<Addresses> {
        self.0.borrow().addresses
    }

    /// Returns the addresses, once the engine has found the server there.
    pub fn final_addresses(&self) -> Option<Addresses> {
        let state = *self.0.borrow();
        state.addresses.filter(|_| state.is_found)
    }

    /// Records that the server was found at this address. Returns false if it has moved in the meantime.
    pub(super) fn note_found(&self, temporal: SocketAddr) -> bool {
        self.0.send_if_modified(|state| {
            let is_here = state
                .addresses
                .is_some_and(|addresses| addresses.temporal == temporal);
            state.is_found |= is_here;
            is_here
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(port: u16) -> Addresses {
        let [temporal, ui] =
            [port, port + 1000].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Addresses { temporal, ui }
    }

    #[test]
    fn a_server_moves_until_it_is_found() {
        let server = DevServer::default();
        assert_eq!((server.addresses(), server.final_addresses()), (None, None));
        assert_eq!(server.propose(addresses(7233)), addresses(7233));
        assert_eq!(server.propose(addresses(50_000)), addresses(50_000));
        assert_eq!(
            (server.addresses(), server.final_addresses()),
            (Some(addresses(50_000)), None)
        );
    }

    #[test]
    fn a_server_that_was_found_stays_where_it_is() {
        let server = DevServer::default();
        assert_eq!(server.propose(addresses(7233)), addresses(7233));
        assert!(server.note_found(addresses(7233).temporal));
        assert_eq!(server.propose(addresses(50_000)), addresses(7233));
        assert_eq!(server.final_addresses(), Some(addresses(7233)));
    }

    #[test]
    fn a_server_that_moved_meanwhile_was_not_found() {
        let server = DevServer::default();
        assert_eq!(server.propose(addresses(7233)), addresses(7233));
        assert_eq!(server.propose(addresses(50_000)), addresses(50_000));
        assert!(!server.note_found(addresses(7233).temporal));
        assert_eq!(server.final_addresses(), None);
    }
}
