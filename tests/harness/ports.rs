//! Free ports for programs whose port is a setting.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

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

/// A port of 127.0.0.1 below 32768 that was free a moment ago: Temporal stores ports in PostgreSQL as `smallint`. The
/// system itself assigns higher ones, and each call of this process begins its search after the port of the one before.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_below_32768() -> u16 {
    const LOWEST: u16 = 20_000;
    const COUNT: u16 = 12_768;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
    let ports = (0..COUNT).map(|_| LOWEST + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT);
    let mut free = ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("a free port of 127.0.0.1 below 32768")
}
