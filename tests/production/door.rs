//! A stand-in for a host name with several addresses: connections to it reach a node that accepts them.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// A listener that connects each client with one of the nodes in rotation. It stops with the runtime.
pub struct Door {
    port: u16,
    nodes: Arc<Mutex<Vec<u16>>>,
}

impl Door {
    /// Listens on a free port, without a node at first.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (port, nodes) = (
            listener.local_addr()?.port(),
            Arc::<Mutex<Vec<u16>>>::default(),
        );
        let behind = nodes.clone();
        tokio::spawn(async move {
            let turn = AtomicUsize::new(0);
            while let Ok((client, _)) = listener.accept().await {
                let mut nodes = behind
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                let first = turn.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
                nodes.rotate_left(first);
                tokio::spawn(connect(client, nodes));
            }
        });
        Ok(Self { port, nodes })
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Adds the port of a node.
    pub fn lead_to(&self, port: u16) {
        self.nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(port);
    }
}

/// Connects a client with the first node that accepts, until either side closes.
async fn connect(mut client: TcpStream, nodes: Vec<u16>) {
    for port in nodes {
        if let Ok(mut node) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            // Without Nagle's delay, as in a network of containers. An error means that the connection is gone.
            drop((client.set_nodelay(true), node.set_nodelay(true)));
            drop(copy_bidirectional(&mut client, &mut node).await);
            return;
        }
    }
}
