//! Bodies. A body is rendered when its event is first sent to a destination, with the previously acknowledged revision
//! (`acked_revision` of the lane), and then frozen: every later attempt sends the same body.

use super::lane::Lane;
use super::state::{CarriedState, state};
use super::tracks;
use crate::delivery::health;
use crate::delivery::lanes::{Mode, Rendered, Sibling, Unsent};
use crate::delivery::operators::OperatorEvents;
use crate::events::deliveries::{self, DeliveryRow};
use crate::events::status::DeliveryStatus;
use crate::purchases::users;
use crate::settling::payments;
use crate::settling::profiles::{self, Failure};
use crate::settling::views::{self, View};
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::PENDING_BY_KEY;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Number, Single, row, sql};
use db::writer::Write;
use domain::event::PURCHASE_UPDATED;
use domain::user::{Attributes, PROFILE_UPDATED, TRANSFERRED_FROM, USER_ERASED};
use domain::{Environment, EventId, Timestamp, UserId};
use serde_json::Value;

/// A delivery with its body, ready for an attempt.
pub struct Frozen {
    pub row: DeliveryRow,
    pub body: FrozenBody,
    /// Whether it carries a state of its user, and whether the destination may have a newer one.
    pub state: CarriedState,
    /// The sequence number of the delivery if it is still pending. Its row is then locked, so that it cannot end before
    /// it is leased.
    pub pending: Ahead<'static, Number>,
    pub tries: Ahead<'static, Tries>,
}

/// A body, and the values that are stored beside it.
pub struct FrozenBody {
    pub body: String,
    /// The environment in which the body is sent.
    pub environment: Environment,
    /// The amount in the body, in USD; `None` if it has no amount, or if the body was already frozen.
    pub revenue: Option<String>,
    /// The device id with which the body was rendered; `None` if there is none, or if the body was already frozen.
    pub analytics_device_id: Option<String>,
    /// The device id of a body without an external id of the customer; `None` if the body was already frozen, or if the
    /// destination does not get requests user by user.
    pub nameless_device_id: Option<String>,
    /// The device id that the lane's events had while the customer had no external id, if this body contains both ids.
    pub joined_device_id: Option<String>,
}

row! {
    /// An event, with the current state of its purchase, platform and users.
    struct EventRow {
        created_at: Timestamp,
        occurred_at: Option<Timestamp>,
        body: String,
        state_apart: Option<String>,
        profile: Option<String>,
        views: Option<String>,
        user_id: Option<UserId>,
        user_revision: Option<i64>,
        owner_id: Option<UserId>,
        first_user_id: Option<UserId>,
        event_external_id: Option<String>,
        owner_external_id: Option<String>,
        event_device_id: Option<String>,
        owner_device_id: Option<String>,
        store: Option<String>,
        environment: Option<Environment>,
    }
}

row! {
    /// An earlier delivery of an event that was attempted.
    struct Attempted {
        analytics_device_id: Option<String>,
    }
}

row! {
    struct SiblingRow {
        event_id: EventId,
        event_type: String,
        queued_seq: Option<i64>,
    }
}

row! {
    /// A delivery's attempts: the number of counted ones, how many of these the destination refused, and 1 if the row
    /// of the last attempt may be reused.
    pub struct Tries {
        pub counted: i64,
        pub refused: i64,
        pub reusable: i64,
    }
}

/// The result of rendering a body.
enum Prepared {
    Body(FrozenBody),
    /// The delivery is left out of this request: it waits for the customer's id, was skipped, or failed.
    PutAside,
    /// The delivery ended as failed because it can never be sent, and operators were notified.
    Undeliverable(OperatorEvents),
    /// Another process is changing the owner of the purchase.
    UserBusy,
}

/// Why no request is made.
pub enum Stop {
    /// A delivery can never be sent, and operators were notified.
    Undeliverable(OperatorEvents),
    /// Another process is changing the owner of the purchase.
    UserBusy,
}

