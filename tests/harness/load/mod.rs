//! The load generator: keep-alive connections that write prepared requests and read the status of each answer.

mod messages;
mod notices;
mod pushes;
pub mod store;

pub use messages::{Message, Messages};
pub use notices::Notices;
pub use pushes::{Pushes, Tokens};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Returns the number of windows that a test loses at once, unless `SETTLE_LOST_WINDOWS` names another one.
///
/// # Panics
/// When the variable is not a number.
pub fn lost_windows(usually: usize) -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "a person sets it for these tests alone"
    )]
    let chosen = std::env::var("SETTLE_LOST_WINDOWS").ok();
    chosen.map_or(usually, |number| {
        number.parse().expect("SETTLE_LOST_WINDOWS is a number")
    })
}

#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each connection sends its next request as soon as the previous one is answered.
    Saturate,
    /// At this rate, independently of the answers. Latency counts from the time at which a request was due.
    PerSecond(f64),
}

pub struct Load {
    address: String,
    connections: usize,
    reconnects: bool,
}

/// A message that was answered with 200 or 204.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub number: usize,
    /// When the message was due: when it was sent or, at a fixed rate, when it should have been sent.
    pub due: Instant,
    /// Time from `due` to the answer.
    pub latency: Duration,
}

pub struct Measured {
    acknowledged: Vec<Acknowledged>,
    refused: Vec<u16>,
    took: Duration,
}

impl Load {
    /// Returns a generator for the service at this URL.
    pub fn new(url: &str, connections: usize) -> Self {
        let address = url.split('/').nth(2).unwrap_or_default().to_owned();
        Self {
            address,
            connections,
            reconnects: false,
        }
    }

    /// Opens a new connection whenever the service closes one, as it may after a refusal. The message is not repeated.
    #[must_use]
    pub fn reconnecting(self) -> Self {
        Self {
            reconnects: true,
            ..self
        }
    }

    /// Sends the messages in order until all are sent or `at_most` has passed.
    ///
    /// # Panics
    /// When the service closes a connection, except after [`Self::reconnecting`].
    pub async fn run(&self, messages: Vec<Message>, pace: Pace, at_most: Duration) -> Measured {
        let began = Instant::now();
        let work = Arc::new(Work {
            address: self.address.clone(),
            reconnects: self.reconnects,
            messages,
            next: AtomicUsize::new(0),
            pace,
            began,
            at_most,
        });
        let senders: Vec<_> = (0..self.connections)
            .map(|_| tokio::spawn(send(work.clone())))
            .collect();
        let mut measured = Measured {
            acknowledged: Vec::new(),
            refused: Vec::new(),
            took: Duration::ZERO,
        };
        for sender in senders {
            let (acknowledged, refused) = sender.await.expect("a connection of the generator");
            measured.acknowledged.extend(acknowledged);
            measured.refused.extend(refused);
        }
        measured.took = began.elapsed();
        measured
            .acknowledged
            .sort_unstable_by_key(|one| one.latency);
        measured
    }
}

struct Work {
    address: String,
    reconnects: bool,
    messages: Vec<Message>,
    next: AtomicUsize,
    pace: Pace,
    began: Instant,
    at_most: Duration,
}

impl Pace {
    /// Returns when the message with this index is due.
    pub fn due(self, began: Instant, number: usize) -> Instant {
        match self {
            Self::Saturate => Instant::now(),
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 messages")]
            Self::PerSecond(rate) => began + Duration::from_secs_f64(number as f64 / rate),
        }
    }
}

async fn send(work: Arc<Work>) -> (Vec<Acknowledged>, Vec<u16>) {
    let mut stream = work.connect().await;
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 4096];
    while work.began.elapsed() < work.at_most {
        let number = work.next.fetch_add(1, Ordering::Relaxed);
        let Some(message) = work.messages.get(number) else {
            break;
        };
        let due = work.pace.due(work.began, number);
        tokio::time::sleep_until(due).await;
        let status = exchange(&mut stream, &message.request, &mut buffer).await;
        match status {
            Some(200 | 204) => acknowledged.push(Acknowledged {
                number,
                due,
                latency: due.elapsed(),
            }),
            Some(other) => refused.push(other),
            None if work.reconnects => stream = work.connect().await,
            None => panic!("the service closed a connection"),
        }
    }
    (acknowledged, refused)
}

impl Work {
    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address)
            .await
            .expect("the service listens");
        stream.set_nodelay(true).expect("no delay");
        stream
    }
}

/// Sends one request and returns the status of its answer; `None` if the service closed the connection. Answers are
/// short and have a content-length or no body.
async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.ok()?;
        if read == 0 {
            return None;
        }
        filled += read;
        let text = String::from_utf8_lossy(&buffer[..filled]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0_usize);
        if body.len() >= length {
            let code = head.split(' ').nth(1);
            return Some(code.and_then(|code| code.parse().ok()).unwrap_or(0));
        }
    }
}

impl Measured {
    /// Returns the requests that were answered with 200 or 204, the quickest first.
    pub fn acknowledged(&self) -> &[Acknowledged] {
        &self.acknowledged
    }

    /// Returns the statuses of all other answers.
    pub fn refused(&self) -> &[u16] {
        &self.refused
    }

    pub fn rate(&self) -> f64 {
        self.per_second(self.acknowledged.len())
    }

    /// Returns the number of other answers per second.
    pub fn refusal_rate(&self) -> f64 {
        self.per_second(self.refused.len())
    }

    fn per_second(&self, answers: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 messages")]
        let answers = answers as f64;
        answers / self.took.as_secs_f64()
    }

    /// Returns the latency at this quantile, from 0 to 1, in milliseconds.
    pub fn latency_ms(&self, part: f64) -> f64 {
        quantile(&self.acknowledged, part).map_or(0.0, |one| one.latency.as_secs_f64() * 1000.0)
    }

    /// Checks that every request was answered with 200 or 204.
    ///
    /// # Panics
    /// When one was not.
    pub fn check(&self) {
        assert!(
            self.refused.is_empty(),
            "not acknowledged: {:?}",
            self.refused.iter().take(10).collect::<Vec<_>>()
        );
    }
}

/// Returns the item at this quantile, from 0 to 1, of a sorted list; `None` when the list is empty.
pub fn quantile<T>(sorted: &[T], part: f64) -> Option<&T> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 items")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below the length"
    )]
    let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index)
}
