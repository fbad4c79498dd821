//! Recording a decision: one transaction, once.
//!
//! The purchase's row carries the number of its last settling and a fingerprint of what it settled: the
//! same again is answered again, anything else has moved.

use crate::purchase::{self, Origin};
use crate::secrets::hex;
use crate::statement::{Number, sql};
use crate::writer::{Place, Write};
use crate::{Error, Installation, Store, deliveries, destinations, fault, lanes};
use domain::event::{PURCHASE_UPDATED, PurchaseUpdated, chooses};
use domain::{CollapseKey, Decision, EventId, Lane, Outcome, State};

/// A decision that is to be recorded.
#[derive(Debug, Clone)]
pub struct Record {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// The settling's number: [`crate::Loaded::settling`] + 1.
    pub settling: i64,
    /// The revision that the decision saw.
    pub revision: i64,
    /// The notifications that the decision saw.
    pub seqs: Vec<i64>,
    /// The decision.
    pub decision: Decision,
    /// The trace that the event and its deliveries belong to.
    pub traceparent: Option<String>,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is recorded, now or by an earlier attempt.
    Done {
        /// The purchase's revision.
        revision: i64,
        /// Its state.
        state: State,
        /// The lanes that are open.
        lanes: Vec<Lane>,
        /// Whether this settling raised the revision.
        changed: bool,
    },
    /// The purchase is not as the decision saw it. Nothing changed; load again.
    Moved,
}

impl Store {
    /// Records a decision in one transaction, idempotent by settling number and notifications.
    pub async fn record(&self, record: Record) -> Result<Recorded, Error> {
        let installation = self.installation;
        self.writer.write(Place::Record, move |write| record_once(write, &record, installation)).await
    }
}

fn record_once(write: &mut Write<'_>, record: &Record, installation: Installation) -> Result<Recorded, Error> {
    let row = purchase::lock(write, record.collapse_key)?;
    let fingerprint = fingerprint(&record.seqs);
    if row.settling == record.settling && row.fingerprint == fingerprint {
        return Ok(Recorded::Done {
            revision: row.revision,
            state: row.known()?.state(),
            lanes: open_lanes(write, record.collapse_key)?,
            changed: row.changed,
        });
    }
    let is_next = row.settling + 1 == record.settling && row.revision == record.revision;
    if !is_next || !are_open(write, record)? {
        return Ok(Recorded::Moved);
    }
    let revision = row.revision + i64::from(record.decision.changed);
    update(write, record, revision, &fingerprint)?;
    for outcome in [Outcome::Settled, Outcome::NoChange, Outcome::Unknown] {
        end(write, record, outcome, revision)?;
    }
    if record.decision.changed {
        tell(write, record, revision, installation)?;
    }
    Ok(Recorded::Done {
        revision,
        state: record.decision.purchase.state(),
        lanes: open_lanes(write, record.collapse_key)?,
        changed: record.decision.changed,
    })
}

fn open_lanes(write: &mut Write<'_>, key: CollapseKey) -> Result<Vec<Lane>, Error> {
    if fault::is_planted("record.forget_lane") {
        return Ok(Vec::new());
    }
    lanes::open(write.connection, key)
}

/// What was settled, in 64 letters.
fn fingerprint(seqs: &[i64]) -> String {
    let mut seqs = seqs.to_vec();
    seqs.sort_unstable();
    let text: Vec<String> = seqs.iter().map(i64::to_string).collect();
    hex(&openssl::sha::sha256(text.join(",").as_bytes()))
}

/// `?, ?, …`
fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// Whether every notification that the decision saw is still open: an admin may have discarded some.
fn are_open(write: &mut Write<'_>, record: &Record) -> Result<bool, Error> {
    if record.seqs.is_empty() {
        return Ok(true);
    }
    let text = format!(
        "SELECT COUNT(*) AS value FROM notifications WHERE seq IN ({}) AND collapse_key = ? AND outcome IS NULL \
         AND waiting_topic_id IS NULL",
        places(record.seqs.len())
    );
    let open: Option<Number> =
        sql(text).once().bind_all(record.seqs.iter().copied()).bind(record.collapse_key).first(write.connection)?;
    Ok(open.is_some_and(|open| usize::try_from(open.value) == Ok(record.seqs.len())))
}

