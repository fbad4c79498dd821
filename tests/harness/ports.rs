//! Free ports for programs that take theirs as a setting.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// A port of 127.0.0.1 that was free a moment ago.
///
/// A connection through it is opened and closed from the listening side: it stays in TIME_WAIT for a minute, so the
/// system gives the port to nobody else who asks for any, while it can still be bound by number.
///
/// # Panics
/// When the system has no free port.
#[must_use]
pub fn free() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port of 127.0.0.1");
    let address = listener.local_addr().expect("the listener's address");
    let connected = TcpStream::connect(address).expect("a connection to ourselves");
    drop(listener.accept().expect("that connection"));
    drop(connected);
    address.port()
}
