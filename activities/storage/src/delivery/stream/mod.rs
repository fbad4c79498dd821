//! The stream of a destination: the events of devices that it is owed, in order per device. One run takes them in pages; a
//! lease keeps a second one off.
//!
//! A page walks the devices in the order of their ids, from the one after the last page, and takes a few events of each:
//! no device has to wait for another one's backlog. An event that has to wait holds back the later events of its device.

mod due;

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{clean, row, sql};
use crate::db::store::Store;
use crate::db::writer::{JobKind, Write};
use crate::delivery::class::AttemptClass;
use crate::delivery::health;
use crate::delivery::lanes::{DeliveryResult, Finish, Mode};
use crate::delivery::operators::OperatorEvents;
use crate::settings::destinations::{self, Destination};
use domain::health::State;
use domain::{CollapseKey, DestinationId, DeviceId, Environment, EventId, Timestamp};
use due::{Dues, Found, find};
use secrecy::SecretString;
use std::time::Duration;

/// Time between two events that are sent while the breaker of the destination is open.
const PROBE_EVERY: Duration = Duration::from_secs(30);

row! {
    /// An event of a device that a destination is owed.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct StreamedEvent {
        /// Its place in the stream.
        pub seq: i64,
        /// The event.
        pub id: EventId,
        /// The device.
        pub device_id: DeviceId,
        /// Its type.
        pub event_type: String,
        /// The environment of its platform.
        pub environment: Environment,
        /// When it happened.
        pub occurred_at: Timestamp,
        /// Its stored body.
        pub body: String,
        /// Number of attempts that count as steps of the schedule.
        pub attempts: i64,
        /// Number of these in which the destination refused this event.
        pub refusals: i64,
        /// When it was sent first.
        pub first_tried_at: Option<Timestamp>,
        /// When it was sent last.
        pub tried_at: Option<Timestamp>,
        /// When the next attempt is due.
        pub next_due_at: Timestamp,
        /// Why the last attempt failed.
        pub last_error: Option<String>,
    }
}

/// What a stream may send now.
#[derive(Debug)]
pub enum StreamPage {
    /// These events, in their order.
    Send(Box<StreamBatch>),
    /// Nothing of these devices: go on after the last one.
    Next {
        /// The last device that was looked at.
        after: DeviceId,
        /// When the first of them is due.
        wait: Option<StreamWait>,
    },
    /// The destination takes nothing now.
    Wait(StreamWait),
    /// There is no device behind the last one.
    End,
    /// The destination is disabled or deleted.
    Closed,
}

/// For how long nothing can be sent, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamWait {
    /// How long.
    pub wait: Duration,
    /// Why, for people.
    pub why: String,
}

/// Events that a stream may send now.
#[derive(Debug)]
pub struct StreamBatch {
    /// The destination.
    pub destination: Destination,
    /// Its secrets.
    pub secret: SecretString,
    /// The events, those of each device in order, and none of a device that has to wait.
    pub events: Vec<StreamedEvent>,
    /// The last device that was looked at: the next page begins after it.
    pub last_device: DeviceId,
    /// The present time by the database's clock.
    pub at: Timestamp,
    /// `Probe` for the one event that is sent although the breaker is open.
    pub mode: Mode,
}

/// A claim on the stream of a destination.
#[derive(Debug, Clone)]
pub struct StreamClaim {
    /// The destination.
    pub destination: DestinationId,
    /// Identifies the claimer.
    pub token: String,
    /// How long it holds the stream without claiming again.
    pub lease: Duration,
    /// The device after which the page begins; `None` for the first one.
    pub after: Option<DeviceId>,
}

/// How an attempt of an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamResult {
    /// Its place in the stream.
    pub seq: i64,
    /// What follows for it.
    pub verdict: StreamVerdict,
    /// How the attempt went; `None` if no request was made.
    pub class: Option<AttemptClass>,
    /// Why it was not delivered, for people and without secrets.
    pub error: Option<String>,
}

