//! The hot path of devices: stores the reports of many requests with few statements.
//!
//! A repeated report is recognized by the app's own id of the report, and is not stored again. The end of a session
//! that has already ended also counts as a repetition, because that end was announced.

use crate::devices::admission::Admission;
use crate::devices::claims::accept::{
    self as claims, ClaimCounts, ClaimKey, ClaimSource, StoredClaims,
};
use crate::devices::claims::present::{self, Presence};
use crate::devices::claims::reported::ReportedClaim;
use crate::devices::conceal;
use crate::devices::events::{self, Identity, NewEvent, SESSION_BYTES};
use crate::devices::request::{DeviceReport, DeviceRequest};
use crate::devices::rows::{DescribedDevice, Origin, Origins};
use crate::devices::sessions::{self, SessionKey};
use crate::devices::signed::{self, Received};
use crate::store::Store;
use db::claim_backlogs::ClaimBacklogs;
use db::error::{Error, Unproved};
use db::secrets::Secrets;
use db::statement::clean;
use db::writer::{Faults, Items, JobKind, Write};
use domain::device::clock::DeviceClock;
use domain::device::session::{Session, SessionEffect};
use domain::device::{Content, DeviceEvent, DeviceEventKind, DeviceOwner, Happened, SessionMark};
use domain::{CollapseKey, DestinationId, DevicePlace, EventId, OrgId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

/// The fail points around the commit of reports.
const ACCEPT: Faults = Faults {
    before_commit: "device.before_commit",
    after_commit: "device.after_commit",
    early_answer: Some("device.acknowledge_early"),
};

/// The purpose of the hashes of networks: the table that contains them.
const CLAIMS: &str = "claims";

/// How many events of a request were accepted, and the effects of storing them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptedReports {
    /// Number of events that are now stored for the first time.
    pub accepted: usize,
    /// Number of events that were already stored.
    pub repeated: usize,
    /// Approximate number of bytes that the new events take in the database, with their deliveries and sessions.
    pub stored_bytes: usize,
    /// The enabled destinations for which new events were queued.
    pub queued_for: BTreeSet<DestinationId>,
    /// The claims of purchases in the new events.
    pub claims: ClaimCounts,
    /// Claims of known purchases, which `examine_claim` can decide at once, and those with a signed transaction, which
    /// `finish_claim` decides by it.
    pub known: Vec<ClaimKey>,
    /// The new notifications, of what the store signed: each purchase with its sequence number.
    pub notified: Vec<(CollapseKey, i64)>,
}

impl AddAssign for AcceptedReports {
    fn add_assign(&mut self, other: Self) {
        let Self {
            accepted,
            repeated,
            stored_bytes,
            queued_for,
            claims,
            known,
            notified,
        } = other;
        let ClaimCounts {
            new,
            dropped,
            displaced,
        } = claims;
        self.accepted += accepted;
        self.repeated += repeated;
        self.stored_bytes += stored_bytes;
        self.queued_for.extend(queued_for);
        self.claims.new += new;
        self.claims.dropped += dropped;
        self.claims.displaced += displaced;
        self.known.extend(known);
        self.notified.extend(notified);
    }
}

/// Maximum number of events that are written at once: on SQLite, notifications wait for the write.
const MAX_WRITTEN: usize = 64;

impl Store {
    /// Accepts the reports of devices. When this returns, they are durable and survive a power failure. If it fails,
    /// some of the events may be stored, and the app sends all of them again. An unknown device is created with the
    /// secret of its first request; later requests with another secret are refused with [`Error::Unproved`].
    pub async fn accept_reports(&self, request: DeviceRequest) -> Result<AcceptedReports, Error> {
        let network = self.database.secrets.tombstone(
            CLAIMS,
            &request.platform.to_string(),
            &request.network,
        );
        let mut request = DeviceRequest { network, ..request };
        let mut accepted = AcceptedReports::default();
        while request.reports.len() > MAX_WRITTEN {
            let rest = request.reports.split_off(MAX_WRITTEN);
            let reports = std::mem::replace(&mut request.reports, rest);
            accepted += self
                .accept_some(DeviceRequest {
                    reports,
                    ..request.clone()
                })
                .await?;
        }
        accepted += self.accept_some(request).await?;
        Ok(accepted)
    }

