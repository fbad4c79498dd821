//! A proxy before a server that is far away: everything takes a time each way. It counts round trips, as seen from
//! outside: a request after an answer begins one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// A proxy. It ends with the process.
#[derive(Debug)]
pub struct Distance {
    port: u16,
    trips: Arc<AtomicU64>,
}

/// What was received, and when it arrives.
type Packet = (Instant, Vec<u8>);

impl Distance {
    /// A proxy before the server at this port of the machine.
    ///
    /// # Errors
    /// When there is no port for it.
    pub fn before(server: u16, each_way: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let trips = Arc::new(AtomicU64::new(0));
        let counted = trips.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { continue };
                drop(connect(client, server, each_way, &counted));
            }
        });
        Ok(Self { port, trips })
    }

    /// A proxy before the server of a URL, and the URL by way of it.
    ///
    /// # Errors
    /// When the URL has no port, or there is no port for the proxy.
    pub fn before_url(url: &str, each_way: Duration) -> anyhow::Result<(Self, String)> {
        let mut url = url::Url::parse(url)?;
        let server = url.port().unwrap_or(5432);
        let distance = Self::before(server, each_way)?;
        url.set_port(Some(distance.port)).map_err(|()| anyhow::anyhow!("{url} has no port"))?;
        Ok((distance, url.into()))
    }

    /// Number of round trips so far, over all connections.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.trips.load(Ordering::SeqCst)
    }
}

fn connect(client: TcpStream, server: TcpStream, each_way: Duration, trips: &Arc<AtomicU64>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let is_answered = Arc::new(AtomicBool::new(true));
    let (trips, requested, answered) = (trips.clone(), is_answered.clone(), is_answered);
    carry(client.try_clone()?, server.try_clone()?, each_way, move || {
        if requested.swap(false, Ordering::SeqCst) {
            trips.fetch_add(1, Ordering::SeqCst);
        }
    });
    carry(server, client, each_way, move || answered.store(true, Ordering::SeqCst));
    Ok(())
}

/// Carries what is received to the other side, each packet this time later.
#[expect(clippy::disallowed_methods, reason = "a delay is what it is for")]
fn carry(mut from: TcpStream, mut to: TcpStream, each_way: Duration, seen: impl Fn() + Send + 'static) {
    let (sender, packets) = channel::<Packet>();
    thread::spawn(move || receive(&mut from, &sender, each_way, seen));
    thread::spawn(move || {
        for (at, bytes) in packets {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
}

fn receive(from: &mut TcpStream, packets: &Sender<Packet>, each_way: Duration, seen: impl Fn()) {
    let mut buffer = vec![0; 1 << 18];
    while let Ok(length) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        seen();
        if packets.send((Instant::now() + each_way, bytes.to_vec())).is_err() {
            break;
        }
    }
}
