//! `/v1/apps/{app_id}/customers/{user_id}/access`: a customer's access at the end of a day. The day and all times in
//! sentences are in UTC.

#[cfg(test)]
mod tests;

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Ids, Query};
use crate::resources::customer_detail::destinations_of;
use crate::resources::customers::unknown_customer;
use crate::times::to_second;
use axum::Json;
use axum::extract::State;
use domain::time::DAY;
use domain::user::{ActiveEntitlement, CustomerPurchase};
use domain::{AppId, CollapseKey, Environment, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::{
    Announcement, AnnouncementStatus, CustomerName, CustomerStatus, DeliveryStatus, DeliveryView,
    Page, Past,
};

/// Maximum number of purchases per environment in a response.
const MAX_PURCHASES: i64 = 1000;
/// Time after an announcement within which a delivery is not late.
const IN_TIME: Duration = Duration::from_secs(60);
/// Maximum number of announcements that are read per day and environment.
const MAX_SPANS: usize = 10;

/// Day of the state.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DayQuery {
    /// Day in UTC, such as `2026-10-03`: today or a past day.
    #[schemars(length(min = 1, max = 10))]
    on: String,
}

/// A customer's access at the end of a day, according to the announcements until then.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CustomerDay {
    /// Day of the state, such as `2026-10-03`.
    pub on: String,
    /// Time of the state: the end of the day in UTC, or now.
    pub at: Timestamp,
    /// Whether the day is over.
    pub is_over: bool,
    /// Production first, then the sandbox if anything is known about it.
    pub environments: Vec<DayAccess>,
}

/// Access in one environment, according to the announcements.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DayAccess {
    /// Environment of the purchases.
    pub environment: Environment,
    /// Active entitlements at that time.
    pub active_entitlements: Vec<ActiveEntitlement>,
    /// Why no entitlement is listed; null if there is one.
    pub no_access: Option<&'static str>,
    /// The access before and after each change of the day, in sentences; null without a change.
    pub changes: Option<String>,
    /// Purchases at that time.
    pub purchases: Vec<DayPurchase>,
    /// The event that announced the state, in a sentence.
    pub announcement: String,
    /// One sentence for each destination that received the announcement more than a minute later, or not yet.
    pub late: Vec<String>,
}

/// A purchase at that time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DayPurchase {
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// SKU of the purchase; null if not known at that time.
    pub sku: Option<String>,
    /// Access that the purchase gave, in a sentence.
    pub summary: String,
}

/// `GET /v1/apps/{app_id}/customers/{user_id}/access?on=`
pub async fn show(
    State(edge): State<Shared>,
    Ids(app, user): Ids<AppId, UserId>,
    Query(DayQuery { on }): Query<DayQuery>,
) -> Result<Json<CustomerDay>, Error> {
    Ok(Json(CustomerDay::of(&edge, app, user, on).await?))
}

/// A customer, and the time at which the access is shown.
#[derive(Clone, Copy)]
struct Moment {
    app: AppId,
    user: UserId,
    past: Past,
    /// Whether the day is over. For the current day, the current state is shown, in the present tense.
    is_over: bool,
}

impl CustomerDay {
    /// Reads a customer's access at the end of a day.
    ///
    /// # Errors
    /// 400 if `on` is not a day or is in the future; 404 if the app has no such customer.
    pub async fn of(edge: &Edge, app: AppId, user: UserId, on: String) -> Result<Self, Error> {
        let now = (edge.clock)();
        let at = past_end(&on, now).map_err(|expected| Error::invalid("on", expected))?;
        let is_over = at < now;
        let mut environments = Vec::new();
        for environment in Environment::ALL {
            let past = Past {
                at,
                environment: *environment,
            };
            let moment = Moment {
                app,
                user,
                past,
                is_over,
            };
            let found = DayAccess::read(edge, moment).await?;
            if environments.is_empty() || found.is_known() {
                environments.push(found);
            }
        }
        Ok(Self {
            on,
            at,
            is_over,
            environments,
        })
    }
}

impl DayAccess {
    async fn read(edge: &Edge, of: Moment) -> Result<Self, Error> {
        let status = state_at(edge, of, of.past.at, MAX_PURCHASES).await?;
        let begin = beginning(of.past.at);
        let changes = changes(spans(edge, of, &status).await?, begin);
        let late = late_destinations(edge, of, status.announcement.as_ref()).await?;
        Ok(Self {
            changes,
            late,
            ..Self::new(of, status)
        })
    }

