//! A webhook endpoint that can produce every fault that HTTP allows, chosen by the URL path or scripted by a test.
//!
//! It records received requests and counts the bytes it could send, so that a test sees how few were read.

mod answer;
pub(super) mod certificate;
mod fault;

pub use fault::Fault;

use answer::{Connection, serve};
use certificate::Identity;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub path: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// Returns the value of the first header with this name; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

#[derive(Default)]
struct Seen {
    next: VecDeque<Fault>,
    requests: Vec<Received>,
    connections: usize,
    sent_bytes: usize,
    is_over: bool,
}

/// State shared by the endpoint's threads.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Seen>>);

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running endpoint. It listens until it is dropped.
pub struct Faulty {
    address: SocketAddr,
    scheme: &'static str,
    shared: Shared,
}

impl Faulty {
    /// Starts an endpoint on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts an endpoint on this address.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn at(address: SocketAddr) -> Self {
        Self::listen(address, None)
    }

    /// Starts an endpoint with TLS and a certificate for `name`; also returns the authority's certificate in DER.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn with_tls(name: &str) -> (Self, Vec<u8>) {
        let identity = Identity::new(name);
        (
            Self::listen((Ipv4Addr::LOCALHOST, 0).into(), Some(identity.server())),
            identity.authority.to_vec(),
        )
    }

    fn listen(address: SocketAddr, tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind(address).expect("an address to listen on");
        let address = listener.local_addr().expect("the listener's address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Shared::default();
        let (seen, tls) = (shared.clone(), tls.map(Arc::new));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen.seen().is_over {
                    return;
                }
                seen.seen().connections += 1;
                let (seen, tls) = (seen.clone(), tls.clone());
                std::thread::spawn(move || serve_connection(stream, tls, &seen));
            }
        });
        Self {
            address,
            scheme,
            shared,
        }
    }

    /// Returns the URL that always produces this fault.
    pub fn url(&self, fault: &Fault) -> String {
        self.url_of(&fault.path())
    }

    /// Returns the URL that produces the scripted faults: see [`Self::answer_next`].
    pub fn scripted_url(&self) -> String {
        self.url_of("/hook")
    }

    fn url_of(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Returns the port on which the endpoint listens.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Scripts a fault for the next `times` requests at [`Self::scripted_url`]; later ones are answered with 200.
    pub fn answer_next(&self, times: usize, fault: &Fault) {
        self.shared
            .seen()
            .next
            .extend(std::iter::repeat_n(fault.clone(), times));
    }

    /// Removes the remaining scripted faults.
    pub fn answer_truly(&self) {
        self.shared.seen().next.clear();
    }

    /// Returns every request so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.shared.seen().requests.clone()
    }

    /// Returns the number of connections that were opened.
    pub fn connections(&self) -> usize {
        self.shared.seen().connections
    }

    /// Returns the number of bytes accepted by clients or by buffers on the way.
    pub fn sent_bytes(&self) -> usize {
        self.shared.seen().sent_bytes
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.seen().is_over = true;
        // Wakes the listening thread, so that it sees the flag and ends. An error means that it has already ended.
        drop(TcpStream::connect(self.address));
    }
}

/// Serves one connection until it ends.
fn serve_connection(stream: TcpStream, tls: Option<Arc<ServerConfig>>, shared: &Shared) {
    let Ok(socket) = stream.try_clone() else {
        return;
    };
    let connection = Connection {
        socket: &socket,
        shared,
    };
    match tls.map(ServerConnection::new) {
        None => serve(stream, &connection),
        // A client that does not trust the certificate closes the connection before its request.
        Some(Ok(tls)) => serve(StreamOwned::new(tls, stream), &connection),
        Some(Err(_)) => {}
    }
}