/// What follows for an event after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamVerdict {
    /// The destination acknowledged it.
    Delivered,
    /// Try again.
    Retry {
        /// How long from now.
        delay: Duration,
        /// Whether the attempt counts as a step of the retry schedule.
        counts: bool,
    },
    /// Never try again.
    Dead,
    /// The destination must not get it.
    Skipped,
}

impl StreamResult {
    /// The result as it counts: a probe uses up no step of the schedule, so it cannot be the last one.
    fn in_mode(&self, mode: Mode) -> Self {
        let verdict = match (mode, self.verdict) {
            (Mode::Probe, StreamVerdict::Dead) if self.class.is_some() => {
                StreamVerdict::Retry { delay: PROBE_EVERY, counts: false }
            }
            (Mode::Probe, StreamVerdict::Retry { delay, .. }) => StreamVerdict::Retry { delay, counts: false },
            (_, verdict) => verdict,
        };
        Self { verdict, ..self.clone() }
    }
}

/// What a request shows of the destination.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    /// The first device of the request.
    pub device: DeviceId,
    /// When its page was claimed, by the database's clock.
    pub began: Timestamp,
    /// Why it was made.
    pub mode: Mode,
    /// The results of the request.
    pub result: DeliveryResult,
    /// The destination is disabled after this time without a success.
    pub disable_after: Duration,
}

/// The events for operators that were recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFinished {
    /// The types of the events about the destination.
    pub operator_events: Vec<&'static str>,
    /// Other destinations that are owed them.
    pub owing: Vec<DestinationId>,
}

row! {
    struct StreamRow {
        lease_token: Option<String>,
        lease_until: Option<Timestamp>,
        probed_at: Option<Timestamp>,
    }
}

const CREATE: Sql = statement!("INSERT INTO streams (destination_id) VALUES (?) ON CONFLICT DO NOTHING");

const FIND: Sql = statement!("SELECT lease_token, lease_until, probed_at FROM streams WHERE destination_id = ?");