/// A wake that is past has been followed by this settling. The customer comes from the inbox: decisions
/// know nothing of customers.
fn update(write: &mut Write<'_>, record: &Record, revision: i64, fingerprint: &str) -> Result<(), Error> {
    let purchase = &record.decision.purchase;
    sql("UPDATE purchases SET revision = ?, state = ?, purchase = ?, settling = ?, fingerprint = ?, changed = ?, \
         app_user_id = COALESCE((SELECT app_user_id FROM notifications WHERE seq = ?), app_user_id), \
         next_wake_at = NULL, updated_at = ? WHERE collapse_key = ?")
    .bind(revision)
    .bind(purchase.state().as_str())
    .bind(purchase::json(purchase)?)
    .bind(record.settling)
    .bind(fingerprint)
    .bind(record.decision.changed)
    .bind(record.seqs.iter().copied().max().unwrap_or(0))
    .bind(write.now)
    .bind(record.collapse_key)
    .run(write.connection)
    .map(drop)
}

/// The notifications that get this outcome. One that the decision is silent about changed nothing.
fn seqs_with(record: &Record, outcome: Outcome) -> Vec<i64> {
    let said = |seq: i64| record.decision.outcomes.iter().find(|(of, _)| *of == seq).map(|(_, outcome)| *outcome);
    record.seqs.iter().copied().filter(|seq| said(*seq).unwrap_or(Outcome::NoChange) == outcome).collect()
}

fn end(write: &mut Write<'_>, record: &Record, outcome: Outcome, revision: i64) -> Result<(), Error> {
    let seqs = seqs_with(record, outcome);
    if seqs.is_empty() {
        return Ok(());
    }
    let revision = if outcome == Outcome::Unknown { None } else { Some(revision) };
    let text = format!(
        "UPDATE notifications SET outcome = ?, revision = ?, ended_at = ? WHERE seq IN ({})",
        places(seqs.len())
    );
    sql(text).once().bind(outcome).bind(revision).bind(write.now).bind_all(seqs).run(write.connection).map(drop)
}

/// Writes the event of this revision, and what is owed of it to each destination that chose it.
fn tell(write: &mut Write<'_>, record: &Record, revision: i64, installation: Installation) -> Result<(), Error> {
    let key = record.collapse_key;
    let origin = purchase::origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
    let named = if fault::is_planted("record.reuse_event_id") { 1 } else { revision };
    let event = deliveries::Event {
        id: EventId::of(key, installation.epoch, named, PURCHASE_UPDATED, 0),
        event_type: PURCHASE_UPDATED.to_owned(),
        collapse_key: key,
        revision,
        traceparent: record.traceparent.clone(),
    };
    let body = body(write, record, &event, (&origin, installation));
    sql("INSERT INTO events (id, collapse_key, event_type, revision, body, traceparent, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)")
    .bind(event.id)
    .bind(key)
    .bind(PURCHASE_UPDATED)
    .bind(revision)
    .bind(body)
    .bind(event.traceparent.as_deref())
    .bind(write.now)
    .run(write.connection)?;
    for destination in destinations::of_app(write.connection, origin.app_id)? {
        if chooses(&destination.events, PURCHASE_UPDATED) {
            deliveries::owe(write, &event, destination.id, 0)?;
        }
    }
    Ok(())
}

fn body(
    write: &Write<'_>,
    record: &Record,
    event: &deliveries::Event,
    (origin, installation): (&Origin, Installation),
) -> String {
    PurchaseUpdated {
        org_id: installation.org_id,
        app_id: origin.app_id,
        platform_id: origin.platform_id,
        platform_type: &origin.store,
        collapse_key: event.collapse_key,
        event_id: event.id,
        event_time: write.now,
        revision: event.revision,
        coalesced: i64::try_from(seqs_with(record, Outcome::Settled).len()).unwrap_or(i64::MAX),
        receipt_id: &origin.receipt_id,
        environment: origin.environment,
        purchase: &record.decision.purchase,
    }
    .body()
    .to_string()
}
