//! A webhook endpoint where everything goes wrong that can: by the path of its URL, or as a test scripts it.
//!
//! It keeps what it received and counts what it could send, so that a test sees from outside how little was read of it.

mod answer;
mod certificate;
mod fault;

pub use fault::Fault;

use answer::{Talk, talk};
use certificate::Identity;
use openssl::ssl::SslAcceptor;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Path and query.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

#[derive(Default)]
struct Seen {
    next: VecDeque<Fault>,
    always: Option<Fault>,
    requests: Vec<Received>,
    connections: usize,
    sent_bytes: usize,
    is_over: bool,
}

/// What its threads share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Seen>>);

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The endpoint. It listens until it is dropped.
pub struct Faulty {
    address: SocketAddr,
    scheme: &'static str,
    shared: Shared,
}

impl Faulty {
    /// Listens on a port of its own of 127.0.0.1.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Listens there.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self::listen(address, None)
    }

    /// Speaks TLS with a certificate for `name` by an authority of its own, which comes in DER.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn with_tls(name: &str) -> (Self, Vec<u8>) {
        let identity = Identity::new(name);
        let authority = identity.authority.to_der().expect("DER");
        (Self::listen((Ipv4Addr::LOCALHOST, 0).into(), Some(identity.acceptor())), authority)
    }

    fn listen(address: SocketAddr, acceptor: Option<SslAcceptor>) -> Self {
        let listener = TcpListener::bind(address).expect("an address to listen on");
        let address = listener.local_addr().expect("the listener's address");
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let shared = Shared::default();
        let (seen, acceptor) = (shared.clone(), acceptor.map(Arc::new));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen.seen().is_over {
                    return;
                }
                seen.seen().connections += 1;
                let (seen, acceptor) = (seen.clone(), acceptor.clone());
                std::thread::spawn(move || converse(stream, acceptor.as_deref(), &seen));
            }
        });
        Self { address, scheme, shared }
    }

    /// The URL at which this always happens.
    #[must_use]
    pub fn url(&self, fault: &Fault) -> String {
        self.url_of(&fault.path())
    }

    /// The URL at which the fault of [`Self::answer`] happens.
    #[must_use]
    pub fn scripted_url(&self) -> String {
        self.url_of("/hook")
    }

    fn url_of(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// What happens at [`Self::scripted_url`] from now on, after the faults of [`Self::answer_next`]. At first 200.
    pub fn answer(&self, fault: Fault) {
        self.shared.seen().always = Some(fault);
    }

    /// What happens to the next `times` requests there.
    pub fn answer_next(&self, times: usize, fault: &Fault) {
        self.shared.seen().next.extend(std::iter::repeat_n(fault.clone(), times));
    }

    /// Every request so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.shared.seen().requests.clone()
    }

    /// How many connections were opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.seen().connections
    }

    /// How many bytes the other side, or the buffers on the way, took of what was sent.
    #[must_use]
    pub fn sent_bytes(&self) -> usize {
        self.shared.seen().sent_bytes
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.seen().is_over = true;
        // Lets the listening thread see that it is over. Where nobody listens any more, it is over already.
        drop(TcpStream::connect(self.address));
    }
}

/// Talks on one connection until it ends.
fn converse(stream: TcpStream, acceptor: Option<&SslAcceptor>, shared: &Shared) {
    let Ok(socket) = stream.try_clone() else { return };
    let talk_about = Talk { socket: &socket, shared };
    match acceptor {
        None => talk(stream, &talk_about),
        Some(acceptor) => {
            // Who does not trust the certificate hangs up here.
            if let Ok(stream) = acceptor.accept(stream) {
                talk(stream, &talk_about);
            }
        }
    }
}
