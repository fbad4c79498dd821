//! A page of a redelivery: each candidate gets a verdict for each destination, and is owed or only counted by it.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::delivery::lanes::LaneKey;
use crate::delivery::retry_after;
use crate::events::deliveries::Event;
use crate::events::lanes;
use crate::purchases::purchase::{self, Origin};
use crate::redelivery::candidates::{Candidate, candidates};
use crate::redelivery::policy::{DueNow, Policy};
use crate::redelivery::runs::{self, PageOfRun, RunMode};
use crate::redelivery::verdict::{self, Condition, DeliveryNumber, Resend, Skipped};
use crate::settings::destinations::{self, Destination};
use domain::event::PURCHASE_UPDATED;
use domain::{AppId, CollapseKey, DestinationId, EventId, Lane, Receivers, RedeliverySelector, Selection, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// The result of one page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivered {
    /// How many events, dead deliveries or purchases were checked.
    pub checked: i64,
    /// The deliveries.
    pub owing: Owing,
    /// The cursor of the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

/// The events that are owed again, and those that are not, with the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owing {
    /// How many deliveries are owed now that were not before; of a dry run, would be.
    pub owed: i64,
    /// How many were not, by the reason.
    pub skipped: BTreeMap<Skipped, i64>,
    /// The destinations whose lanes have something to deliver.
    pub destinations: Vec<DestinationId>,
    /// The purchases of which something is owed: of [`RedeliverySelector::NeverOwed`] alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purchases: Vec<CollapseKey>,
}

/// A page that was selected and not yet carried out.
pub struct Selected {
    pub selection: Selection,
    pub candidates: Paged<Candidate>,
}

impl Store {
    /// Owes a page of the selection once more, as far as each event may be owed again; a dry run only counts. A page's
    /// cursor names where the one before ended; without one, it begins again. What is owed once in a run is not owed
    /// again by it: [`RunMode::Once`]. A selector of states needs one destination, which chose them:
    /// [`Error::Unsuitable`].
    pub async fn redeliver_all(
        &self,
        selection: Selection,
        page: Page,
        mode: impl Into<RunMode> + Send,
    ) -> Result<Redelivered, Error> {
        let mode = mode.into();
        let place = mode.place(&page, &json!(selection));
        if let Some(done) = self.answered(place.clone()).await? {
            return Ok(done);
        }
        let selected = self.select(selection, page).await?;
        self.carry_out(selected, mode, place).await
    }

    /// Sends the newest `purchase.updated` and the dead `user.*` events of the purchase again, to one destination or to
    /// all, as far as each may be owed again, and ends the back-off of those lanes. A request with a name is carried
    /// out once, since its deliveries may have arrived before it is repeated. Returns the open lanes.
    pub async fn redeliver(
        &self,
        key: CollapseKey,
        destination: Option<DestinationId>,
        once: Option<String>,
    ) -> Result<Vec<Lane>, Error> {
        let selection = RedeliverySelector::Lanes(key).to(destination);
        self.redeliver_all(selection, Page::default(), once.map_or(RunMode::Anew, RunMode::Once)).await?;
        self.read(move |connection| lanes::open(connection, key)).await
    }

    pub(super) async fn select(&self, selection: Selection, page: Page) -> Result<Selected, Error> {
        self.read(move |connection| {
            let app = app_of(connection, selection.receivers)?;
            let candidates = candidates(connection, &selection, app, &page)?;
            Ok(Selected { selection, candidates })
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
            let clock = self.clock;
            return self
                .read(move |connection| {
                    let now = connection.now(clock)?;
                    Step::Dry(connection, now).carry_out(&selected)
                })
                .await;
        }
        self.write(move |write| runs::once(write, place.as_ref(), |write| Step::Owe(write).carry_out(&selected))).await
    }
}

/// Why an event would not be owed to a destination by [`RedeliverySelector::Event`]; `None` where it would.
pub fn refused(
    connection: &mut AnyConnection,
    event: EventId,
    destination: DestinationId,
    now: Timestamp,
) -> Result<Option<Skipped>, Error> {
    let selection = RedeliverySelector::Event(event).to(destination);
    let candidates = candidates(connection, &selection, None, &Page::default())?;
    let done = Step::Dry(connection, now).carry_out(&Selected { selection, candidates })?;
    Ok(done.owing.skipped.into_keys().next())
}

/// The app whose purchases are selected; `None` for all.
fn app_of(connection: &mut AnyConnection, receivers: Receivers) -> Result<Option<AppId>, Error> {
    match receivers {
        Receivers::All => Ok(None),
        Receivers::App(id) => Ok(Some(id)),
        Receivers::One(id) => {
            let destination = destinations::find(connection, id)?;
            Ok(Some(destination.ok_or(Error::Missing { what: "destination" })?.app_id))
        }
    }
}

/// What a verdict leads to.
enum Step<'s, 'c> {
    /// It is only counted, as of now.
    Dry(&'s mut AnyConnection, Timestamp),
    /// It is owed.
    Owe(&'s mut Write<'c>),
}

impl Step<'_, '_> {
    fn carry_out(mut self, selected: &Selected) -> Result<Redelivered, Error> {
        let found = &selected.candidates.items;
        let mut owing = Owing::default();
        for of_purchase in found.chunk_by(|one, next| one.collapse_key == next.collapse_key) {
            self.resend(of_purchase, &selected.selection, &mut owing)?;
        }
        let checked = i64::try_from(found.len()).unwrap_or(i64::MAX);
        Ok(Redelivered { checked, owing, next_cursor: selected.candidates.next_cursor.clone() })
    }

