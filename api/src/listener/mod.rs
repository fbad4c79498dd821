//! HTTP/1.1 listeners with limits that prevent one client from starving others. Each step of a connection has a time
//! limit, the number of connections and the size of their bodies are limited, and at the limit the oldest connection
//! without a request is closed for the next one.
//!
//! Routing and permissions are not decided here.

mod body;
mod connection;
pub mod limits;
mod open;
mod table;
#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use table::Crowded;

use axum::Router;
use connection::Opened;
use open::{Admission, Connections};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Time between two searches for connections that exceed a time limit.
const CHECKED_EVERY: Duration = Duration::from_secs(1);
/// Pause after the system refused to accept a connection, for example because no file descriptor is free.
const PAUSE: Duration = Duration::from_millis(50);
/// Minimum time between two warnings about refused connections.
const WARNED_EVERY: Duration = Duration::from_secs(60);

/// A bound socket, with the limits on its connections.
pub struct Listener {
    /// Name of the listener in metrics and logs.
    pub name: &'static str,
    pub socket: TcpListener,
    pub limits: Limits,
}

impl Listener {
    /// Responds to requests until `stop` completes, then finishes the running ones.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let (stopping, stopped) = watch::channel(false);
        let connections = Arc::new(Connections::new(self.name, self.limits));
        let acceptor = Acceptor {
            connections: connections.clone(),
            router,
            stopped,
            warned_at: None,
        };
        tokio::select! {
            () = stop => {}
            never = acceptor.admit_all(self.socket) => match never {},
            never = close_late(&connections) => match never {},
        }
        // Sending fails if there is no receiver, which means that no connection is open.
        let _ = stopping.send(true);
        tokio::select! {
            () = connections.none_left() => {}
            never = close_late(&connections) => match never {},
        }
    }
}

async fn close_late(connections: &Connections) -> Infallible {
    let mut ticks = interval(CHECKED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        connections.close_late();
    }
}

struct Acceptor {
    connections: Arc<Connections>,
    router: Router,
    stopped: watch::Receiver<bool>,
    warned_at: Option<Instant>,
}

impl Acceptor {
    async fn admit_all(mut self, socket: TcpListener) -> Infallible {
        loop {
            match socket.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer).await,
                // These errors concern only the connection, which is already gone.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                    ) => {}
                Err(error) => self.recover(&error).await,
            }
        }
    }

    /// Opens a connection; an existing one may be closed first to make room.
    async fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let (slot, closed) = match self.connections.admit(peer.ip()).await {
            Admission::Open(slot, closed) => (slot, closed),
            Admission::Refused => return,
        };
        let opened = Opened {
            stream,
            peer,
            slot,
            closed,
            stopped: self.stopped.clone(),
        };
        tokio::spawn(opened.serve(self.router.clone()));
    }

    /// Closes a connection and pauses, because accepting fails again immediately while the cause lasts.
    async fn recover(&mut self, error: &std::io::Error) {
        self.connections.accept_failed();
        if self
            .warned_at
            .is_none_or(|warned_at| warned_at.elapsed() >= WARNED_EVERY)
        {
            self.warned_at = Some(Instant::now());
            tracing::warn!(listener = self.connections.name(), %error, "connections cannot be accepted");
        }
        sleep(PAUSE).await;
    }
}
