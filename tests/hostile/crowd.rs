//! Many concurrent connections, each of which is reopened some time after settle has closed it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use system_tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Duration of an attack: longer than the time limits for a head and for a body.
pub const LASTING: Duration = Duration::from_secs(35);
/// Number of a crowd's addresses, and the last part of the first one.
const ADDRESSES: usize = 8;
const FIRST_ADDRESS: u8 = 2;
/// Time between a crowd's first connections: the measurement is about holding connections, even on a small machine.
const BETWEEN: Duration = Duration::from_millis(3);
/// Pause before a closed connection is reopened.
const PAUSE: Duration = Duration::from_secs(1);

/// The behaviour of each connection of a crowd.
#[derive(Debug, Clone)]
pub struct Part {
    pub first: Vec<u8>,
    /// Bytes that the connection sends every second after `first`, until settle closes it.
    pub then: &'static [u8],
}

#[derive(Debug, Default)]
pub struct Counts {
    pub opened: AtomicUsize,
    /// Number of connections that settle closed.
    pub closed: AtomicUsize,
}

/// Opens this number of connections to an address, and holds them open until the attack ends.
pub async fn hold(address: SocketAddr, count: usize, part: Part) -> Arc<Counts> {
    rlimit::increase_nofile_limit(16_384).expect("descriptors for a crowd");
    let crowd = Arc::new(Crowd {
        address,
        part,
        end: Instant::now() + LASTING,
        counts: Arc::default(),
    });
    let connections: JoinSet<()> = (0..count)
        .map(|number| again_and_again(crowd.clone(), number))
        .collect();
    connections.join_all().await;
    println!("{count} connections: {:?}", crowd.counts);
    crowd.counts.clone()
}

struct Crowd {
    address: SocketAddr,
    part: Part,
    end: Instant,
    counts: Arc<Counts>,
}

impl Crowd {
    /// Connects from one of the crowd's addresses, which differ from the store's.
    async fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let own = Ipv4Addr::new(
            127,
            0,
            0,
            FIRST_ADDRESS + u8::try_from(number % ADDRESSES).unwrap_or(0),
        );
        let socket = TcpSocket::new_v4()?;
        socket.bind((own, 0).into())?;
        socket.connect(self.address).await
    }
}

async fn again_and_again(crowd: Arc<Crowd>, number: usize) {
    wait::pass(BETWEEN * u32::try_from(number).unwrap_or(0)).await;
    while Instant::now() < crowd.end {
        let Ok(stream) = crowd.connect(number).await else {
            wait::pass(PAUSE).await;
            continue;
        };
        crowd.counts.opened.fetch_add(1, Ordering::Relaxed);
        if timeout_at(crowd.end, until_closed(stream, &crowd.part))
            .await
            .is_ok()
        {
            crowd.counts.closed.fetch_add(1, Ordering::Relaxed);
            wait::pass(PAUSE).await;
        }
    }
}

/// Behaves as `part` says until settle closes the connection.
async fn until_closed(stream: TcpStream, part: &Part) {
    let (mut incoming, mut outgoing) = stream.into_split();
    let send = async {
        if outgoing.write_all(&part.first).await.is_err() {
            return;
        }
        loop {
            wait::pass(Duration::from_secs(1)).await;
            if !part.then.is_empty() && outgoing.write_all(part.then).await.is_err() {
                return;
            }
        }
    };
    let receive = async {
        let mut bytes = [0; 1024];
        while incoming.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}
