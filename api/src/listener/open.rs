//! Open connections of a running listener: the [`Table`] behind a lock, with its clock and metrics.

use super::limits::Limits;
use super::table::{Admitted, Crowded, Id, Phase, Refused, Table};
use ipnet::IpNet;
use metrics::{counter, gauge};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub struct Connections {
    name: &'static str,
    proxies: Vec<IpNet>,
    table: Mutex<Table>,
    /// Notified when a connection was closed, or has become one that may be closed for another.
    freed: Notify,
}

pub enum Admission {
    /// The connection is open until the receiver completes.
    Open(Arc<Slot>, oneshot::Receiver<()>),
    Refused,
}

/// Place of an open connection, which is freed on drop.
pub struct Slot {
    connections: Arc<Connections>,
    id: Id,
    /// Copy of the phase in the table, to avoid taking the table's lock.
    phase: AtomicU8,
    /// Whether the connection accepts only the paths of [`super::limits::HEALTH`].
    pub is_for_health: bool,
}

impl Connections {
    pub fn new(name: &'static str, limits: Limits) -> Self {
        let proxies = limits.proxies.clone();
        Self {
            name,
            proxies,
            table: Mutex::new(Table::new(limits)),
            freed: Notify::new(),
        }
    }

    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Opens a connection from an address. If no existing connection may be closed for it, waits until one ends.
    pub async fn admit(self: &Arc<Self>, peer: IpAddr) -> Admission {
        let peer = peer.to_canonical();
        let address = (!self.proxies.iter().any(|network| network.contains(&peer))).then_some(peer);
        loop {
            // The lock is released before waiting.
            let admitted = self.table().admit(address, Instant::now());
            match admitted {
                Ok(Admitted {
                    id,
                    closed,
                    replaced,
                    is_for_health,
                }) => {
                    if let Some(phase) = replaced {
                        self.closed("room", phase);
                    }
                    let phase = AtomicU8::new(Phase::Head as u8);
                    let slot = Slot {
                        connections: self.clone(),
                        id,
                        phase,
                        is_for_health,
                    };
                    return Admission::Open(Arc::new(slot), closed);
                }
                Err(Refused::Address) => {
                    counter!("settle_connections_refused_total", "listener" => self.name)
                        .increment(1);
                    return Admission::Refused;
                }
                Err(Refused::Full) => self.freed.notified().await,
            }
        }
    }

    /// Counts that the system refused to accept a connection, and closes an existing one.
    pub fn accept_failed(&self) {
        counter!("settle_accept_failures_total", "listener" => self.name).increment(1);
        let closed = self.table().make_room();
        if let Some(phase) = closed {
            self.closed("descriptors", phase);
        }
    }

    /// Closes connections that exceed a time limit.
    pub fn close_late(&self) {
        let late = self.table().close_late(Instant::now());
        late.into_iter()
            .for_each(|phase| self.closed("time", phase));
        self.show();
    }

    /// Completes when no connection is open.
    pub async fn none_left(&self) {
        while self.table().len() > 0 {
            self.freed.notified().await;
        }
    }

    fn closed(&self, why: &'static str, phase: Phase) {
        let labels = [
            ("listener", self.name),
            ("why", why),
            ("phase", phase.as_str()),
        ];
        counter!("settle_connections_closed_total", &labels).increment(1);
        self.freed.notify_one();
    }

    #[expect(clippy::cast_precision_loss, reason = "bounded numbers")]
    fn show(&self) {
        let (open, bytes) = {
            let table = self.table();
            (table.len(), table.bytes())
        };
        gauge!("settle_connections", "listener" => self.name).set(open as f64);
        gauge!("settle_request_body_bytes", "listener" => self.name).set(bytes as f64);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Records the connection's new phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.connections
            .table()
            .enter(self.id, phase, Instant::now());
        if phase == Phase::Idle {
            self.connections.freed.notify_one();
        }
    }

    /// Records the connection's new phase, if it is in the phase `from`.
    pub fn pass(&self, from: Phase, to: Phase) {
        if self.phase.load(Ordering::Relaxed) == from as u8 {
            self.enter(to);
        }
    }

    /// Records that the connection received bytes of a body. Counts the connections that were closed to free memory.
    pub fn receive(&self, bytes: usize) -> Result<(), Crowded> {
        let received = self.connections.table().receive(self.id, bytes);
        for _ in 0..received.unwrap_or(0) {
            self.connections.closed("memory", Phase::Body);
        }
        received.map(drop)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.table().close(self.id);
        self.connections.freed.notify_one();
    }
}