const LOCK: Sql = statement! {"
    SELECT lease_token, lease_until, probed_at FROM streams WHERE destination_id = ?
    FOR UPDATE
"};

const TAKE: Sql = statement!("UPDATE streams SET lease_token = ?, lease_until = ? WHERE destination_id = ?");

const PROBE: Sql = statement!("UPDATE streams SET probed_at = ? WHERE destination_id = ?");

const RELEASE: Sql = statement! {"
    UPDATE streams
    SET lease_token = NULL, lease_until = NULL
    WHERE destination_id = ? AND lease_token = ?
"};

const OWING: Sql = statement! {"
    SELECT d.id AS value
    FROM destinations d
    WHERE d.enabled AND d.deleted_at IS NULL
        AND EXISTS (SELECT 1 FROM device_deliveries p WHERE p.destination_id = d.id AND p.status = 'pending')
"};

const COUNT: Sql = statement! {hot "device_deliveries_pending", "
    SELECT COUNT(*) AS value
    FROM (SELECT 1 FROM device_deliveries WHERE destination_id = ? AND status = 'pending' LIMIT 10000) AS counted
"};

impl Store {
    /// The enabled destinations that are owed events of devices.
    pub async fn streams_owed(&self) -> Result<Vec<DestinationId>, Error> {
        self.read(move |connection| sql(OWING).values(connection)).await
    }

    /// Number of events of devices that a destination is owed, counted up to 10,000.
    pub async fn stream_backlog(&self, destination: DestinationId) -> Result<i64, Error> {
        let count = move |connection: &mut AnyConnection| sql(COUNT).bind(destination).value(connection);
        Ok(self.read(count).await?.unwrap_or_default())
    }

    /// Leases the stream of a destination, and reads what may be sent now.
    pub async fn claim_stream(&self, claim: StreamClaim) -> Result<StreamPage, Error> {
        let (secrets, kind) = (self.secrets.clone(), JobKind::Stream(claim.destination));
        let work = move |write: &mut Write<'_>| {
            let id = claim.destination;
            let Some(row) = destinations::find(write.connection, id)?.filter(|row| row.enabled) else {
                return Ok(StreamPage::Closed);
            };
            sql(CREATE).bind(id).later(write.connection)?;
            let stream: StreamRow = sql(LOCK).bind(id).one(write.connection, "stream")?;
            if let Some(wait) = stream.held_back(write, &claim, row.state)? {
                return Ok(StreamPage::Wait(wait));
            }
            let mode = if row.state == State::Open { Mode::Probe } else { Mode::Drain };
            let due = Dues { health: health::find(write.connection, id)?.health, mode, now: write.now };
            let Found { mut events, last_device, wait } = find(write.connection, &claim, &due)?;
            let Some(last_device) = last_device else { return Ok(StreamPage::End) };
            if events.is_empty() {
                return Ok(StreamPage::Next { after: last_device, wait });
            }
            if mode == Mode::Probe {
                events.truncate(1);
            }
            let until = write.now.plus(claim.lease);
            sql(TAKE).bind(claim.token.as_str()).bind(until).bind(id).later(write.connection)?;
            let secret = row.open_secret(&secrets)?;
            let (destination, at) = (row.destination(), write.now);
            Ok(StreamPage::Send(Box::new(StreamBatch { destination, secret, events, last_device, at, mode })))
        };
        self.writer.write(kind, work).await
    }

    /// Gives the stream up, after the last request of its page.
    pub async fn release_stream(&self, claim: &StreamClaim) -> Result<(), Error> {
        let StreamClaim { destination, token, .. } = claim.clone();
        let release = move |write: &mut Write<'_>| {
            sql(RELEASE).bind(destination).bind(token.as_str()).run(write.connection).map(drop)
        };
        self.writer.write(JobKind::Stream(destination), release).await
    }

    /// Whether the claimer with this token still has the stream.
    pub async fn holds_stream(&self, claim: &StreamClaim) -> Result<bool, Error> {
        let StreamClaim { destination, token, .. } = claim.clone();
        self.read_now(move |connection, now| {
            let stream: Option<StreamRow> = sql(FIND).bind(destination).first(connection)?;
            Ok(stream.is_some_and(|stream| stream.is_of(&token) && stream.lease_until.is_some_and(|until| until > now)))
        })
        .await
    }

    /// Records how attempts ended, and what a request shows of the destination; its failures open the breaker as those of
    /// purchases do, with devices in the place of purchases. A claimer that lost the stream records only what arrived.
    pub async fn finish_stream(
        &self,
        claim: &StreamClaim,
        results: Vec<StreamResult>,
        request: Option<StreamRequest>,
    ) -> Result<StreamFinished, Error> {
        let (claim, kind) = (claim.clone(), JobKind::Stream(claim.destination));
        let work = move |write: &mut Write<'_>| {
            sql(CREATE).bind(claim.destination).later(write.connection)?;
            let stream: StreamRow = sql(LOCK).bind(claim.destination).one(write.connection, "stream")?;
            let is_holder = stream.is_of(&claim.token);
            let mode = request.as_ref().map_or(Mode::Drain, |request| request.mode);
            if mode == Mode::Probe {
                sql(PROBE).bind(write.now).bind(claim.destination).later(write.connection)?;
            }
            for result in &results {
                note(write, claim.destination, &result.in_mode(mode), is_holder)?;
            }
            let Some(request) = request.as_ref().filter(|_| is_holder) else { return Ok(StreamFinished::default()) };
            let OperatorEvents { events, owing } = update_health(write, &claim, request)?;
            Ok(StreamFinished { operator_events: events, owing })
        };
        self.writer.write(kind, work).await
    }
}

impl StreamRow {
    fn is_of(&self, token: &str) -> bool {
        self.lease_token.as_deref() == Some(token)
    }

    /// Why nothing can be sent now.
    fn held_back(&self, write: &mut Write<'_>, claim: &StreamClaim, state: State) -> Result<Option<StreamWait>, Error> {
        let now = write.now;
        let pause = health::find(write.connection, claim.destination)?.health.paused_for(now);
        // A time that is further ahead was stored before the clock was put back, and says nothing.
        let until =
            |at: Option<Timestamp>, longest: Duration| at.map(|at| at.since(now)).filter(|wait| *wait <= longest);
        let probe = self.probed_at.filter(|_| state == State::Open).map(|at| at.plus(PROBE_EVERY));
        let lease = self.lease_until.filter(|_| !self.is_of(&claim.token));
        let reasons = [
            (until(lease, claim.lease), "another run has the stream"),
            (pause, "the destination requested a pause"),
            (until(probe, PROBE_EVERY), "the destination's breaker is open: an event is tried every half minute"),
        ];
        let waits = reasons.into_iter().filter_map(|(wait, why)| {
            let wait = wait.filter(|wait| !wait.is_zero())?;
            Some(StreamWait { wait, why: why.to_owned() })
        });
        Ok(waits.max())
    }
}

/// Updates the health of the destination, as after a request of a lane.
fn update_health(write: &mut Write<'_>, claim: &StreamClaim, request: &StreamRequest) -> Result<OperatorEvents, Error> {
    let finish = Finish {
        key: CollapseKey::new(request.device.uuid()),
        destination: claim.destination,
        token: claim.token.clone(),
        mode: request.mode,
        started_at: request.began,
        latency: Duration::ZERO,
        status: None,
        headers: Vec::new(),
        response: None,
        result: request.result.clone(),
        disable_after: request.disable_after,
    };
    let seen = health::find(write.connection, claim.destination)?.health;
    let events = health::update(write, &finish, &seen, request.began)?;
    if let Some(alarm) = &request.result.alarm
        && let Some(found) = destinations::find(write.connection, claim.destination)?
    {
        health::alarm(write, &found.destination(), alarm);
    }
    Ok(events)
}

const END: Sql = statement! {"
    UPDATE device_deliveries
    SET status = ?, last_error = ?, finished_at = ?, attempts = attempts + ?
    WHERE destination_id = ? AND event_seq = ? AND status = 'pending'
"};

const RETRY: Sql = statement! {"
    UPDATE device_deliveries
    SET next_due_at = ?, last_error = ?, attempts = attempts + ?, refusals = refusals + ?,
        first_tried_at = COALESCE(first_tried_at, ?), tried_at = COALESCE(?, tried_at)
    WHERE destination_id = ? AND event_seq = ? AND status = 'pending'
"};

/// Records how the attempt of an event ended.
fn note(write: &mut Write<'_>, id: DestinationId, done: &StreamResult, is_holder: bool) -> Result<(), Error> {
    let StreamResult { seq, verdict, class, error } = done;
    let error = error.as_deref().map(|text| clean(text).into_owned());
    let status = match *verdict {
        StreamVerdict::Delivered => "delivered",
        StreamVerdict::Dead if is_holder => "dead",
        StreamVerdict::Skipped if is_holder => "skipped",
        StreamVerdict::Retry { delay, counts } if is_holder => {
            let is_refusal = counts && *class == Some(AttemptClass::Refused);
            return sql(RETRY)
                .bind(write.now.plus(delay))
                .bind(error)
                .bind(i64::from(counts))
                .bind(i64::from(is_refusal))
                .bind(class.map(|_| write.now))
                .bind(class.map(|_| write.now))
                .bind(id)
                .bind(*seq)
                .later(write.connection);
        }
        StreamVerdict::Dead | StreamVerdict::Skipped | StreamVerdict::Retry { .. } => return Ok(()),
    };
    let attempts = i64::from(class.is_some());
    sql(END).bind(status).bind(error).bind(write.now).bind(attempts).bind(id).bind(*seq).later(write.connection)
}
