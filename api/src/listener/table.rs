//! Open connections of a listener, and the choice of those that are closed for others. Pure: times are arguments, and
//! dropping a connection's sender closes it.

use super::limits::{ANSWER_TIME, BODY_TIME, HEAD_TIME, IDLE_TIME, Limits};
use crate::devices::address::networks;
use ipnet::IpNet;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The connection is new, or is sending the head of a request.
    Head,
    /// The last request was answered, and no new one has begun.
    Idle,
    /// Sending the body of a request.
    Body,
    /// The request is being processed and answered.
    Answer,
    /// The response is a stream, which the client reopens when it ends.
    Stream,
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Idle => "idle",
            Self::Body => "body",
            Self::Answer => "answer",
            Self::Stream => "stream",
        }
    }

    const fn time(self) -> Duration {
        match self {
            Self::Head => HEAD_TIME,
            Self::Idle => IDLE_TIME,
            Self::Body => BODY_TIME,
            Self::Answer | Self::Stream => ANSWER_TIME,
        }
    }

    /// Returns the order in which connections are closed for others: first those without a request, then those that are
    /// sending a body, of which nothing was processed yet, then streams. `None` while a request is being processed.
    const fn rank(self) -> Option<u8> {
        match self {
            Self::Head | Self::Idle => Some(0),
            Self::Body => Some(1),
            Self::Stream => Some(2),
            Self::Answer => None,
        }
    }
}

/// Id of an open connection in a table.
pub type Id = u64;

/// A connection that may be opened, and the phase of one that was closed for it.
#[derive(Debug)]
pub struct Admitted {
    pub id: Id,
    /// Completes when the connection must be closed.
    pub closed: oneshot::Receiver<()>,
    /// Phase of the connection that was closed to make room, if one was.
    pub replaced: Option<Phase>,
    /// Whether the connection accepts only the paths of [`super::limits::HEALTH`].
    pub is_for_health: bool,
}

/// Why a connection cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// All connections of the address or its site are in use.
    Address,
    /// All connections are in use; the caller must wait until one ends.
    Full,
}

/// The bytes of a body cannot be read, because bodies that are being processed fill the memory for bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("other requests fill the memory for request bodies")]
pub struct Crowded;

#[derive(Debug)]
struct AddressEntry {
    /// Address that the connection counts for; `None` for an address without a limit.
    address: Option<IpAddr>,
    /// Number of connections from the site, which is the address with IPv4; 0 for an address without a limit. All
    /// entries of a site share it.
    of_site: Arc<AtomicUsize>,
    is_for_health: bool,
    phase: Phase,
    since: Instant,
    /// Number of bytes of the request's body so far.
    bytes: usize,
    _close: oneshot::Sender<()>,
}

#[derive(Debug)]
pub struct Table {
    limits: Limits,
    open: HashMap<Id, AddressEntry>,
    of_network: HashMap<IpNet, Arc<AtomicUsize>>,
    /// Number of open connections that are reserved for health checks.
    for_health: usize,
    last_id: Id,
    bytes: usize,
}

impl Table {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: HashMap::new(),
            of_network: HashMap::new(),
            for_health: 0,
            last_id: 0,
            bytes: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns the number of bytes of all bodies that are being received or processed.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Opens a connection. At a limit, another connection is closed for it, if one may be closed.
    pub fn admit(&mut self, address: Option<IpAddr>, now: Instant) -> Result<Admitted, Refused> {
        let mut first = None;
        if let Some(full) = address.and_then(|address| self.full(address)) {
            let in_full = |_: Id, entry: &AddressEntry| {
                entry.address.is_some_and(|address| full.contains(&address))
            };
            first = Some(self.first_to_close(in_full).ok_or(Refused::Address)?);
        } else if self.open.len() - self.for_health
            >= self.limits.connections - self.limits.for_health
        {
            first = self.first_to_close(|_, entry| !entry.is_for_health);
            if first.is_none() && self.for_health >= self.limits.for_health {
                first = Some(
                    self.first_to_close(|_, entry| entry.is_for_health)
                        .ok_or(Refused::Full)?,
                );
            }
        }
        // The new connection takes over the place of the closed one, which may be reserved for health checks.
        let replaced =
            first.and_then(|first| self.open.get(&first).map(|entry| entry.is_for_health));
        let is_full =
            self.open.len() - self.for_health >= self.limits.connections - self.limits.for_health;
        let is_for_health = replaced.unwrap_or(is_full);
        let replaced = first.and_then(|first| self.close(first));
        self.for_health += usize::from(is_for_health);
        self.last_id += 1;
        let (close, closed) = oneshot::channel();
        let mut of_site = Arc::default();
        for network in address.into_iter().flat_map(networks) {
            let count = self.of_network.entry(network).or_default();
            count.fetch_add(1, Relaxed);
            of_site = count.clone();
        }
        let entry = AddressEntry {
            address,
            of_site,
            is_for_health,
            phase: Phase::Head,
            since: now,
            bytes: 0,
            _close: close,
        };
        self.open.insert(self.last_id, entry);
        Ok(Admitted {
            id: self.last_id,
            closed,
            replaced,
            is_for_health,
        })
    }