    fn new(of: Moment, status: CustomerStatus) -> Self {
        let state = status
            .state
            .map(|state| (state.active_entitlements, Some(state.active_skus)));
        let (active_entitlements, skus) = state.unwrap_or_default();
        let purchase = |one: CustomerPurchase| DayPurchase {
            collapse_key: one.collapse_key,
            summary: gave(&one, of.past.at, skus.as_deref(), of.is_over),
            sku: one.sku,
        };
        let announcement = status.announcement.as_ref();
        Self {
            environment: of.past.environment,
            no_access: active_entitlements.is_empty().then(|| none(announcement)),
            active_entitlements,
            changes: None,
            purchases: status.purchases.into_iter().map(purchase).collect(),
            announcement: announced(announcement),
            late: Vec::new(),
        }
    }

    fn is_known(&self) -> bool {
        !self.active_entitlements.is_empty() || !self.purchases.is_empty() || self.changes.is_some()
    }
}

/// Reads a customer's announced state at a time, with at most `limit` purchases.
async fn state_at(
    edge: &Edge,
    of: Moment,
    at: Timestamp,
    limit: i64,
) -> Result<CustomerStatus, Error> {
    let page = Page {
        cursor: None,
        limit,
    };
    let name = CustomerName::User(of.user);
    let past = Past { at, ..of.past };
    let found = edge.store.customer_state_at(of.app, name, past, page).await;
    found.map_err(unknown_customer)
}

/// A period with the same announced access.
struct AccessSpan {
    since: Option<Timestamp>,
    access: String,
}

