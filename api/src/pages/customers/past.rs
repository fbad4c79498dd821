//! What a customer had at the end of a day. The day and all times are in UTC, which the card names once.

use super::Portrait;
use crate::edge::Edge;
use crate::error::Error;
use crate::pages::parts::Sentence;
use crate::pages::text::plain;
use crate::pages::visit::Visit;
use domain::time::DAY;
use domain::user::CustomerPurchase;
use domain::{Environment, Timestamp};
use std::time::Duration;
use storage::{
    Announcement, AnnouncementStatus, CustomerName, CustomerStatus, DeliveryStatus, DeliveryView,
    Page, Past,
};

/// Maximum number of purchases of an environment on the page.
const MAX_PURCHASES: i64 = 1000;
/// How long after its announcement a state counts as received at once.
const IN_TIME: Duration = Duration::from_secs(60);
/// Maximum number of announcements that are read of one day and environment.
const MAX_SPANS: usize = 10;

/// The day that was entered, and what was announced until its end.
pub struct PastDay {
    pub on: String,
    /// Time of the state, in a sentence: the end of the day, or now.
    pub until: String,
    /// Expected value, if the text is no day.
    pub wrong: Option<&'static str>,
    pub environments: Vec<PastAccess>,
}

/// Announcements in one environment.
pub struct PastAccess {
    /// Which access, and as of when.
    pub title: String,
    /// The entitlements with their ends.
    pub entitlements: Vec<(String, Option<String>)>,
    /// Text if there is no entitlement.
    pub none: &'static str,
    /// The access before and after each change of the day; `None` without one.
    pub changes: Option<String>,
    pub purchases: Vec<PastPurchase>,
    pub note: Sentence,
    /// The destinations that received the state more than a minute after it was announced, or not yet.
    pub received: Vec<String>,
}

pub struct PastPurchase {
    pub path: String,
    pub sku: String,
    /// Access that the purchase gave at that time.
    pub gives: Sentence,
}

/// A day that was entered. Of the current one, what is true now is shown, in the present tense.
#[derive(Clone, Copy)]
struct Day<'a> {
    on: &'a str,
    is_over: bool,
}

/// State of the customer at the end of the day in the address, if there is one.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn of(edge: &Edge, visit: &Visit, portrait: &Portrait) -> Result<Option<PastDay>, Error> {
    let Some(on) = visit.query("on").filter(|on| !on.is_empty()) else {
        return Ok(None);
    };
    let at = match past_end(&on, visit.now) {
        Ok(at) => at,
        Err(wrong) => {
            return Ok(Some(PastDay {
                on,
                until: String::new(),
                wrong: Some(wrong),
                environments: Vec::new(),
            }));
        }
    };
    let day = Day {
        on: &on,
        is_over: at < visit.now,
    };
    let mut environments = Vec::new();
    for environment in Environment::ALL {
        let seen = Past {
            at,
            environment: *environment,
        };
        let name = CustomerName::User(portrait.user());
        let status = edge
            .store
            .customer_state_at(
                portrait.app.id,
                name,
                seen,
                Page {
                    cursor: None,
                    limit: MAX_PURCHASES,
                },
            )
            .await?;
        let changes = changes(
            spans(edge, portrait, seen, &status).await?,
            beginning(seen.at),
        );
        let received = received(edge, portrait, status.announcement.as_ref(), seen).await?;
        environments.push(PastAccess {
            changes,
            received,
            ..access(day, seen, status, visit)
        });
    }
    let (first, others) = (
        environments.remove(0),
        environments.into_iter().filter(PastAccess::is_known),
    );
    Ok(Some(PastDay {
        until: if day.is_over {
            format!("As it was at {}.", zoneless(at))
        } else {
            format!("As it is now, at {}.", zoneless(at))
        },
        on,
        wrong: None,
        environments: std::iter::once(first).chain(others).collect(),
    }))
}

/// A span of time with the announced access, newest first.
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

/// Which destinations received an announcement of the day late, or not yet; empty where it was announced before.
async fn received(
    edge: &Edge,
    portrait: &Portrait,
    announcement: Option<&Announcement>,
    seen: Past,
) -> Result<Vec<String>, Error> {
    let of_day = announcement.and_then(|one| {
        let at = one
            .announced_at
            .filter(|at| Some(*at) >= beginning(seen.at))?;
        Some((one.event_id?, at))
    });
    let Some((event, at)) = of_day else {
        return Ok(Vec::new());
    };
    let found = match edge.store.explain_event(event).await {
        Err(storage::Error::Missing { .. }) => return Ok(Vec::new()),
        found => found?,
    };
    let deliveries = found.event.sendings.iter().map(|one| &one.delivery);
    let destinations = &portrait.read.destinations;
    Ok(deliveries
        .filter_map(|one| {
            let to = destinations
                .iter()
                .find(|known| known.id == one.destination_id)?;
            late(&to.common.name, one, at)
        })
        .collect())
}

