//! The dependencies of the activities.

use crate::delivery::in_flight::InFlight;
use crate::delivery::local_attempts::LocalAttempts;
use crate::delivery::refused_lanes::RefusedLanes;
use crate::delivery::slots::DeliverySlots;
use crate::delivery::volume::Volume;
use crate::engine::Engine;
use crate::heartbeat::Heartbeats;
use crate::http::Http;
use crate::raised::RaisedAlarms;
use crate::settling::verifier::Verifier;
use crate::sweep::parts::Streaks;
use domain::Timestamp;
use protocols::destinations::Allowed;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use storage::Store;
use temporalio_sdk::activities::ActivityContext;

/// The dependencies of the activities, built once per process.
#[derive(Clone)]
pub struct Context {
    pub store: Store,
    /// Sends requests to addresses that admins chose, after checking each address.
    pub http: Http,
    /// The addresses that the operator allows for destinations.
    pub allowed_addresses: Allowed,
    pub verifier: Arc<Verifier>,
    /// The connection to Temporal, to wake purchases and destinations.
    pub engine: Engine,
    /// The wall clock of this machine, used only for the timestamps of signatures. Stored times come from the
    /// database's clock.
    pub clock: fn() -> Timestamp,
    /// A random number from 0 to 1, for the jitter of retries.
    pub random: fn() -> f64,
    /// How long bodies (of notifications, events, deliveries and responses) are stored; `None` stores them forever.
    pub retention: Option<Duration>,
    /// The public address of the dashboard, for links in events about alarms.
    pub dashboard: Option<Arc<str>>,
    /// The number of this worker's delivery slots that each destination occupies.
    pub slots: DeliverySlots,
    /// Subjects of the requests in flight.
    pub in_flight: InFlight,
    /// The destinations that respond promptly, and the attempts that a workflow task could not wait for.
    pub local_attempts: LocalAttempts,
    /// The lanes that the database refuses and that this process skips for a while.
    pub refused: RefusedLanes,
    /// The alarms about failing activities that this process raised recently.
    pub raised: RaisedAlarms,
    /// The volume that this process sends to people per day.
    pub volume: Volume,
    /// The parts of the sweep that keep failing.
    pub streaks: Arc<Streaks>,
    /// Set when the worker stops; long activities then start nothing new.
    pub stopping: Arc<AtomicBool>,
}

impl Context {
    /// Returns the heartbeats of one attempt of an activity.
    pub fn heartbeats<'a>(&'a self, ctx: &'a ActivityContext) -> Heartbeats<'a> {
        Heartbeats::new(ctx, self.engine.actions())
    }
}
