//! Starting a request of a stream: reserves its slot under the destination's rate, and records which events it
//! contains.

use super::{LOCK, StreamLease, StreamRow};
use crate::delivery::health;
use crate::settings::destinations;
use crate::store::Store;
use db::error::Error;
use db::partial::PENDING_BY_KEY;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::{JobKind, Write};
use domain::DeliveryId;
use domain::health::{Slot, slot};
use std::time::Duration;

/// A request of a stream that is about to be made.
#[derive(Debug, Clone, Default)]
pub struct StreamStart {
    /// The sequence numbers of its events.
    pub seqs: Vec<i64>,
    /// The `webhook-id` of the request, if the destination gets several events in one request.
    pub batch_id: Option<DeliveryId>,
}

/// Whether a request may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStarted {
    In(Duration),
    /// The rate allows no request soon: try again after this time.
    Later(Duration),
    Lost,
}

const BATCH: Sql = statement! {"
    UPDATE device_deliveries
    SET batch_id = ?
    WHERE destination_id = ? AND event_seq IN (?*) AND status {PENDING_BY_KEY}
"};

impl Store {
    /// Reserves the next slot under the destination's rate, which purchases share, and records the batch of the
    /// request: from now on, its events are sent together.
    pub async fn start_stream_request(
        &self,
        lease: &StreamLease,
        request: StreamStart,
    ) -> Result<StreamStarted, Error> {
        let (lease, kind) = (lease.clone(), JobKind::Stream(lease.destination));
        let work = move |write: &mut Write<'_>| {
            let id = lease.destination;
            let stream: StreamRow = sql(LOCK).bind(id).one(write.connection, "stream")?;
            if !stream.is_held(&lease.token, write.now()?) {
                return Ok(StreamStarted::Lost);
            }
            let Some(found) =
                destinations::find(write.connection, id)?.filter(|found| found.enabled)
            else {
                return Ok(StreamStarted::Lost);
            };
            let mut wait = Duration::ZERO;
            if let Some(rate) = found.rate {
                let next_slot_at = health::lock_row(write, id)?.next_slot_at;
                match slot(next_slot_at, rate, write.now()?) {
                    Slot::Free {
                        wait: until,
                        next_at,
                    } => {
                        health::note_slot(write, id, next_at)?;
                        wait = until;
                    }
                    Slot::Later { wait } => return Ok(StreamStarted::Later(wait)),
                }
            }
            if let (Some(batch), false) = (request.batch_id, request.seqs.is_empty()) {
                let seqs = request.seqs.iter().copied();
                sql(BATCH)
                    .uncached()
                    .bind(batch)
                    .bind(id)
                    .bind_list(seqs)
                    .run(write.connection)?;
            }
            Ok(StreamStarted::In(wait))
        };
        self.database.writer.write(kind, work).await
    }
}
