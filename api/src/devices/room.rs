//! Free space on the database's disk. Device reports must not use up the rest, which notifications need. Below a
//! reserve, and for a minute after a write found the disk full, device requests get 503.
//!
//! A task checks the space once a second, and tries to write while the disk is full. So requests only read flags in
//! memory, and everything continues without traffic once there is space again.

use super::admission::Gate;
use crate::config::Reserve;
use crate::error::Error;
use domain::time::HOUR;
use metrics::gauge;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::{Disk, Space, Store, chain};
use tokio::time::{Instant, MissedTickBehavior, interval};

const EVERY: Duration = Duration::from_secs(1);
/// How long device requests are refused after a write found the disk full; also the time after which they may be
/// repeated.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Default reserve: the larger of this number of bytes and this fraction of the disk.
const RESERVE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
const RESERVE_PART: u64 = 20;

impl Reserve {
    /// Returns whether less space than the reserve is free.
    pub fn is_used(self, space: Space) -> bool {
        let reserve = match self {
            Self::Automatic => RESERVE_BYTES.max(space.total / RESERVE_PART),
            Self::Bytes(bytes) => bytes,
        };
        space.free < reserve
    }
}

/// Free space on the disk, as of the task's last check.
#[derive(Debug)]
pub struct Room {
    reserve: Reserve,
    is_low: AtomicBool,
    was_full: AtomicBool,
    /// When the alarm about the reserve was last raised.
    alarmed_at: Mutex<Option<Instant>>,
}

impl Room {
    pub fn new(reserve: Reserve) -> Self {
        Self {
            reserve,
            is_low: AtomicBool::new(false),
            was_full: AtomicBool::new(false),
            alarmed_at: Mutex::default(),
        }
    }

    /// Checks that a device may store something.
    ///
    /// # Errors
    /// 503 if too little space is left.
    pub fn check(&self, disk: &Disk, now: Instant) -> Result<(), Error> {
        if self.is_low.load(Ordering::Relaxed) || disk.is_full() || disk.was_full(now, REFUSED_FOR)
        {
            return Err(Gate::Disk.refuse(REFUSED_FOR));
        }
        Ok(())
    }

    /// Reads the free space on the disk, and tries to write if the disk is full.
    pub async fn refresh(&self, store: &Store) {
        let disk = store.disk();
        if disk.is_full()
            && let Err(error) = store.probe_disk().await
        {
            tracing::debug!(
                error = chain(&error),
                "the disk was probed, and has no room"
            );
        }
        let is_full = disk.is_full();
        gauge!("settle_disk_full").set(f64::from(u8::from(is_full)));
        match (self.was_full.swap(is_full, Ordering::Relaxed), is_full) {
            (false, true) => tracing::error!(
                "no room for the database: notifications are answered 503 until there is"
            ),
            (true, false) => {
                tracing::info!("room for the database again: notifications are accepted")
            }
            _ => {}
        }
        let space = store.free_space().await;
        if let Some(space) = space {
            #[expect(clippy::cast_precision_loss, reason = "a gauge for people")]
            gauge!("settle_disk_free_bytes").set(space.free as f64);
        }
        let is_low = space.is_some_and(|space| self.reserve.is_used(space));
        self.is_low.store(is_low, Ordering::Relaxed);
        let now = Instant::now();
        if is_low && !is_full && self.is_alarm_due(now) && raise(store).await {
            self.note_alarm(now);
        }
    }

    /// Returns whether the alarm is due: an hour after it was last stored.
    fn is_alarm_due(&self, now: Instant) -> bool {
        let alarmed_at = *self
            .alarmed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        alarmed_at.is_none_or(|at| now.saturating_duration_since(at) >= HOUR)
    }

    fn note_alarm(&self, now: Instant) {
        *self
            .alarmed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

/// Raises the alarm about the reserve. Returns whether it was stored.
async fn raise(store: &Store) -> bool {
    let detail = "less of the disk is free than `devices.disk_reserve`: devices get 503, and notifications are \
         accepted until the disk is full; free some space";
    if let Err(error) = store.alarm(None, "disk_reserve", detail).await {
        tracing::error!(
            error = chain(&error),
            alarm.kind = "disk_reserve",
            "an alarm could not be stored"
        );
        return false;
    }
    tracing::warn!(alarm.kind = "disk_reserve", detail, "an alarm was raised");
    true
}

/// Starts the task that checks the disk until the process ends.
pub fn watch(store: Store, room: Arc<Room>) {
    tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            room.refresh(&store).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * 1024 * 1024;

    #[test]
    fn the_reserve_is_two_gibibytes_or_a_twentieth_of_a_large_disk() {
        let is_used =
            |reserve: Reserve, free: u64, total: u64| reserve.is_used(Space { free, total });
        assert!(
            is_used(Reserve::Automatic, 2 * GIB - 1, 8 * GIB)
                && !is_used(Reserve::Automatic, 2 * GIB, 8 * GIB)
        );
        assert!(
            is_used(Reserve::Automatic, 4 * GIB, 100 * GIB)
                && !is_used(Reserve::Automatic, 5 * GIB, 100 * GIB)
        );
        assert!(is_used(Reserve::Bytes(10), 9, GIB) && !is_used(Reserve::Bytes(10), 10, GIB));
        assert!(!is_used(Reserve::Bytes(0), 0, GIB));
    }

    #[test]
    fn its_alarm_is_raised_once_an_hour() {
        let (room, now) = (Room::new(Reserve::Automatic), Instant::now());
        let is_due = |minute: u32| room.is_alarm_due(now + minute * HOUR / 60);
        assert!(is_due(0) && is_due(1), "until it is stored");
        room.note_alarm(now);
        assert_eq!([1, 59, 60, 61].map(is_due), [false, false, true, true]);
    }
}