/// Renders the bodies of one request, which begins with `head`. Deliveries that may not be sent are left out, so the
/// result can be empty. Stops at the first delivery about which operators are notified, and at the first one whose
/// customer is being changed.
pub fn batch(
    write: &mut Write<'_>,
    lane: &Lane<'_>,
    head: DeliveryRow,
) -> Result<Result<Vec<Frozen>, Stop>, Error> {
    let room = lane.lease.at_most.min(lane.destination.per_request);
    let is_alone =
        head.event_type == PURCHASE_UPDATED || lane.lease.mode == Mode::Probe || room <= 1;
    let mut rows = if is_alone {
        Vec::new()
    } else {
        tracks::followers(write, lane, &head, room - 1)?
    };
    rows.insert(0, head);
    let removes = lane.destination.profile == Some(Attributes::Extended);
    let mut frozen = Vec::with_capacity(rows.len());
    for row in rows {
        let pending = deliveries::lock_pending_ahead(write, row.id)?;
        let tries = tries(write, &row)?;
        let prepared = body(write, lane, &row)?;
        if row.event_type == PURCHASE_UPDATED {
            tracks::supersede_waiting(write, &row)?;
        }
        match prepared {
            Prepared::Body(body) => {
                let state = state(write.connection, lane, row.event_id, body.environment)?;
                let is_outdated =
                    matches!(state, CarriedState::Stale) && body.joined_device_id.is_none();
                if row.event_type == PROFILE_UPDATED && is_outdated {
                    tracks::supersede_profile(write, &row)?;
                    if removes {
                        profiles::note_failure(write, &row, Failure::Superseded)?;
                    }
                    continue;
                }
                frozen.push(Frozen {
                    row,
                    body,
                    state,
                    pending,
                    tries,
                });
            }
            Prepared::PutAside => {}
            Prepared::Undeliverable(operator_events) => {
                return Ok(Err(Stop::Undeliverable(operator_events)));
            }
            Prepared::UserBusy => return Ok(Err(Stop::UserBusy)),
        }
    }
    Ok(Ok(frozen))
}

