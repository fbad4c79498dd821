//! Free ports for programs whose port is a setting.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// A port of 127.0.0.1 that was free a moment ago.
///
/// The port is left in TIME_WAIT for a minute: the system then does not assign it to a program that asks for any free
/// port, but a program can still bind it by number.
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
