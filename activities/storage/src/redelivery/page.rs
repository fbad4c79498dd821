//! A page of a redelivery: each candidate gets a verdict for each destination. By the verdict it is queued or skipped;
//! a dry run only counts.

use crate::delivery::lanes::LaneKey;
use crate::delivery::{health, retry_after};
use crate::events::deliveries::Event;
use crate::events::lanes;
use crate::purchases::purchase::{self, Origin};
use crate::redelivery::candidates::{Candidate, candidates};
use crate::redelivery::policy::{DueNow, Policy};
use crate::redelivery::runs::{self, PageOfRun, RunMode};
use crate::redelivery::verdict::{self, Condition, DeliveryNumber, Resend, Skipped};
use crate::settings::destinations::{self, Destination};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::partial::{PENDING_BY_KEY, PENDING_OF_LANE};
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::event::PURCHASE_UPDATED;
use domain::{
    AppId, CollapseKey, DestinationId, EventId, Lane, Receivers, RedeliverySelector, Selection,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::slice;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivered {
    /// Number of events, failed deliveries or purchases that were checked.
    pub checked: i64,
    /// The deliveries that were recorded, and those that were not.
    pub requeued: Requeued,
    /// The cursor of the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

/// The deliveries that were recorded, and those that were not, with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requeued {
    /// Number of new deliveries; in a dry run, of those that would be recorded.
    pub pending: i64,
    /// Number of deliveries that were not recorded, by reason.
    pub skipped: BTreeMap<Skipped, i64>,
    /// The destinations with a new delivery, or with a delivery that became due.
    pub destinations: Vec<DestinationId>,
    /// The purchases with a waiting delivery that became due: their runs may be waiting for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waited: Vec<CollapseKey>,
}

/// A page whose candidates were read, but which is not carried out yet.
#[derive(Clone)]
pub struct Selected {
    pub selection: Selection,
    pub candidates: Paged<Candidate>,
}

impl Store {
    /// Resends one page of a selection: records a new delivery for each event that may be queued again. A dry run only
    /// counts. The cursor is the end of the previous page; without one, the first page is read. With [`RunMode::Once`],
    /// requesting a page twice records nothing twice.
    ///
    /// # Errors
    ///
    /// [`Error::Unsuitable`] if the selector names states of purchases, and the selection does not name one destination
    /// that chose `purchase.updated`.
    pub async fn resend(
        &self,
        selection: Selection,
        page: Page,
        mode: impl Into<RunMode> + Send,
    ) -> Result<Redelivered, Error> {
        let mode = mode.into();
        let place = mode.place(&page, &json!(selection), &self.database.secrets);
        if let Some(done) = self.answered(place.clone()).await? {
            return Ok(done);
        }
        let selected = self.select(selection, page).await?;
        if selected.selection.selector == RedeliverySelector::NeverQueued {
            return self.backfill(selected, mode, place).await;
        }
        self.carry_out(selected, mode, place).await
    }

    /// Queues the latest `purchase.updated` and the failed events of a purchase again, for one destination or for all,
    /// if their verdicts allow it. Ends the back-off of those lanes, and returns the open lanes. `once` is an
    /// idempotency key: requests with the same key are carried out once, because the deliveries of the first request
    /// may already have arrived.
    pub async fn redeliver(
        &self,
        key: CollapseKey,
        destination: Option<DestinationId>,
        once: Option<String>,
    ) -> Result<Vec<Lane>, Error> {
        let selection = RedeliverySelector::Lanes(key).to(destination);
        let place = once.map_or(RunMode::Anew, RunMode::Once).place(
            &Page::default(),
            &json!(selection),
            &self.database.secrets,
        );
        self.change("purchase.redeliver", move |write| {
            let mut entry = None;
            runs::once(write, place.as_ref(), |write| {
                let app: Option<AppId> = sql(APP).bind(key).value(write.connection)?;
                entry =
                    Some(AuditEntry::on(app, key).after(json!({ "destination_id": destination })));
                // With the purchase locked, no event of it can fail between its selection and its new delivery.
                if purchase::find(write.connection, key)?.is_some() {
                    purchase::lock(write, key)?;
                }
                let candidates = candidates(write.connection, &selection, None, &Page::default())?;
                PageStep::Queue(write).carry_out(&Selected {
                    selection: selection.clone(),
                    candidates,
                })
            })?;
            Ok((lanes::open(write.connection, key)?, entry))
        })
        .await
    }

    async fn select(&self, selection: Selection, page: Page) -> Result<Selected, Error> {
        self.read(move |connection| {
            let app = app_of(connection, selection.receivers)?;
            let candidates = candidates(connection, &selection, app, &page)?;
            Ok(Selected {
                selection,
                candidates,
            })
        })
        .await
    }

    pub(super) async fn carry_out(
        &self,
        selected: Selected,
        mode: RunMode,
        place: Option<PageOfRun>,
    ) -> Result<Redelivered, Error> {
        if mode == RunMode::Dry {
            let clock = self.database.clock;
            return self
                .read(move |connection| {
                    let now = connection.now(clock)?;
                    PageStep::Dry(connection, now).carry_out(&selected)
                })
                .await;
        }
        self.change("resend", move |write| {
            let mut entry = None;
            let done = runs::once(write, place.as_ref(), |write| {
                let done = PageStep::Queue(write).carry_out(&selected)?;
                if selected.selection.ends_pauses() {
                    // All processes update them in the same order, so that two of them cannot deadlock.
                    let destinations: BTreeSet<_> =
                        done.requeued.destinations.iter().copied().collect();
                    destinations
                        .into_iter()
                        .try_for_each(|id| health::end_pause(write, id))?;
                }
                entry = Some(self::entry(write, &selected, &done)?);
                Ok(done)
            })?;
            Ok((done, entry))
        })
        .await
    }
}

const APP: Sql = statement!("SELECT app_id AS value FROM purchases WHERE collapse_key = ?");

/// Builds the audit entry of a page that was carried out. Its subject is the purchase, the destination, the app, or
/// all.
fn entry(
    write: &mut Write<'_>,
    selected: &Selected,
    done: &Redelivered,
) -> Result<AuditEntry, Error> {
    let Selection {
        selector,
        is_urgent,
        receivers,
    } = &selected.selection;
    let purchase = selected
        .candidates
        .items
        .first()
        .filter(|_| selected.selection.is_of_one_purchase());
    let (app, subject) = match (purchase, *receivers) {
        (Some(Candidate { collapse_key, .. }), _) => (
            sql(APP).bind(*collapse_key).value(write.connection)?,
            collapse_key.to_string(),
        ),
        (None, Receivers::One(id)) => (app_of(write.connection, *receivers)?, id.to_string()),
        (None, Receivers::App(id)) => (Some(id), id.to_string()),
        (None, Receivers::All) => (None, "all".to_owned()),
    };
    let (destination, checked, pending) =
        (receivers.destination(), done.checked, done.requeued.pending);
    let after = json!({
        "selector": selector, "destination_id": destination, "now": is_urgent, "checked": checked, "pending": pending,
    });
    Ok(AuditEntry::on(app, subject).after(after))
}

/// Returns why [`RedeliverySelector::Event`] would not record a new delivery of an event; `None` if it would.
pub fn refused(
    connection: &mut AnyConnection,
    event: EventId,
    destination: DestinationId,
    now: Timestamp,
) -> Result<Option<Skipped>, Error> {
    let selection = RedeliverySelector::Event(event).to(destination);
    let candidates = candidates(connection, &selection, None, &Page::default())?;
    let done = PageStep::Dry(connection, now).carry_out(&Selected {
        selection,
        candidates,
    })?;
    Ok(done.requeued.skipped.into_keys().next())
}

/// Returns the app whose purchases are selected; `None` for all apps.
fn app_of(connection: &mut AnyConnection, receivers: Receivers) -> Result<Option<AppId>, Error> {
    match receivers {
        Receivers::All => Ok(None),
        Receivers::App(id) => Ok(Some(id)),
        Receivers::One(id) => {
            let destination = destinations::find(connection, id)?;
            Ok(Some(
                destination
                    .ok_or(Error::Missing {
                        what: "destination",
                    })?
                    .app_id,
            ))
        }
    }
}

impl Selected {
    /// Removes the candidates for which nothing would be recorded, and counts all. Each candidate must be of another
    /// purchase.
    pub fn narrow(
        &mut self,
        connection: &mut AnyConnection,
        now: Timestamp,
    ) -> Result<Redelivered, Error> {
        let Self {
            selection,
            candidates,
        } = self;
        let (mut step, mut requeued) = (PageStep::Dry(connection, now), Requeued::default());
        let checked = i64::try_from(candidates.items.len()).unwrap_or(i64::MAX);
        let mut items = Vec::new();
        for one in candidates.items.drain(..) {
            let before = requeued.pending;
            step.resend(slice::from_ref(&one), selection, &mut requeued)?;
            if requeued.pending > before {
                items.push(one);
            }
        }
        candidates.items = items;
        Ok(Redelivered {
            checked,
            requeued,
            next_cursor: candidates.next_cursor.clone(),
        })
    }
}

/// What is done with the verdicts.
enum PageStep<'s, 'c> {
    /// Deliveries are only counted, as of this time.
    Dry(&'s mut AnyConnection, Timestamp),
    Queue(&'s mut Write<'c>),
}

impl PageStep<'_, '_> {
    fn carry_out(mut self, selected: &Selected) -> Result<Redelivered, Error> {
        let found = &selected.candidates.items;
        let mut requeued = Requeued::default();
        for of_purchase in found.chunk_by(|one, next| one.collapse_key == next.collapse_key) {
            self.resend(of_purchase, &selected.selection, &mut requeued)?;
        }
        let checked = i64::try_from(found.len()).unwrap_or(i64::MAX);
        Ok(Redelivered {
            checked,
            requeued,
            next_cursor: selected.candidates.next_cursor.clone(),
        })
    }

    /// Decides about the candidates of one purchase, and applies the verdicts.
    fn resend(
        &mut self,
        of_purchase: &[Candidate],
        selection: &Selection,
        requeued: &mut Requeued,
    ) -> Result<(), Error> {
        let policy = Policy::of(selection);
        let Some(first) = of_purchase.first() else {
            return Ok(());
        };
        let Some(origin) = self.origin(first.collapse_key)? else {
            of_purchase
                .iter()
                .for_each(|_| requeued.skip(policy.absent));
            return Ok(());
        };
        let of_app = destinations::of_app(self.connection(), origin.app_id)?;
        for one in of_purchase {
            if !one.is_last {
                requeued.skip(Skipped::Superseded);
                continue;
            }
            let only_to = one.only_to.or(selection.receivers.destination());
            let is_receiver =
                |destination: &&Destination| only_to.is_none_or(|only| only == destination.id);
            let receivers: Vec<&Destination> = of_app.iter().filter(is_receiver).collect();
            if receivers.is_empty() && only_to.is_some() {
                requeued.skip(policy.elsewhere);
                continue;
            }
            let newest = if one.event.is_none() {
                newest_event(self.connection(), one.collapse_key)?
            } else {
                None
            };
            let Some(event) = one.event.as_ref().or(newest.as_ref()) else {
                requeued.skip(policy.absent);
                continue;
            };
            let condition = if one.only_to.is_some() {
                Condition::Unacknowledged
            } else {
                policy.condition
            };
            for destination in receivers {
                let resend = Resend {
                    event,
                    origin: &origin,
                    destination,
                    condition,
                };
                let verdict = self.verdict(resend)?;
                requeued.count(resend, policy.due, verdict);
                if self.make_due(resend, policy.due, verdict)? {
                    requeued.add_waited(resend);
                }
            }
        }
        Ok(())
    }

    const fn connection(&mut self) -> &mut AnyConnection {
        match self {
            Self::Dry(connection, _) => connection,
            Self::Queue(write) => write.connection,
        }
    }

    /// Returns the app, platform and environment of a purchase; `None` if there is no such purchase. Locks the purchase
    /// if deliveries may be recorded.
    fn origin(&mut self, key: CollapseKey) -> Result<Option<Origin>, Error> {
        let origin = purchase::origin(self.connection(), key)?;
        let Self::Queue(write) = self else {
            return Ok(origin);
        };
        if origin.is_none() || purchase::find(write.connection, key)?.is_none() {
            return Ok(None);
        }
        purchase::lock(write, key)?;
        Ok(origin)
    }

    fn verdict(&mut self, resend: Resend<'_>) -> Result<DeliveryNumber, Error> {
        match self {
            Self::Dry(connection, now) => verdict::verdict(connection, resend, *now),
            Self::Queue(write) => verdict::queue(write, resend),
        }
    }

    /// Makes pending deliveries due, according to the policy. Returns whether one of them was still waiting.
    fn make_due(
        &mut self,
        resend: Resend<'_>,
        due: DueNow,
        verdict: DeliveryNumber,
    ) -> Result<bool, Error> {
        match self {
            Self::Queue(write) if due == DueNow::Lane || is_pending(verdict) => {
                make_due(write, resend, due)
            }
            _ => Ok(false),
        }
    }
}

const fn is_pending(verdict: DeliveryNumber) -> bool {
    matches!(verdict, Ok(_) | Err(Skipped::AlreadyPending))
}

impl Requeued {
    fn skip(&mut self, why: Skipped) {
        *self.skipped.entry(why).or_default() += 1;
    }

    fn count(&mut self, resend: Resend<'_>, due: DueNow, verdict: DeliveryNumber) {
        if verdict.is_ok() || (due != DueNow::Nothing && is_pending(verdict)) {
            add(&mut self.destinations, resend.destination.id);
        }
        match verdict {
            Ok(_) => self.pending += 1,
            Err(why) => self.skip(why),
        }
    }

    /// Records a lane in which a waiting delivery became due.
    fn add_waited(&mut self, resend: Resend<'_>) {
        add(&mut self.destinations, resend.destination.id);
        add(&mut self.waited, resend.event.collapse_key);
    }
}

fn add<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

const NEWEST_EVENT: Sql = statement! {hot "events_of_key", "
    SELECT id, event_type, collapse_key, revision, traceparent
    FROM events
    WHERE collapse_key = ? AND event_type = ?
    ORDER BY seq DESC
    LIMIT 1
"};

/// Returns the latest `purchase.updated` of a purchase.
fn newest_event(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<Event>, Error> {
    sql(NEWEST_EVENT)
        .bind(key)
        .bind(PURCHASE_UPDATED)
        .first(connection)
}

const MAKE_EVENT_DUE: Sql = statement! {hot "deliveries_event", "
    UPDATE deliveries
    SET next_due_at = ?
    WHERE event_id = ? AND destination_id = ? AND status {PENDING_BY_KEY} AND next_due_at > ?
"};

const MAKE_LANE_DUE: Sql = statement! {hot "deliveries_pending_of_lane", "
    UPDATE deliveries
    SET next_due_at = ?
    WHERE collapse_key = ? AND destination_id = ? AND status {PENDING_OF_LANE} AND next_due_at + 0 > ?
"};

/// Makes the selected event's pending delivery due, or all pending deliveries of its lane, and ends the lane's
/// `Retry-After`. Returns whether one of them was still waiting.
fn make_due(write: &mut Write<'_>, resend: Resend<'_>, due: DueNow) -> Result<bool, Error> {
    let Resend {
        event, destination, ..
    } = resend;
    let statement = match due {
        DueNow::Nothing => return Ok(false),
        DueNow::Event => sql(MAKE_EVENT_DUE).bind(write.now()?).bind(event.id),
        DueNow::Lane => sql(MAKE_LANE_DUE)
            .bind(write.now()?)
            .bind(event.collapse_key),
    };
    let released = retry_after::end(
        write,
        LaneKey {
            key: event.collapse_key,
            destination: destination.id,
        },
    )?;
    let waited = statement
        .bind(destination.id)
        .bind(write.now()?)
        .run(write.connection)?;
    Ok(released + waited > 0)
}