    async fn accept_some(&self, request: DeviceRequest) -> Result<AcceptedReports, Error> {
        let (org, secrets, backlogs) = (
            self.installation().org_id,
            self.database.secrets.clone(),
            self.claims.clone(),
        );
        let work = move |write: &mut Write<'_>, requests: &[&DeviceRequest]| {
            conceal_and_accept(write, org, &secrets, &backlogs, requests)
        };
        let weight = request.reports.len();
        let items = Items {
            items: vec![request],
            weight,
        };
        let accepted = self
            .database
            .writer
            .write_items(JobKind::Device(ACCEPT), items, work)
            .await?;
        accepted
            .into_iter()
            .next()
            .ok_or(Error::Missing { what: "request" })?
            .map_err(Error::Unproved)
    }
}

/// The reports of a group of requests, without repetitions.
struct Gathered<'r> {
    /// The stored sessions of the events.
    known: BTreeMap<SessionKey, Session>,
    /// The sessions that end in this group.
    closed: BTreeSet<SessionKey>,
    seen: BTreeSet<Identity>,
    /// Events to store, with the index of their request.
    events: Vec<(usize, &'r DeviceReport)>,
}

fn conceal_and_accept(
    write: &mut Write<'_>,
    org: OrgId,
    secrets: &Secrets,
    backlogs: &ClaimBacklogs,
    requests: &[&DeviceRequest],
) -> Result<Vec<Result<AcceptedReports, Unproved>>, Error> {
    let mut origins = Origins::new();
    for request in requests {
        Origin::read_once(&mut origins, write.connection, request.platform)?;
    }
    let concealed = conceal::conceal(write, secrets, &origins, requests)?;
    let requests: Vec<&DeviceRequest> = concealed.iter().map(AsRef::as_ref).collect();
    let epoch = write.epoch()?;
    let described: Vec<DescribedDevice<'_>> = requests.iter().map(|one| one.described()).collect();
    let admission = Admission::read(write, &described)?;
    let checks: Vec<Result<(), Unproved>> =
        described.iter().map(|one| admission.check(one)).collect();
    let proved = requests
        .iter()
        .zip(&checks)
        .filter(|(_, check)| check.is_ok());
    let proved: Vec<&DeviceRequest> = proved.map(|(request, _)| *request).collect();
    let mut accepted = accept(
        write,
        &WriteContext {
            org,
            epoch,
            origins: &origins,
            backlogs,
            secrets,
        },
        &admission,
        &proved,
    )?
    .into_iter();
    let result = |check: Result<(), Unproved>| match check {
        Ok(()) => accepted
            .next()
            .map(Ok)
            .ok_or(Error::Missing { what: "request" }),
        Err(unproved) => Ok(Err(unproved)),
    };
    checks.into_iter().map(result).collect()
}

/// Values that all requests of one write share.
struct WriteContext<'a> {
    org: OrgId,
    epoch: i64,
    origins: &'a Origins,
    backlogs: &'a ClaimBacklogs,
    secrets: &'a Secrets,
}

/// Accepts requests whose devices are proved.
fn accept(
    write: &mut Write<'_>,
    context: &WriteContext<'_>,
    Admission(devices): &Admission,
    requests: &[&DeviceRequest],
) -> Result<Vec<AcceptedReports>, Error> {
    let WriteContext {
        org,
        epoch,
        origins,
        backlogs,
        secrets,
    } = *context;
    let received = requests
        .iter()
        .map(|one| one.received_at(write))
        .collect::<Result<Vec<Timestamp>, Error>>()?;
    let mut gathered = Gathered {
        known: sessions::find(write, &sessions_of(requests))?,
        closed: BTreeSet::new(),
        seen: BTreeSet::new(),
        events: Vec::new(),
    };
    for index in in_order(requests) {
        gathered.add(index, requests[index]);
    }
    let began = gathered.beginnings(requests, &received);
    let mut new = Vec::with_capacity(gathered.events.len());
    for (index, report) in &gathered.events {
        let (request, received_at) = (requests[*index], received[*index]);
        let (Some(origin), Some(known)) = (
            origins.get(&request.platform),
            devices.get(&request.place()),
        ) else {
            continue;
        };
        let owner = &known.owner;
        new.push(request.event(
            report,
            &BodyContext {
                origin,
                owner,
                org,
                epoch,
                received_at,
                began: &began,
            },
        ));
    }
    let inserted = events::insert(write, &new, origins)?;
    let mut new_sessions = gathered.new_sessions(&new);
    gathered.store_sessions(write, &new, &inserted)?;
    let mut presences = gathered.presences(&new, &inserted);
    present::identify(write.connection, &mut presences)?;
    let before = present::on_devices(write.connection, devices, &presences)?;
    // A purchase with an open notification counts as known.
    let receipts = signed::store(write, secrets, &gathered.signed(&new, &inserted))?;
    let claims = gathered.claims(requests, &new, &inserted, origins);
    let mut stored = claims::store(write, &claims, origins, backlogs)?;
    present::note(write, before, &presences)?;
    let none = |(index, one): (usize, &&DeviceRequest)| {
        let StoredClaims {
            counts: claims,
            known,
        } = stored.remove(&index).unwrap_or_default();
        AcceptedReports {
            repeated: one.reports.len(),
            claims,
            known,
            ..AcceptedReports::default()
        }
    };
    let mut accepted: Vec<AcceptedReports> = requests.iter().enumerate().map(none).collect();
    for ((index, _), event) in gathered.events.iter().zip(&new) {
        if let (true, Some(counts)) = (
            inserted.contains(&event.identity()),
            accepted.get_mut(*index),
        ) {
            counts.accepted += 1;
            counts.repeated -= 1;
            counts.stored_bytes += event.stored_bytes(origins);
            if event
                .session
                .is_some_and(|session| new_sessions.remove(&(event.place, session)))
            {
                counts.stored_bytes += SESSION_BYTES;
            }
            counts.queued_for.extend(
                event
                    .choosers(origins)
                    .filter(|one| one.enabled)
                    .map(|one| one.id),
            );
        }
    }
    for receipt in receipts {
        if let Some(counts) = accepted.get_mut(receipt.request) {
            counts.stored_bytes += receipt.bytes;
            counts.notified.push((receipt.collapse_key, receipt.seq));
        }
    }
    Ok(accepted)
}