    /// Closes the first connection in closing order, if any may be closed.
    pub fn make_room(&mut self) -> Option<Phase> {
        let first = self.first_to_close(|_, _| true)?;
        self.close(first)
    }

    /// Records a connection's new phase.
    pub fn enter(&mut self, id: Id, phase: Phase, now: Instant) {
        let Some(entry) = self.open.get_mut(&id) else {
            return;
        };
        (entry.phase, entry.since) = (phase, now);
        if phase == Phase::Idle {
            self.bytes -= std::mem::take(&mut entry.bytes);
        }
    }

    /// Records that a connection received bytes of a body. If all bodies together exceed the limit, closes the oldest
    /// other connections that are sending one, and returns their number.
    pub fn receive(&mut self, id: Id, bytes: usize) -> Result<usize, Crowded> {
        let Some(entry) = self.open.get_mut(&id) else {
            return Err(Crowded);
        };
        entry.bytes += bytes;
        self.bytes += bytes;
        let mut closed = 0;
        while self.bytes > self.limits.body_bytes {
            let is_held = |other: Id, entry: &AddressEntry| {
                other != id && entry.phase == Phase::Body && entry.bytes > 0
            };
            let first = self.first_to_close(is_held).ok_or(Crowded)?;
            self.close(first);
            closed += 1;
        }
        Ok(closed)
    }

    /// Closes the connections whose phase has lasted too long, and returns their phases.
    pub fn close_late(&mut self, now: Instant) -> Vec<Phase> {
        let is_late =
            |entry: &AddressEntry| now.saturating_duration_since(entry.since) > entry.phase.time();
        let late: Vec<Id> = self
            .open
            .iter()
            .filter(|(_, entry)| is_late(entry))
            .map(|(id, _)| *id)
            .collect();
        late.into_iter().filter_map(|id| self.close(id)).collect()
    }

    /// Removes a connection, and closes it if it is open. Returns its phase.
    pub fn close(&mut self, id: Id) -> Option<Phase> {
        let entry = self.open.remove(&id)?;
        self.bytes -= entry.bytes;
        self.for_health -= usize::from(entry.is_for_health);
        for network in entry.address.into_iter().flat_map(networks) {
            if self
                .of_network
                .get(&network)
                .is_some_and(|count| count.fetch_sub(1, Relaxed) == 1)
            {
                self.of_network.remove(&network);
            }
        }
        Some(entry.phase)
    }

    /// Returns the smallest network of an address that already has the maximum number of connections.
    fn full(&self, address: IpAddr) -> Option<IpNet> {
        let most = [self.limits.per_address, self.limits.per_site];
        let count = |network: &IpNet| {
            self.of_network
                .get(network)
                .map_or(0, |count| count.load(Relaxed))
        };
        networks(address)
            .zip(most)
            .find(|(network, most)| count(network) >= *most)
            .map(|(network, _)| network)
    }

    /// Returns the connection to close first, among those of the site with the most connections, the oldest with the
    /// lowest rank. So clients with few connections are never evicted for clients with many.
    fn first_to_close(&self, may_close: impl Fn(Id, &AddressEntry) -> bool) -> Option<Id> {
        let ranked = self
            .open
            .iter()
            .filter(|(id, entry)| may_close(**id, entry))
            .filter_map(|(id, entry)| {
                let rank = entry.phase.rank()?;
                Some((Reverse(entry.of_site.load(Relaxed)), rank, entry.since, *id))
            });
        ranked.min().map(|(.., id)| id)
    }
}
