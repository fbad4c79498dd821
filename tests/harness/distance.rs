//! A proxy that simulates a distant server by delaying everything in both directions. It counts round trips (a request
//! after an answer begins one) and the bytes that the server sends. It can hold requests back, which shows what a call
//! waits for.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// A delaying proxy. It runs until the process ends.
#[derive(Debug)]
pub struct Distance {
    port: u16,
    trips: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    gate: Arc<Gate>,
}

/// Limits the number of round trips that each connection may begin.
#[derive(Debug, Default)]
struct Gate {
    limit: Mutex<Limit>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Limit {
    /// Number of the current limit. A change raises it, and connections then count their round trips from zero.
    number: u64,
    most: Option<u64>,
}

impl Gate {
    /// Counts a round trip of the connection with this counter, and blocks while the limit is exceeded.
    fn pass(&self, counter: &mut (u64, u64)) {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if counter.0 != limit.number {
                *counter = (limit.number, 0);
            }
            if limit.most.is_none_or(|most| counter.1 < most) {
                counter.1 += 1;
                return;
            }
            limit = self
                .changed
                .wait(limit)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Received bytes and the time at which they are passed on.
type Packet = (Instant, Vec<u8>);

impl Distance {
    /// Starts a proxy for the server at this port of the machine.
    ///
    /// # Errors
    /// When the proxy cannot listen.
    pub fn before(server: u16, each_way: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (trips, sent) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let gate = Arc::new(Gate::default());
        let (counts, passed) = ([trips.clone(), sent.clone()], gate.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
                    continue;
                };
                drop(connect(client, server, each_way, &counts, &passed));
            }
        });
        Ok(Self {
            port,
            trips,
            sent,
            gate,
        })
    }

    /// Returns the proxy's host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts a proxy for the server of a URL; also returns the URL by way of the proxy.
    ///
    /// # Errors
    /// When the URL has no port, or the proxy cannot listen.
    pub fn before_url(url: &str, each_way: Duration) -> anyhow::Result<(Self, String)> {
        let mut url = url::Url::parse(url)?;
        let server = url.port().unwrap_or(5432);
        let distance = Self::before(server, each_way)?;
        url.set_port(Some(distance.port))
            .map_err(|()| anyhow::anyhow!("{url} has no port"))?;
        Ok((distance, url.into()))
    }

    /// Lets each connection begin at most this many further round trips and holds back later ones until the next call;
    /// `None` removes the limit.
    pub fn allow_each(&self, most: Option<u64>) {
        let mut limit = self
            .gate
            .limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *limit = Limit {
            number: limit.number + 1,
            most,
        };
        drop(limit);
        self.gate.changed.notify_all();
    }

    /// Returns the number of round trips so far, over all connections.
    pub fn trips(&self) -> u64 {
        self.trips.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes that the server sent so far, over all connections.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn connect(
    client: TcpStream,
    server: TcpStream,
    each_way: Duration,
    [trips, sent]: &[Arc<AtomicU64>; 2],
    gate: &Arc<Gate>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let is_answered = Arc::new(AtomicBool::new(true));
    let (trips, sent, requested, answered) = (
        trips.clone(),
        sent.clone(),
        is_answered.clone(),
        is_answered,
    );
    let (gate, mut counter) = (gate.clone(), (0, 0));
    carry(
        client.try_clone()?,
        server.try_clone()?,
        each_way,
        move |_| {
            if requested.swap(false, Ordering::SeqCst) {
                trips.fetch_add(1, Ordering::SeqCst);
                gate.pass(&mut counter);
            }
        },
    );
    carry(server, client, each_way, move |length| {
        sent.fetch_add(length, Ordering::SeqCst);
        answered.store(true, Ordering::SeqCst);
    });
    Ok(())
}

/// Forwards received bytes to the other side, each packet delayed by `each_way`.
#[expect(clippy::disallowed_methods, reason = "a delay is what it is for")]
fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    each_way: Duration,
    seen: impl FnMut(u64) + Send + 'static,
) {
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

fn receive(
    from: &mut TcpStream,
    packets: &Sender<Packet>,
    each_way: Duration,
    mut seen: impl FnMut(u64),
) {
    let mut buffer = vec![0; 1 << 18];
    while let Ok(length) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        seen(bytes.len() as u64);
        if packets
            .send((Instant::now() + each_way, bytes.to_vec()))
            .is_err()
        {
            break;
        }
    }
}