/// Returns the indexes of the requests, ordered by device; those of one device stay in order of arrival.
fn in_order(requests: &[&DeviceRequest]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|index| requests[*index].place());
    order
}

/// Returns the sessions that the events of these requests name.
fn sessions_of(requests: &[&DeviceRequest]) -> BTreeSet<SessionKey> {
    let of = |request: &&DeviceRequest| {
        let place = request.place();
        request
            .reports
            .iter()
            .filter_map(move |report| Some((place, report.session?)))
            .collect::<Vec<_>>()
    };
    requests.iter().flat_map(of).collect()
}

impl<'r> Gathered<'r> {
    /// Adds the events of a request, without those that are repeated in the group, and without ends of sessions that
    /// have already ended.
    fn add(&mut self, index: usize, request: &'r DeviceRequest) {
        for report in &request.reports {
            let key = report.session.map(|session| (request.place(), session));
            let is_end = matches!(report.content, Content::SessionEnd { .. });
            let is_closed = |key: &SessionKey| {
                self.closed.contains(key)
                    || self
                        .known
                        .get(key)
                        .is_some_and(|session| session.closed_at.is_some())
            };
            if (is_end && key.as_ref().is_some_and(is_closed))
                || !self
                    .seen
                    .insert((request.place(), clean(&report.client_id).into_owned()))
            {
                continue;
            }
            if is_end {
                self.closed.extend(key);
            }
            self.events.push((index, report));
        }
    }

    /// Returns the claims in the new events.
    fn claims(
        &self,
        requests: &[&'r DeviceRequest],
        events: &[NewEvent],
        inserted: &BTreeSet<Identity>,
        origins: &Origins,
    ) -> Vec<ReportedClaim<'r>> {
        let mut claims = Vec::new();
        for ((index, report), event) in self.events.iter().zip(events) {
            if inserted.contains(&event.identity()) {
                let DeviceRequest {
                    claiming, network, ..
                } = requests[*index];
                let (claiming, place, occurred_at) = (*claiming, event.place, event.occurred_at);
                let origin = origins.get(&place.platform);
                let is_signed = origin.is_some_and(Origin::signs_receipts);
                let source = ClaimSource {
                    request: *index,
                    place,
                    network,
                    claiming,
                    occurred_at,
                    signed: is_signed.then_some(report.signed.as_slice()),
                };
                claims.extend(source.claims(&report.content));
            }
        }
        claims
    }

