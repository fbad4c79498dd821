//! The lanes of a purchase, for its run: when a delivery is due, leasing a lane, checking the lease, and finishing a
//! request.

use crate::delivery::lanes::{Finish, FinishResult, LaneKey, LaneState, Lease, LeaseResult};
use crate::delivery::leasing::{self, tracks};
use crate::delivery::{finish, health, places};
use crate::events::{deliveries, lanes};
use crate::store::Store;
use db::error::Error;
use db::fault;
use db::writer::{JobKind, Write};
use domain::health::wait_until;
use domain::{CollapseKey, DestinationId, Lane};
use std::time::Duration;

impl Store {
    /// Returns the open lanes of a purchase, of enabled destinations only.
    pub async fn lanes(&self, key: CollapseKey) -> Result<Vec<Lane>, Error> {
        self.read(move |connection| lanes::open(connection, key))
            .await
    }

    /// Returns the newest sequence number ever recorded in a lane, or 0.
    pub async fn last_seq(
        &self,
        key: CollapseKey,
        destination: DestinationId,
    ) -> Result<i64, Error> {
        self.read(move |connection| deliveries::last_seq(connection, key, destination))
            .await
    }

    /// Returns how long until the next delivery of a lane is due, and its last error. `None` if a delivery is due, if
    /// none is pending, and while the destination's own run delivers the lane.
    pub async fn lane_wait(
        &self,
        key: CollapseKey,
        destination: DestinationId,
    ) -> Result<Option<(Duration, Option<String>)>, Error> {
        let clock = self.database.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let health = health::find(connection, destination, now)?.health;
            let heads = tracks::heads(connection, LaneKey { key, destination })?;
            let Some(head) = heads.fetch(connection)?.next(&health, now) else {
                return Ok(None);
            };
            let due_at = tracks::due_at(&head, &health, now);
            let is_late = due_at <= now || health.pending_for(due_at, now).is_some();
            Ok((!is_late).then(|| (wait_until(due_at, now), head.last_error)))
        })
        .await
    }

    /// Leases a lane for one request, if one of its deliveries is due, the lane is free, and the destination can take
    /// the request.
    pub async fn lease(&self, lease: Lease) -> Result<LeaseResult, Error> {
        let secrets = self.database.secrets.clone();
        let kind = JobKind::Lane(lease.destination, lease.key);
        self.database
            .writer
            .write(kind, move |write| leasing::lease(write, &secrets, &lease))
            .await
    }

    /// Records the result of a request, and returns the state of the lane, in one transaction.
    pub async fn finish(&self, finish: Finish) -> Result<FinishResult, Error> {
        let kind = JobKind::Lane(finish.destination, finish.key);
        self.database
            .writer
            .write(kind, move |write| finish::finish(write, &finish))
            .await
    }

    /// Records the result of a request and, if another delivery of its lane is due, leases the lane again, in one
    /// transaction.
    ///
    /// # Errors
    /// Nothing is recorded, even if only leasing failed. [`Self::finish`] must then record the request.
    pub async fn finish_and_lease(
        &self,
        finish: Finish,
        next: Lease,
    ) -> Result<(FinishResult, Option<LeaseResult>), Error> {
        let secrets = self.database.secrets.clone();
        let kind = JobKind::Lane(finish.destination, finish.key);
        let work = move |write: &mut Write<'_>| {
            let finished = finish::finish(write, &finish)?;
            let is_due = finished.lane == LaneState::More;
            let leased = is_due
                .then(|| leasing::lease(write, &secrets, &next))
                .transpose()?;
            Ok((finished, leased))
        };
        self.database.writer.write(kind, work).await
    }

    /// Whether the holder with this token still holds an unexpired lease.
    pub async fn holds_lease(
        &self,
        key: CollapseKey,
        destination: DestinationId,
        token: &str,
    ) -> Result<bool, Error> {
        let (clock, token) = (self.database.clock, token.to_owned());
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let is_held = places::is_held(connection, LaneKey { key, destination }, &token, now)?;
            Ok(is_held || fault::is_planted("lease.ignored"))
        })
        .await
    }
}