const PUT_ASIDE: Sql = statement! {"
    UPDATE deliveries
    SET status = ?, last_error = ?, finished_at = ?
    WHERE id = ? AND status {PENDING_BY_KEY}
"};

/// Returns the body of a delivery and its environment, frozen earlier or rendered now. A delivery that can never be
/// sent ends as failed, and operators are notified as after a failed last attempt.
fn body(write: &mut Write<'_>, lane: &Lane<'_>, row: &DeliveryRow) -> Result<Prepared, Error> {
    if let (Some(body), Some(environment)) = (&row.body, row.environment) {
        let body = body.clone();
        return Ok(Prepared::Body(FrozenBody {
            body,
            environment,
            revenue: None,
            analytics_device_id: None,
            nameless_device_id: None,
            joined_device_id: row.joined_device_id.clone(),
        }));
    }
    let Some((rendered, unsent)) = render(write, lane, row)? else {
        return Ok(Prepared::UserBusy);
    };
    let device_id = if lane.destination.per_user {
        device_id(&unsent)
    } else {
        None
    };
    let Unsent {
        environment,
        analytics_device_id,
        external_id,
        ..
    } = unsent;
    let (nameless_device_id, joined_device_id) = match external_id {
        Some(_) => (
            None,
            device_id.filter(|id| lane.row.nameless_device_id.as_ref() == Some(id)),
        ),
        None => (device_id, None),
    };
    let ready = |body, revenue| {
        Prepared::Body(FrozenBody {
            body,
            environment,
            revenue,
            analytics_device_id,
            nameless_device_id,
            joined_device_id,
        })
    };
    let (status, why) = match rendered {
        Rendered::Body(body) => return Ok(ready(body, None)),
        Rendered::Revenue { body, usd } => return Ok(ready(body, Some(usd))),
        Rendered::Wait { why } => (DeliveryStatus::Waiting, why),
        Rendered::Skip { why } => (DeliveryStatus::Skipped, why),
        Rendered::Refuse { why } => (DeliveryStatus::Failed, why),
    };
    let finished_at = (status != DeliveryStatus::Waiting).then_some(write.now()?);
    let end = sql(PUT_ASIDE).bind((status, why.as_str(), finished_at, row.id));
    let changed = end.run(write.connection)?;
    if finished_at.is_some() && changed > 0 {
        profiles::note_failure(write, row, Failure::Unwanted)?;
    }
    if status != DeliveryStatus::Failed || changed == 0 {
        return Ok(Prepared::PutAside);
    }
    let operator_events = health::announce_exhausted(
        write,
        row.destination_id,
        format!("a delivery cannot be sent: {why}"),
    )?;
    Ok(if operator_events.events.is_empty() {
        Prepared::PutAside
    } else {
        Prepared::Undeliverable(operator_events)
    })
}

/// Returns the device id in the body of an event: the customer's in analytics, or else the id of the purchase's first
/// user.
fn device_id(unsent: &Unsent) -> Option<String> {
    unsent
        .analytics_device_id
        .clone()
        .or_else(|| Some(unsent.first_user_id?.to_string()))
}

/// Renders a body. If the delivery would wait for the customer's id, or would be sent user by user without it, this
/// locks the owner of the purchase and renders again, so that neither an id set at this moment nor a new owner is
/// missed: naming a user, or moving a purchase to another user, locks the former owner before it releases the waiting
/// deliveries. `None` if another process has locked the owner.
fn render(
    write: &mut Write<'_>,
    lane: &Lane<'_>,
    row: &DeliveryRow,
) -> Result<Option<(Rendered, Unsent)>, Error> {
    let mut locked = None;
    loop {
        let (unsent, owner) = unsent(write.connection, lane, row)?;
        let rendered = (lane.lease.render)(&lane.destination, &unsent);
        let unlocked = owner.filter(|owner| locked != Some(*owner) && write.connection.is_shared());
        let is_nameless = lane.destination.per_user && unsent.external_id.is_none();
        let Some(owner) =
            unlocked.filter(|_| is_nameless || matches!(rendered, Rendered::Wait { .. }))
        else {
            return Ok(Some((rendered, unsent)));
        };
        if !users::lock_shared(write, owner)? {
            return Ok(None);
        }
        locked = Some(owner);
    }
}

struct Environments {
    recorded_in: Environment,
    sent_in: Environment,
}

impl Environments {
    /// Returns the environments of an event about a purchase. It is sent in the sandbox if it was recorded for a test
    /// purchase, or if its platform is now in the sandbox.
    fn of_event(data: &Value, platform: Option<Environment>) -> Self {
        let is_for_money = data.get("is_production").and_then(Value::as_bool) != Some(false);
        let of = |platform: Environment| {
            if is_for_money {
                platform
            } else {
                Environment::Sandbox
            }
        };
        let sent_in = of(platform.unwrap_or(Environment::Production));
        Self {
            recorded_in: of(Environment::Production),
            sent_in,
        }
    }

    /// Returns the environments of a `profile.updated`. It was recorded in the environment that it covers. If its
    /// platform is now in another environment, it is sent in the sandbox.
    fn of_profile(body: &Value, platform: Option<Environment>) -> Self {
        let read = |name: &str| body.get(name)?.as_str()?.parse::<Environment>().ok();
        let covers = read("environment").unwrap_or(Environment::Sandbox);
        let was_moved =
            platform.is_some_and(|platform| Some(platform) != read("platform_environment"));
        Self {
            recorded_in: covers,
            sent_in: if was_moved {
                Environment::Sandbox
            } else {
                covers
            },
        }
    }
}

/// The state of the user that an event shows to one destination.
struct UserView {
    /// The state over all of the user's purchases in the event's environment; null for an event without a state.
    state: Value,
    /// Further attributes of the user over the same purchases.
    profile: Value,
    /// The body of the event, with the state over the purchases that the destination receives.
    body: Value,
}

/// Selects the user's state for a destination: the state over the platforms that its filter names, in the event's
/// environment or over both. `state` and `profile` are null if the event is sent in another environment than the one in
/// which it was recorded, or if no state was stored for these platforms.
fn shown(
    lane: &Lane<'_>,
    facts: &EventRow,
    body: Value,
    environments: &Environments,
) -> Result<UserView, Error> {
    let filter = &lane.destination.filter;
    let platforms = filter.sorted_platforms();
    let is_at_home = environments.recorded_in == environments.sent_in;
    let has_state = facts.user_revision.is_some() && is_at_home;
    let is_profile = body.get("event_type").and_then(Value::as_str) == Some(PROFILE_UPDATED);
    if platforms.is_empty() || is_profile {
        let apart = facts.state_apart.as_deref().map(json).transpose()?;
        let profile = facts
            .profile
            .as_deref()
            .filter(|_| is_at_home)
            .map(json)
            .transpose()?
            .unwrap_or_default();
        let state = if has_state {
            apart.clone().unwrap_or_else(|| body.clone())
        } else {
            Value::Null
        };
        let other = match lane.destination.wants_both_environments() {
            true => views::find(facts.views.as_deref(), &platforms)?.map(|view| view.state),
            // Release 0.1.0 stored the state over both environments in the body, and that of the event's environment
            // beside it.
            false => apart,
        };
        return Ok(UserView {
            state,
            profile,
            body: with_state(body, other),
        });
    }
    let Some(View {
        state,
        state_apart,
        profile,
        ..
    }) = views::find(facts.views.as_deref(), &platforms)?
    else {
        return Ok(UserView {
            state: Value::Null,
            profile: Value::Null,
            body,
        });
    };
    let narrowed = if lane.destination.wants_both_environments() {
        state
    } else {
        state_apart.clone()
    };
    let (state, profile) = if has_state {
        (state_apart, profile)
    } else {
        (Value::Null, Value::Null)
    };
    Ok(UserView {
        state,
        profile,
        body: with_state(body, Some(narrowed)),
    })
}

/// Replaces the user's state in a body.
fn with_state(mut body: Value, state: Option<Value>) -> Value {
    if let (Some(fields), Some(Value::Object(state))) = (body.as_object_mut(), state) {
        fields.extend(state);
    }
    body
}

const FACTS: Sql = statement! {hot "events_id", "
    SELECT e.created_at, e.occurred_at, e.body, e.state_apart, e.profile, e.views, e.user_id,
        e.user_revision, p.user_id AS owner_id, p.first_user_id, u.external_id AS event_external_id,
        o.external_id AS owner_external_id, u.analytics_device_id AS event_device_id,
        o.analytics_device_id AS owner_device_id, f.store, f.environment
    FROM events e
    LEFT JOIN purchases p ON p.collapse_key = e.collapse_key
    LEFT JOIN platforms f ON f.id = p.platform_id
    LEFT JOIN users u ON u.id = e.user_id
    LEFT JOIN users o ON o.id = p.user_id
    WHERE e.id = ?
"};

/// Loads everything from which a body may be rendered, and the user who owns the purchase. If the event's user has no
/// ids, those of the current owner are used, because an anonymous user became that owner. A `transferred.from` is only
/// about the former owner, so it never has the ids of the new owner.
fn unsent(
    connection: &mut AnyConnection,
    lane: &Lane<'_>,
    row: &DeliveryRow,
) -> Result<(Unsent, Option<UserId>), Error> {
    let (is_state, is_profile) = (
        row.event_type == PURCHASE_UPDATED,
        row.event_type == PROFILE_UPDATED,
    );
    let siblings = if is_state || is_profile {
        None
    } else {
        Some(siblings(connection, row)?)
    };
    let next = if is_state || is_profile {
        None
    } else {
        Some(next_state_ahead(connection, row)?)
    };
    let attempted = if lane.destination.per_user {
        Some(attempted_ahead(connection, row)?)
    } else {
        None
    };
    let facts: Option<EventRow> = sql(FACTS).bind(row.event_id).first(connection)?;
    let mut facts = facts.ok_or(Error::Missing { what: "event" })?;
    let owners = |id: Option<String>| id.filter(|_| row.event_type != TRANSFERRED_FROM);
    let newest_device_id = facts
        .event_device_id
        .take()
        .or(owners(facts.owner_device_id.take()));
    let analytics_device_id =
        match attempted.map_or(Ok(None), |attempted| attempted.first(connection))? {
            Some(Attempted {
                analytics_device_id,
            }) => analytics_device_id,
            None if lane.destination.per_user => {
                lasting_device_id(lane, facts.first_user_id, newest_device_id)
            }
            None => None,
        };
    let body = json(&facts.body)?;
    let data = match next {
        None if is_state => data(&body),
        None => Value::Null,
        Some(next) => next
            .value(connection)?
            .map(|state| json(&state))
            .transpose()?
            .map_or(Value::Null, |body| data(&body)),
    };
    let environments = if is_profile {
        Environments::of_profile(&body, facts.environment)
    } else {
        Environments::of_event(&data, facts.environment)
    };
    let shown = shown(lane, &facts, body, &environments)?;
    let unsent = Unsent {
        event_id: row.event_id,
        event_type: row.event_type.clone(),
        collapse_key: row.collapse_key,
        revision: row.revision,
        created_at: facts.created_at,
        occurred_at: facts.occurred_at,
        data,
        user_state: shown.state,
        user_profile: shown.profile,
        body: shown.body,
        user_id: facts.user_id.or(facts.owner_id),
        first_user_id: facts.first_user_id,
        user_revision: facts.user_revision,
        external_id: facts.event_external_id.or(owners(facts.owner_external_id)),
        analytics_device_id,
        store: facts.store.unwrap_or_default(),
        environment: environments.sent_in,
        siblings: siblings
            .map_or_else(|| Ok(Vec::new()), |rows| rows.all(connection))?
            .into_iter()
            .map(Into::into)
            .collect(),
        acked_revision: lane.row.acked_revision,
        earned: if lane.destination.per_user {
            payments::earned(connection, row)?
        } else {
            None
        },
    };
    Ok((unsent, facts.owner_id))
}

/// Returns the device id of an event that was never attempted; `None` stands for the id of the purchase's first user.
/// If events of a purchase were sent without an external id, the purchase keeps their device id, despite a new owner or
/// ids set later, until an event with both an external id and this device id has arrived: only by this device id can
/// the destination connect what it counted before.
fn lasting_device_id(
    lane: &Lane<'_>,
    first: Option<UserId>,
    newest: Option<String>,
) -> Option<String> {
    let Some(nameless) = &lane.row.nameless_device_id else {
        return newest;
    };
    let is_first = first.is_some_and(|first| first.to_string() == *nameless);
    (!is_first).then(|| nameless.clone())
}

const ATTEMPTED: Sql = statement! {hot "deliveries_event", "
    SELECT analytics_device_id
    FROM deliveries
    WHERE event_id = ? AND destination_id = ? AND attempts > 0
    ORDER BY n
    LIMIT 1
"};

/// Finds the first delivery of an event to the destination that was attempted. Later deliveries repeat its device id,
/// because an integration recognizes a repeated event by event id and device id.
fn attempted_ahead(
    connection: &mut AnyConnection,
    row: &DeliveryRow,
) -> Result<Ahead<'static, Attempted>, Error> {
    sql(ATTEMPTED)
        .bind(row.event_id)
        .bind(row.destination_id)
        .ahead(connection)
}

const NEXT_STATE: Sql = statement! {hot "events_of_key", "
    SELECT body AS value
    FROM events
    WHERE collapse_key = ? AND event_type = 'purchase.updated' AND seq > (SELECT seq FROM events WHERE id = ?)
    ORDER BY seq
    LIMIT 1
"};

/// Finds the body that shows the purchase in the revision of an event: that of the next `purchase.updated`, which is
/// recorded after the other events of the revision.
fn next_state_ahead(
    connection: &mut AnyConnection,
    row: &DeliveryRow,
) -> Result<Ahead<'static, Single<String>>, Error> {
    sql(NEXT_STATE)
        .bind(row.collapse_key)
        .bind(row.event_id)
        .value_ahead(connection)
}

fn data(body: &Value) -> Value {
    body.get("data").cloned().unwrap_or_default()
}

const SIBLINGS: Sql = statement! {hot "events_of_key", "
    SELECT e.id AS event_id, e.event_type, MIN(d.seq) AS queued_seq
    FROM events e
    LEFT JOIN deliveries d ON d.event_id = e.id AND d.destination_id = ?
    WHERE e.collapse_key = ? AND e.revision = ? AND e.event_type NOT IN ('purchase.updated', '{PROFILE_UPDATED}', '{USER_ERASED}')
    GROUP BY e.seq, e.id, e.event_type
    ORDER BY e.seq
"};

/// Finds the events of the same purchase and revision, whether or not the destination chose them.
fn siblings(
    connection: &mut AnyConnection,
    row: &DeliveryRow,
) -> Result<Ahead<'static, SiblingRow>, Error> {
    sql(SIBLINGS)
        .bind((row.destination_id, row.collapse_key, row.revision))
        .ahead(connection)
}

impl From<SiblingRow> for Sibling {
    fn from(
        SiblingRow {
            event_id,
            event_type,
            queued_seq,
        }: SiblingRow,
    ) -> Self {
        Self {
            event_id,
            event_type,
            queued_seq,
        }
    }
}

fn json(body: &str) -> Result<Value, Error> {
    serde_json::from_str(body)
        .map_err(|cause| Error::corrupt_by("an event's body is not JSON", cause))
}

const TRIES: Sql = statement! {hot "sqlite_autoindex_attempts or attempts_pkey", "
    SELECT COUNT(CASE WHEN counts THEN 1 END) AS counted,
        COUNT(CASE WHEN counts AND class = 'refused' THEN 1 END) AS refused,
        COUNT(CASE WHEN number = ? AND class IN ('invalid_settings', 'late') THEN 1 END) AS reusable
    FROM attempts
    WHERE delivery_id = ?
"};

fn tries(write: &mut Write<'_>, row: &DeliveryRow) -> Result<Ahead<'static, Tries>, Error> {
    sql(TRIES)
        .bind(row.attempts)
        .bind(row.id)
        .ahead(write.connection)
}