    /// Returns the signed transactions in the new events.
    fn signed(&self, events: &[NewEvent], inserted: &BTreeSet<Identity>) -> Vec<Received<'r>> {
        let all = self.events.iter().zip(events);
        let new = all.filter(|(_, event)| inserted.contains(&event.identity()));
        let signed = new.flat_map(|((index, report), _)| {
            let receipts = report.signed.iter();
            receipts.map(move |receipt| (*index, receipt))
        });
        signed.collect()
    }

    /// Returns the store's customers on the devices, according to the new events, in order.
    fn presences(
        &self,
        events: &[NewEvent],
        inserted: &BTreeSet<Identity>,
    ) -> Vec<(DevicePlace, Presence)> {
        let new = self
            .events
            .iter()
            .zip(events)
            .filter(|(_, event)| inserted.contains(&event.identity()));
        let presence = |((_, report), event): (&(usize, &DeviceReport), &NewEvent)| {
            Some((
                event.place,
                Presence::of(&report.content, event.occurred_at)?,
            ))
        };
        new.filter_map(presence).collect()
    }

    /// Returns when each session began: a known beginning never changes; otherwise the first start in the group counts.
    fn beginnings(
        &self,
        requests: &[&DeviceRequest],
        received: &[Timestamp],
    ) -> BTreeMap<SessionKey, Timestamp> {
        let known = self
            .known
            .iter()
            .filter_map(|(key, session)| Some((*key, session.started_at?)));
        let mut began: BTreeMap<SessionKey, Timestamp> = known.collect();
        for (index, report) in &self.events {
            let request = requests[*index];
            if let Content::SessionStart { session, .. } = report.content {
                let at = request.clock(received[*index]).correct(report.time);
                began.entry((request.place(), session)).or_insert(at);
            }
        }
        began
    }

    /// Returns the sessions of these events that are not stored yet.
    fn new_sessions(&self, events: &[NewEvent]) -> BTreeSet<SessionKey> {
        let named = events
            .iter()
            .filter_map(|event| Some((event.place, event.session?)));
        named.filter(|key| !self.known.contains_key(key)).collect()
    }

    /// Adds the new events to their sessions.
    fn store_sessions(
        &mut self,
        write: &mut Write<'_>,
        events: &[NewEvent],
        inserted: &BTreeSet<Identity>,
    ) -> Result<(), Error> {
        let mut touched = BTreeMap::new();
        for event in events
            .iter()
            .filter(|event| inserted.contains(&event.identity()))
        {
            let Some(session) = event.session else {
                continue;
            };
            let (key, step) = ((event.place, session), step(event.kind));
            let session = self
                .known
                .entry(key)
                .and_modify(|session| session.add(step, event.occurred_at))
                .or_insert_with(|| Session::first(step, event.occurred_at));
            touched.insert(key, *session);
        }
        sessions::store(write, &touched)
    }
}

const fn step(kind: DeviceEventKind) -> SessionEffect {
    match kind {
        DeviceEventKind::SessionStart => SessionEffect::Start,
        DeviceEventKind::SessionEnd => SessionEffect::End,
        DeviceEventKind::Impression | DeviceEventKind::Transaction => SessionEffect::Event,
    }
}

/// The data from which an event's body is built, besides the report.
struct BodyContext<'a> {
    origin: &'a Origin,
    owner: &'a DeviceOwner,
    org: OrgId,
    epoch: i64,
    received_at: Timestamp,
    began: &'a BTreeMap<SessionKey, Timestamp>,
}

impl DeviceRequest {
    const fn place(&self) -> DevicePlace {
        DevicePlace {
            platform: self.platform,
            device: self.device.id,
        }
    }

    const fn described(&self) -> DescribedDevice<'_> {
        DescribedDevice {
            place: self.place(),
            device: &self.device,
            secret: self.secret.as_ref(),
        }
    }

    /// Returns when the request was received, by the clock that stamps rows.
    fn received_at(&self, write: &mut Write<'_>) -> Result<Timestamp, Error> {
        Ok(write
            .now()?
            .minus(write.began.saturating_duration_since(self.received_at)))
    }

    /// Returns the device's clock according to this request.
    const fn clock(&self, received_at: Timestamp) -> DeviceClock {
        DeviceClock {
            sent_at: self.sent_at,
            received_at,
        }
    }

    fn event(&self, report: &DeviceReport, context: &BodyContext<'_>) -> NewEvent {
        let BodyContext {
            origin,
            owner,
            org,
            epoch,
            received_at,
            began,
        } = *context;
        let place = self.place();
        let happened = Happened::Reported(&report.content);
        let event = DeviceEvent {
            org_id: org,
            app_id: origin.app_id,
            place,
            platform_type: &origin.store,
            event_id: EventId::of_device(place, epoch, &report.client_id),
            event_time: self.clock(received_at).correct(report.time),
            device: &self.device,
            owner,
            session: report.session.map(|id| SessionMark {
                id,
                started_at: began.get(&(place, id)).copied(),
            }),
            happened,
        };
        NewEvent {
            id: event.event_id,
            place,
            client_id: report.client_id.clone(),
            kind: happened.kind(),
            session: report.session,
            environment: origin.environment,
            occurred_at: event.event_time,
            body: event.body(epoch).to_string(),
        }
    }
}