impl AccessSpan {
    fn of(status: &CustomerStatus) -> Self {
        let announcement = status.announcement.as_ref();
        let names = status
            .state
            .iter()
            .flat_map(|state| &state.active_entitlements)
            .map(|one| one.name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        let access = match announcement.map(|one| one.status) {
            _ if !names.is_empty() => names,
            Some(AnnouncementStatus::Announced) => "none".to_owned(),
            Some(AnnouncementStatus::Pruned) => "not known".to_owned(),
            Some(AnnouncementStatus::NothingAnnounced) | None => "none known".to_owned(),
        };
        Self {
            since: announcement.and_then(|one| one.announced_at),
            access,
        }
    }
}

/// Returns the destinations that received the day's announcement late, or not yet; none if it was made before that day.
async fn late_destinations(
    edge: &Edge,
    of: Moment,
    announcement: Option<&Announcement>,
) -> Result<Vec<String>, Error> {
    let begin = beginning(of.past.at);
    let of_day = announcement.and_then(|one| {
        let at = one.announced_at.filter(|at| Some(*at) >= begin)?;
        Some((one.event_id?, at))
    });
    let Some((event, at)) = of_day else {
        return Ok(Vec::new());
    };
    let found = match edge.store.explain_event(event).await {
        Err(storage::Error::Missing { .. }) => return Ok(Vec::new()),
        found => found?,
    };
    let destinations = destinations_of(edge, of.app).await?;
    let deliveries = found.event.sendings.iter().map(|one| &one.delivery);
    Ok(deliveries
        .filter_map(|one| {
            let to = destinations
                .iter()
                .find(|known| known.id == one.destination_id)?;
            late(&to.common.name, one, at)
        })
        .collect())
}

/// Returns a sentence that a destination received an announcement late, with the time, or not yet. `None` if it arrived
/// in time, or if the delivery ended in another way, which the purchase's page explains.
fn late(name: &str, one: &DeliveryView, announced_at: Timestamp) -> Option<String> {
    match (one.status, one.finished_at) {
        (DeliveryStatus::Delivered, Some(at)) if at > announced_at.plus(IN_TIME) => {
            let (day, of) = (announced_at.to_string(), at.to_string());
            let is_same_day = day.get(..10) == of.get(..10);
            let at = if is_same_day {
                clock_time(at)
            } else {
                to_second(at)
            };
            Some(format!("{name} received this at {at}."))
        }
        (DeliveryStatus::Pending | DeliveryStatus::Waiting, _) => {
            Some(format!("{name} has not received this yet."))
        }
        (DeliveryStatus::Failed, _) => Some(format!("{name} did not receive this.")),
        _ => None,
    }
}

/// Returns the announcements on a day up to a time, and the last one before that day; at most the latest [`MAX_SPANS`].
async fn spans(edge: &Edge, of: Moment, status: &CustomerStatus) -> Result<Vec<AccessSpan>, Error> {
    let begin = beginning(of.past.at);
    let mut all = vec![AccessSpan::of(status)];
    while let Some(since) = all
        .last()
        .and_then(|one| one.since)
        .filter(|at| Some(*at) >= begin)
    {
        if all.len() == MAX_SPANS {
            break;
        }
        let before = since.minus(Duration::from_micros(1));
        all.push(AccessSpan::of(&state_at(edge, of, before, 1).await?));
    }
    Ok(all)
}

/// Returns a day's changes in sentences; `None` if the access stayed the same.
fn changes(newest_first: Vec<AccessSpan>, begin: Option<Timestamp>) -> Option<String> {
    let mut all: Vec<AccessSpan> = Vec::new();
    for span in newest_first.into_iter().rev() {
        if all.last().is_none_or(|last| last.access != span.access) {
            all.push(span);
        }
    }
    let until = |next: &AccessSpan| next.since.map(clock_time).unwrap_or_default();
    let begins_later = all
        .first()
        .and_then(|first| first.since)
        .filter(|at| Some(*at) >= begin);
    let sentences =
        all.iter()
            .enumerate()
            .map(|(at, span)| match (all.get(at + 1), begins_later) {
                (Some(next), Some(since)) if at == 0 => {
                    format!(
                        "From {} until {}: {}.",
                        clock_time(since),
                        until(next),
                        span.access
                    )
                }
                (Some(next), _) if at == 0 => format!("Until {}: {}.", until(next), span.access),
                (Some(next), _) => format!("Then until {}: {}.", until(next), span.access),
                (None, _) => format!("Afterwards: {}.", span.access),
            });
    (all.len() > 1).then(|| sentences.collect::<Vec<_>>().join(" "))
}

/// Returns the first moment of a time's day in UTC.
fn beginning(at: Timestamp) -> Option<Timestamp> {
    let text = at.to_string();
    let (day, _) = text.split_once('T')?;
    format!("{day}T00:00:00Z").parse().ok()
}

/// Returns the time of day in UTC, without seconds if they are zero.
fn clock_time(at: Timestamp) -> String {
    let text = to_second(at);
    let time = text.split_once(' ').map_or(text.as_str(), |(_, time)| time);
    time.strip_suffix(":00").unwrap_or(time).to_owned()
}

/// Returns the last moment of a day in UTC, or `now` if that is earlier. The error is the expected value.
fn past_end(day: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    match (
        end_of_day(day),
        format!("{day}T00:00:00Z").parse::<Timestamp>(),
    ) {
        (Some(_), Ok(begin)) if begin > now => Err("today or a day in the past"),
        (Some(end), _) => Ok(end.min(now)),
        (None, _) => Err("a day such as 2026-10-03"),
    }
}

/// Returns the last moment of a day in UTC.
fn end_of_day(day: &str) -> Option<Timestamp> {
    let begin: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    Some(begin.plus(DAY.saturating_sub(Duration::from_micros(1))))
}

/// Returns a sentence about the event that announced the state, or that there is none.
fn announced(announcement: Option<&Announcement>) -> String {
    let known = announcement.and_then(|one| {
        Some((
            one.status,
            one.event_type.as_deref()?,
            to_second(one.announced_at?),
        ))
    });
    match known {
        Some((AnnouncementStatus::Announced, name, at)) => {
            format!("As announced by `{name}` at {at}.")
        }
        Some((AnnouncementStatus::Pruned, name, at)) => {
            format!(
                "`{name}` announced the state at {at}, but retention removed its body: the state is not known."
            )
        }
        _ => "No event about this customer was recorded in this environment by then.".to_owned(),
    }
}

/// Returns the text for a time without an active entitlement.
fn none(announcement: Option<&Announcement>) -> &'static str {
    match announcement.map(|one| one.status) {
        Some(AnnouncementStatus::Announced) => "No access.",
        Some(AnnouncementStatus::Pruned) => "Not known.",
        Some(AnnouncementStatus::NothingAnnounced) | None => "No access known.",
    }
}

/// Returns a sentence on the access that a purchase gave at a time. `skus` are those that granted an entitlement then;
/// `None` if not known.
fn gave(one: &CustomerPurchase, at: Timestamp, skus: Option<&[String]>, is_over: bool) -> String {
    let (gave, had) = if is_over {
        ("gave", "had")
    } else {
        ("gives", "has")
    };
    let has_entitlement =
        skus.is_none_or(|skus| one.sku.as_ref().is_some_and(|sku| skus.contains(sku)));
    match (one.is_active, one.expires_at) {
        (None, _) => "not known".to_owned(),
        (Some(false), Some(end)) if end <= at => format!("ended {}", to_second(end)),
        (Some(false), _) => format!("{gave} no access"),
        (Some(true), _) if !has_entitlement => {
            format!("{gave} no access, because the product {had} no entitlement")
        }
        (Some(true), Some(end)) => format!("{gave} access until {}", to_second(end)),
        (Some(true), None) => format!("{gave} access"),
    }
}