/// That a destination received an announcement late, with the time, or not yet; `None` if it was in time, or if the
/// delivery ended otherwise, which the purchase's page explains.
fn late(name: &str, one: &DeliveryView, announced_at: Timestamp) -> Option<String> {
    match (one.status, one.finished_at) {
        (DeliveryStatus::Delivered, Some(at)) if at > announced_at.plus(IN_TIME) => {
            let (day, of) = (announced_at.to_string(), at.to_string());
            let is_same_day = day.get(..10) == of.get(..10);
            let at = if is_same_day {
                clock_time(at)
            } else {
                zoneless(at)
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

/// Announcements on the day of a time until then, and the last one before the day; at most [`MAX_SPANS`], the latest
/// ones.
async fn spans(
    edge: &Edge,
    portrait: &Portrait,
    seen: Past,
    status: &CustomerStatus,
) -> Result<Vec<AccessSpan>, Error> {
    let begin = beginning(seen.at);
    let mut all = vec![AccessSpan::of(status)];
    while let Some(since) = all
        .last()
        .and_then(|one| one.since)
        .filter(|at| Some(*at) >= begin)
    {
        if all.len() == MAX_SPANS {
            break;
        }
        let before = Past {
            at: since.minus(Duration::from_micros(1)),
            ..seen
        };
        let name = CustomerName::User(portrait.user());
        let page = Page {
            cursor: None,
            limit: 1,
        };
        all.push(AccessSpan::of(
            &edge
                .store
                .customer_state_at(portrait.app.id, name, before, page)
                .await?,
        ));
    }
    Ok(all)
}

/// The changes of a day, in sentences; `None` where the access stayed the same.
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

/// The first moment of the day of a time in UTC.
fn beginning(at: Timestamp) -> Option<Timestamp> {
    let text = at.to_string();
    let (day, _) = text.split_once('T')?;
    format!("{day}T00:00:00Z").parse().ok()
}

/// The time of the day in UTC, without seconds that are none.
fn clock_time(at: Timestamp) -> String {
    let text = zoneless(at);
    let time = text.split_once(' ').map_or(text.as_str(), |(_, time)| time);
    time.strip_suffix(":00").unwrap_or(time).to_owned()
}

/// The last moment of a day in UTC, until `now`; else what is expected of the day.
fn past_end(day: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    match (
        end_of_day(day),
        format!("{day}T00:00:00Z").parse::<Timestamp>(),
    ) {
        (Some(_), Ok(begin)) if begin > now => Err("Expected today or a day in the past"),
        (Some(end), _) => Ok(end.min(now)),
        (None, _) => Err("Expected a day such as 2026-10-03"),
    }
}

/// A time in UTC to the second, without the name of the zone.
fn zoneless(at: Timestamp) -> String {
    plain(at).trim_end_matches(" UTC").to_owned()
}

/// The last moment of a day in UTC.
fn end_of_day(day: &str) -> Option<Timestamp> {
    let begin: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    Some(begin.plus(DAY.saturating_sub(Duration::from_micros(1))))
}

fn access(day: Day<'_>, seen: Past, status: CustomerStatus, visit: &Visit) -> PastAccess {
    let state = status
        .state
        .map(|state| (state.active_entitlements, Some(state.active_skus)));
    let (entitlements, skus) = state.unwrap_or_default();
    let purchase = |one: CustomerPurchase| PastPurchase {
        path: visit.to(&format!("/ui/purchases/{}", one.collapse_key)),
        gives: Sentence::new(&gave(&one, seen.at, skus.as_deref(), day)),
        sku: one.sku.unwrap_or_else(|| "product not known".to_owned()),
    };
    let title = super::view::title(seen.environment);
    PastAccess {
        title: if day.is_over {
            format!("{title} at the end of {} (UTC)", day.on)
        } else {
            format!("{title} today, {}", day.on)
        },
        none: none(status.announcement.as_ref()),
        changes: None,
        entitlements: entitlements
            .into_iter()
            .map(|one| (one.name, one.expiration.map(zoneless)))
            .collect(),
        purchases: status.purchases.into_iter().map(purchase).collect(),
        note: Sentence::new(&announced(status.announcement.as_ref())),
        received: Vec::new(),
    }
}

/// Which event announced the state, if one did.
fn announced(announcement: Option<&Announcement>) -> String {
    let known = announcement.and_then(|one| {
        Some((
            one.status,
            one.event_type.as_deref()?,
            zoneless(one.announced_at?),
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

/// Text for a time without an entitlement.
fn none(announcement: Option<&Announcement>) -> &'static str {
    match announcement.map(|one| one.status) {
        Some(AnnouncementStatus::Announced) => "No access.",
        Some(AnnouncementStatus::Pruned) => "Not known.",
        Some(AnnouncementStatus::NothingAnnounced) | None => "No access known.",
    }
}

/// The access that a purchase gave at a time, by the SKUs that granted an entitlement then; `None` if these are not
/// known.
fn gave(one: &CustomerPurchase, at: Timestamp, skus: Option<&[String]>, day: Day<'_>) -> String {
    let (gave, had) = if day.is_over {
        ("gave", "had")
    } else {
        ("gives", "has")
    };
    let has_entitlement =
        skus.is_none_or(|skus| one.sku.as_ref().is_some_and(|sku| skus.contains(sku)));
    match (one.is_active, one.expires_at) {
        (None, _) => "not known".to_owned(),
        (Some(false), Some(end)) if end <= at => format!("ended {}", zoneless(end)),
        (Some(false), _) => format!("{gave} no access"),
        (Some(true), _) if !has_entitlement => {
            format!("{gave} no access, because the product {had} no entitlement")
        }
        (Some(true), Some(end)) => format!("{gave} access until {}", zoneless(end)),
        (Some(true), None) => format!("{gave} access"),
    }
}

impl PastAccess {
    fn is_known(&self) -> bool {
        !self.entitlements.is_empty() || !self.purchases.is_empty() || self.changes.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        AccessSpan, Day, announced, beginning, changes, end_of_day, gave, late, none, past_end,
    };
    use domain::user::CustomerPurchase;
    use domain::{CollapseKey, DeliveryId, DestinationId, Environment, EventId, Timestamp};
    use storage::{Announcement, AnnouncementStatus, DeliveryStatus, DeliveryView};
    use uuid::Uuid;

    #[test]
    fn a_purchase_gave_access_until_its_end_by_an_entitlement() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (before, end, after) = (
            time("2026-10-03T00:00:00Z"),
            time("2026-10-15T18:30:00Z"),
            time("2026-10-20T00:00:00Z"),
        );
        let purchase = |is_active, expires_at| CustomerPurchase {
            collapse_key: CollapseKey::new(uuid::Uuid::from_u128(1)),
            state: None,
            is_active,
            expires_at,
            sku: Some("gold".to_owned()),
            environment: Environment::Production,
            announced_at: None,
        };
        let [over, today] = [true, false].map(|is_over| Day { on: "", is_over });
        let (gold, none): ([String; 1], [String; 0]) = (["gold".to_owned()], []);
        for (is_active, expires_at, at, skus, text) in [
            (
                Some(true),
                Some(end),
                before,
                Some(&gold[..]),
                "gave access until 2026-10-15 18:30:00".to_owned(),
            ),
            (
                Some(false),
                Some(end),
                after,
                Some(&none[..]),
                "ended 2026-10-15 18:30:00".to_owned(),
            ),
            (
                Some(false),
                Some(end),
                before,
                None,
                "gave no access".to_owned(),
            ),
            (Some(true), None, after, None, "gave access".to_owned()),
            (None, None, after, None, "not known".to_owned()),
        ] {
            assert_eq!(gave(&purchase(is_active, expires_at), at, skus, over), text);
        }
        assert!(
            gave(&purchase(Some(true), None), after, Some(&none[..]), over)
                .starts_with("gave no access, because")
        );
        let now = gave(
            &purchase(Some(true), Some(end)),
            before,
            Some(&gold[..]),
            today,
        );
        assert_eq!(
            now, "gives access until 2026-10-15 18:30:00",
            "that day is not over"
        );
    }

    #[test]
    fn a_change_of_the_day_is_shown_with_its_time() {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let begin = beginning(time("2026-11-20T23:59:59.999999Z").unwrap());
        assert_eq!(begin, time("2026-11-20T00:00:00Z"));
        let span = |since: &str, access: &str| AccessSpan {
            since: time(since),
            access: access.to_owned(),
        };
        let of = |all: Vec<AccessSpan>| changes(all, begin);
        let (old, lost) = (
            span("2026-11-01T10:00:00Z", "Premium"),
            span("2026-11-20T17:30:00Z", "none"),
        );
        assert_eq!(
            of(vec![lost, old]).unwrap(),
            "Until 17:30: Premium. Afterwards: none."
        );
        let again = span("2026-11-20T18:00:05Z", "Premium");
        let middle = span("2026-11-20T17:30:00Z", "none");
        let all = vec![
            again,
            middle,
            span("2026-11-20T09:00:00Z", "Premium"),
            span("", "Premium"),
        ];
        let text = "Until 17:30: Premium. Then until 18:00:05: none. Afterwards: Premium.";
        assert_eq!(of(all).unwrap(), text, "a renewal is no change");
        let part = vec![
            span("2026-11-20T17:30:00Z", "none"),
            span("2026-11-20T09:00:00Z", "Premium"),
        ];
        assert_eq!(
            of(part).unwrap(),
            "From 09:00 until 17:30: Premium. Afterwards: none."
        );
        assert_eq!(
            of(vec![span("2026-11-20T17:30:00Z", "none"), span("", "none")]),
            None
        );
        assert_eq!(of(Vec::new()), None);
    }

    #[test]
    fn a_state_names_the_event_that_announced_it() {
        let by = |status| Announcement {
            status,
            event_id: None,
            event_type: Some("user.subscription.renewed".to_owned()),
            announced_at: "2026-10-02T10:00:00Z".parse().ok(),
        };
        assert_eq!(
            announced(Some(&by(AnnouncementStatus::Announced))),
            "As announced by `user.subscription.renewed` at 2026-10-02 10:00:00."
        );
        assert!(
            announced(Some(&by(AnnouncementStatus::Pruned))).contains("retention removed its body")
        );
        assert!(announced(None).starts_with("No event about this customer was recorded"));
        let without = [
            Some(AnnouncementStatus::Announced),
            Some(AnnouncementStatus::Pruned),
            None,
        ];
        let without = without.map(|status| none(status.map(by).as_ref()));
        assert_eq!(without, ["No access.", "Not known.", "No access known."]);
    }

    #[test]
    fn a_late_destination_is_named_with_the_time() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let announced_at = time("2026-10-02T14:00:00Z");
        let of = |status, finished_at: Option<&str>| {
            let one = DeliveryView {
                id: DeliveryId::new(Uuid::nil()),
                event_id: EventId::new(Uuid::nil()),
                event_type: "user.subscription.renewed".to_owned(),
                collapse_key: CollapseKey::new(Uuid::nil()),
                destination_id: DestinationId::new(Uuid::nil()),
                revision: 1,
                n: 0,
                status,
                attempts: 2,
                next_due_at: None,
                last_error: None,
                first_tried_at: None,
                finished_at: finished_at.map(time),
                pruned_at: None,
                created_at: announced_at,
            };
            late("Backend", &one, announced_at)
        };
        for (status, finished_at, text) in [
            (
                DeliveryStatus::Delivered,
                Some("2026-10-02T14:01:00Z"),
                None,
            ),
            (
                DeliveryStatus::Delivered,
                Some("2026-10-02T14:07:02Z"),
                Some("Backend received this at 14:07:02."),
            ),
            (
                DeliveryStatus::Delivered,
                Some("2026-10-03T00:07:02Z"),
                Some("Backend received this at 2026-10-03 00:07:02."),
            ),
            (
                DeliveryStatus::Pending,
                None,
                Some("Backend has not received this yet."),
            ),
            (
                DeliveryStatus::Failed,
                None,
                Some("Backend did not receive this."),
            ),
            (DeliveryStatus::Superseded, None, None),
        ] {
            assert_eq!(
                of(status, finished_at).as_deref(),
                text,
                "{status:?} {finished_at:?}"
            );
        }
    }

    #[test]
    fn a_day_of_the_future_is_refused_and_today_ends_now() {
        let now: Timestamp = "2026-10-03T12:00:00Z".parse().unwrap();
        assert_eq!(past_end("2026-10-03", now), Ok(now));
        assert_eq!(
            past_end("2026-10-02", now),
            Ok(end_of_day("2026-10-02").unwrap())
        );
        assert_eq!(
            past_end("2026-10-04", now),
            Err("Expected today or a day in the past")
        );
        assert_eq!(
            past_end("yesterday", now),
            Err("Expected a day such as 2026-10-03")
        );
    }

    #[test]
    fn a_day_ends_before_the_next_one() {
        assert_eq!(
            end_of_day("2026-10-03").unwrap().to_string(),
            "2026-10-03T23:59:59.999999Z"
        );
        assert!(
            ["", "2026-13-03", "yesterday", "2026-10-03T00:00"]
                .iter()
                .all(|wrong| end_of_day(wrong).is_none())
        );
    }
}
