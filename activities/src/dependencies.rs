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
    /// Sends requests to addresses that admins chose, and checks each address.
    pub http: Http,
    /// The addresses that the operator allows for destinations.
    pub allowed_addresses: Allowed,
    pub verifier: Arc<Verifier>,
    /// Temporal, to wake purchases and destinations.
    pub engine: Engine,
    /// The wall clock of this machine, used only for the timestamps of signatures. Stored times come from the
    /// database's clock.
    pub clock: fn() -> Timestamp,
    /// A random number from 0 to 1, for the jitter of retries.
    pub random: fn() -> f64,
    /// How long bodies (of notifications, events, deliveries and answers) are stored; `None` stores them forever.
    pub retention: Option<Duration>,
    /// The public address of the dashboard, for links in events about alarms.
    pub dashboard: Option<Arc<str>>,
    /// The number of this worker's delivery slots that each destination occupies.
    pub slots: DeliverySlots,
    /// Subjects of the requests in flight.
    pub in_flight: InFlight,
    /// Which destinations answer promptly, and attempts that a workflow task could not wait for.
    pub local_attempts: LocalAttempts,
    /// The lanes that the database refuses, and that this process leaves alone.
    pub refused: RefusedLanes,
    /// The alarms about failing activities that this process raised lately.
    pub raised: RaisedAlarms,
    /// How much this process sends to people in a day.
    pub volume: Volume,
    /// The parts of the sweep that keep failing.
    pub streaks: Arc<Streaks>,
    /// Set when the worker stops; long activities then start nothing new.
    pub stopping: Arc<AtomicBool>,
}

impl Context {
    /// The heartbeats of an attempt of an activity.
    pub fn heartbeats<'a>(&'a self, ctx: &'a ActivityContext) -> Heartbeats<'a> {
        Heartbeats::new(ctx, self.engine.actions())
    }
}
