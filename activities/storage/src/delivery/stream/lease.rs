//! Leasing a page of a stream, together with some of the destination's places.

use super::due::{self, DuePage, Dues, find};
use super::{
    CREATE, LOCK, PROBE_EVERY, StreamBatch, StreamLease, StreamPage, StreamRow, StreamWait, TAKE,
};
use crate::delivery::lanes::Mode;
use crate::delivery::{destination_lock, health, places};
use crate::settings::destinations;
use crate::store::Store;
use db::error::Error;
use db::statement::sql;
use db::writer::{JobKind, Write};
use domain::Timestamp;
use domain::health::State;
use std::time::Duration;

/// Maximum number of requests that a stream has in flight.
const MAX_CHANNELS: i64 = 32;
/// How long a place stays reserved for a stream that waits for purchases' requests, unless the stream leases again.
const PLACE_HELD: Duration = Duration::from_secs(5);
/// How soon a stream that waits for purchases' requests leases again.
const BUSY: Duration = Duration::from_millis(500);

/// The part of a destination's concurrency that a stream can use.
enum Room {
    /// Maximum number of requests in flight.
    Channels(usize),
    /// Requests of purchases take up the whole concurrency.
    None(StreamWait),
}

impl Store {
    /// Leases the stream of a destination, and returns the events that may be sent now.
    pub async fn lease_stream(&self, lease: StreamLease) -> Result<StreamPage, Error> {
        let (secrets, kind) = (
            self.database.secrets.clone(),
            JobKind::Stream(lease.destination),
        );
        let work = move |write: &mut Write<'_>| {
            let id = lease.destination;
            destination_lock::share(write, id)?;
            let Some(row) = destinations::find(write.connection, id)?.filter(|row| row.enabled)
            else {
                return Ok(StreamPage::Closed);
            };
            sql(CREATE).bind(id).later(write.connection)?;
            let stream: StreamRow = sql(LOCK).bind(id).one(write.connection, "stream")?;
            if let Some(wait) = stream.held_back(write, &lease, row.state)? {
                return Ok(StreamPage::Wait(wait));
            }
            let mode = if row.state == State::Open {
                Mode::Probe
            } else {
                Mode::Drain
            };
            let now = write.now()?;
            let due = Dues {
                health: health::find(write.connection, id, now)?.health,
                mode,
                now,
            };
            let DuePage {
                events,
                last_device,
                wait,
            } = find(write.connection, &lease, &due)?;
            let Some(last_device) = last_device else {
                return Ok(StreamPage::End);
            };
            if events.is_empty() {
                return Ok(StreamPage::Next {
                    after: last_device,
                    wait,
                });
            }
            let mut events = due::with_batches(write.connection, id, events)?;
            if mode == Mode::Probe {
                due::keep_first(&mut events);
            }
            let channels = match take(write, &lease, row.concurrency)? {
                Room::Channels(channels) => channels,
                Room::None(wait) => return Ok(StreamPage::Wait(wait)),
            };
            let secret = row.open_secret(&secrets)?;
            let (destination, at) = (row.destination(), write.now()?);
            Ok(StreamPage::Send(Box::new(StreamBatch {
                destination,
                secret,
                events,
                channels,
                last_device,
                at,
                mode,
            })))
        };
        self.database.writer.write(kind, work).await
    }
}

/// Leases the stream with free places, at most half of all, so that purchases never have to wait only for devices. If
/// none is free, one is reserved for the stream.
fn take(write: &mut Write<'_>, lease: &StreamLease, concurrency: i64) -> Result<Room, Error> {
    let (id, token) = (lease.destination, lease.token.as_str());
    // Frees the places that this stream already holds.
    places::release(write, id, token)?;
    let (at_most, until) = (
        concurrency.div_euclid(2).clamp(1, MAX_CHANNELS),
        write.now()?.plus(lease.duration),
    );
    let channels = places::lease_several(write, id, concurrency, at_most, token, until)?;
    let until = if channels > 0 {
        until
    } else {
        write.now()?.plus(PLACE_HELD)
    };
    sql(TAKE)
        .bind((token, until, channels == 0, id))
        .later(write.connection)?;
    if channels > 0 {
        return Ok(Room::Channels(channels));
    }
    let why = "purchases make all requests that the destination takes at once".to_owned();
    Ok(Room::None(StreamWait { wait: BUSY, why }))
}

impl StreamRow {
    /// Returns why nothing can be sent now, and for how long; `None` if something can.
    fn held_back(
        &self,
        write: &mut Write<'_>,
        lease: &StreamLease,
        state: State,
    ) -> Result<Option<StreamWait>, Error> {
        let now = write.now()?;
        let pause = health::find(write.connection, lease.destination, now)?
            .health
            .paused_for(now);
        let until =
            |at: Option<Timestamp>, longest| Some(at?.unless_ahead(longest, now)?.since(now));
        let probe = self
            .probed_at
            .filter(|_| state == State::Open)
            .map(|at| at.plus(PROBE_EVERY));
        let held_until = self.lease_until.filter(|_| !self.is_of(&lease.token));
        let reasons = [
            (
                until(held_until, lease.duration),
                "another run has the stream",
            ),
            (pause, "the destination requested a pause"),
            (
                until(probe, PROBE_EVERY),
                "the destination's breaker is open: an event is tried every half minute",
            ),
        ];
        let waits = reasons.into_iter().filter_map(|(wait, why)| {
            let wait = wait.filter(|wait| !wait.is_zero())?;
            Some(StreamWait {
                wait,
                why: why.to_owned(),
            })
        });
        Ok(waits.max())
    }
}