    /// Gives the candidates of one purchase their verdicts.
    fn resend(&mut self, of_purchase: &[Candidate], selection: &Selection, owing: &mut Owing) -> Result<(), Error> {
        let policy = Policy::of(&selection.selector);
        let Some(first) = of_purchase.first() else { return Ok(()) };
        let Some(origin) = self.origin(first.collapse_key)? else {
            of_purchase.iter().for_each(|_| owing.skip(policy.absent));
            return Ok(());
        };
        let of_app = destinations::of_app(self.connection(), origin.app_id)?;
        for one in of_purchase {
            if !one.is_last {
                owing.skip(Skipped::Superseded);
                continue;
            }
            let only_to = one.only_to.or(selection.receivers.destination());
            let is_receiver = |destination: &&Destination| only_to.is_none_or(|only| only == destination.id);
            let receivers: Vec<&Destination> = of_app.iter().filter(is_receiver).collect();
            if receivers.is_empty() && only_to.is_some() {
                owing.skip(policy.elsewhere);
                continue;
            }
            let newest = if one.event.is_none() { newest_event(self.connection(), one.collapse_key)? } else { None };
            let Some(event) = one.event.as_ref().or(newest.as_ref()) else {
                owing.skip(policy.absent);
                continue;
            };
            let condition = if one.only_to.is_some() { Condition::Unacknowledged } else { policy.condition };
            for destination in receivers {
                let resend = Resend { event, origin: &origin, destination, condition };
                let verdict = self.verdict(resend, policy.due)?;
                owing.count(resend, &policy, verdict);
            }
        }
        Ok(())
    }

    const fn connection(&mut self) -> &mut AnyConnection {
        match self {
            Self::Dry(connection, _) => connection,
            Self::Owe(write) => write.connection,
        }
    }

    /// What a purchase belongs to, if there is one. It is locked before anything of it is owed.
    fn origin(&mut self, key: CollapseKey) -> Result<Option<Origin>, Error> {
        let origin = purchase::origin(self.connection(), key)?;
        let Self::Owe(write) = self else { return Ok(origin) };
        if origin.is_none() || purchase::find(write.connection, key)?.is_none() {
            return Ok(None);
        }
        purchase::lock(write, key)?;
        Ok(origin)
    }

    fn verdict(&mut self, resend: Resend<'_>, due: DueNow) -> Result<DeliveryNumber, Error> {
        let write = match self {
            Self::Dry(connection, now) => return verdict::verdict(connection, resend, *now),
            Self::Owe(write) => write,
        };
        let verdict = verdict::owe(write, resend)?;
        if due == DueNow::Lane || is_owed(verdict) {
            make_due(write, resend, due)?;
        }
        Ok(verdict)
    }
}

const fn is_owed(verdict: DeliveryNumber) -> bool {
    matches!(verdict, Ok(_) | Err(Skipped::AlreadyOwed))
}

impl Owing {
    fn skip(&mut self, why: Skipped) {
        *self.skipped.entry(why).or_default() += 1;
    }

    fn count(&mut self, resend: Resend<'_>, policy: &Policy, verdict: DeliveryNumber) {
        let id = resend.destination.id;
        let has_work = verdict.is_ok() || (policy.due == DueNow::Event && is_owed(verdict));
        if has_work && !self.destinations.contains(&id) {
            self.destinations.push(id);
        }
        match verdict {
            Ok(_) => self.owed += 1,
            Err(why) => self.skip(why),
        }
        if verdict.is_ok() && policy.condition == Condition::NeverOwed {
            self.purchases.push(resend.event.collapse_key);
        }
    }
}

const NEWEST_EVENT: Sql = statement! {hot "events_of_key", "
    SELECT id, event_type, collapse_key, revision, traceparent
    FROM events
    WHERE collapse_key = ? AND event_type = ?
    ORDER BY seq DESC
    LIMIT 1
"};

/// The newest `purchase.updated`.
fn newest_event(connection: &mut AnyConnection, key: CollapseKey) -> Result<Option<Event>, Error> {
    sql(NEWEST_EVENT).bind(key).bind(PURCHASE_UPDATED).first(connection)
}

const MAKE_EVENT_DUE: Sql = statement! {hot "deliveries_event", "
    UPDATE deliveries
    SET next_due_at = ?
    WHERE event_id = ? AND destination_id = ? AND status = 'pending' AND next_due_at > ?
"};

const MAKE_LANE_DUE: Sql = statement! {hot "deliveries_pending", "
    UPDATE deliveries
    SET next_due_at = ?
    WHERE collapse_key = ? AND destination_id = ? AND status = 'pending' AND next_due_at + 0 > ?
"};

/// Ends the wait of the selected event, or of all that its lane holds.
fn make_due(write: &mut Write<'_>, resend: Resend<'_>, due: DueNow) -> Result<(), Error> {
    let Resend { event, destination, .. } = resend;
    let statement = match due {
        DueNow::Nothing => return Ok(()),
        DueNow::Event => sql(MAKE_EVENT_DUE).bind(write.now).bind(event.id),
        DueNow::Lane => sql(MAKE_LANE_DUE).bind(write.now).bind(event.collapse_key),
    };
    retry_after::end(write, LaneKey { key: event.collapse_key, destination: destination.id })?;
    statement.bind(destination.id).bind(write.now).run(write.connection).map(drop)
}
