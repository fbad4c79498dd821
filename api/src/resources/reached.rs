//! What a destination received about a purchase, in a sentence: first payments whose events it is not subscribed to,
//! then the latest delivery of each event type, undelivered ones with their reasons first. Pure.

use super::destinations::CHECKED;
use domain::Timestamp;
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::health::State;
use domain::payment::EntryKind;
use serde_json::Value;
use storage::{DeliveryStatus, DeliveryView, Destination, UnchosenPayment};

/// Delivery statuses, in the order in which a sentence mentions them.
const ORDER: [DeliveryStatus; 6] = [
    DeliveryStatus::Failed,
    DeliveryStatus::Skipped,
    DeliveryStatus::Pending,
    DeliveryStatus::Waiting,
    DeliveryStatus::Delivered,
    DeliveryStatus::Superseded,
];

/// Maximum number of event types that are named for one reason.
const NAMED: usize = 3;

/// How a destination's pending deliveries are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// Each delivery at its own time. The value is the current time: a delivery that is due before it is sent soon.
    ByDelivery(Timestamp),
    /// The breaker is open: the destination is probed, regardless of when its deliveries are due.
    Checked,
    /// Not at all: the destination is disabled.
    None,
}

impl Retries {
    pub fn of(destination: &Destination, now: Timestamp) -> Self {
        match destination.state {
            _ if !destination.enabled => Self::None,
            State::Open | State::Disabled => Self::Checked,
            State::Healthy | State::Failing => Self::ByDelivery(now),
        }
    }

    /// Returns the end of a sentence: when a delivery that is due at this time is attempted.
    fn phrase(self, due: Timestamp) -> String {
        match self {
            Self::ByDelivery(now) if due > now => format!("; next attempt at {due}"),
            Self::ByDelivery(_) => "; next attempt soon".to_owned(),
            Self::Checked => format!("; the destination is failing; {CHECKED}"),
            Self::None => "; the destination is disabled".to_owned(),
        }
    }
}

/// What a destination did not receive because of its subscription.
#[derive(Debug, Default)]
pub struct Unchosen<'a> {
    /// Payments, latest first.
    pub payments: Vec<&'a UnchosenPayment>,
    /// A refund, if there is one.
    pub refund: Option<UnsentRefund>,
}

/// What a destination that is not subscribed to refunds has received about a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsentRefund {
    /// Nothing about the refund.
    Unknown,
    /// The refunded amount, in the latest `purchase.updated`.
    ByUpdate,
}

impl UnsentRefund {
    /// Determines this from the deliveries to the destination and the body of the purchase's latest `purchase.updated`.
    pub fn of(got: &[&DeliveryView], body: &Value) -> Self {
        let is_in_update = |one: &&&DeliveryView| {
            one.event_type == PURCHASE_UPDATED && one.status == DeliveryStatus::Delivered
        };
        let has_amount = body
            .pointer("/data/refunded_amount")
            .is_some_and(|one| !one.is_null());
        match got.iter().find(is_in_update) {
            Some(_) if has_amount => Self::ByUpdate,
            _ => Self::Unknown,
        }
    }

    fn sentence(self) -> String {
        match self {
            Self::Unknown => format!("not subscribed to refunds (`{REVENUE_ADJUSTED}`)"),
            Self::ByUpdate => format!(
                "learned of the refund from `{PURCHASE_UPDATED}` (`refunded_amount`); not subscribed to `{REVENUE_ADJUSTED}`"
            ),
        }
    }
}

impl Unchosen<'_> {
    pub const fn is_empty(&self) -> bool {
        self.payments.is_empty() && self.refund.is_none()
    }
}

/// Returns a summary of what a destination received about a purchase. `all` contains the latest delivery of each event
/// type, oldest first.
pub fn summary(all: &[&DeliveryView], unchosen: &Unchosen<'_>, retries: Retries) -> String {
    let mut groups: Vec<Vec<&DeliveryView>> = Vec::new();
    for status in ORDER {
        for one in all.iter().copied().filter(|one| one.status == status) {
            let is_like =
                |other: &DeliveryView| other.status == one.status && reason(other) == reason(one);
            let found = groups
                .iter()
                .position(|group| group.iter().any(|other| is_like(other)));
            match found.and_then(|at| groups.get_mut(at)) {
                Some(group) => group.push(one),
                None => groups.push(vec![one]),
            }
        }
    }
    if groups.len() > 1 || !unchosen.is_empty() {
        groups.retain(|group| {
            group
                .iter()
                .all(|one| one.status != DeliveryStatus::Superseded)
        });
    }
    let is_alone = groups.len() == 1 && unchosen.is_empty();
    let parts = groups
        .iter()
        .filter_map(|group| part(group, is_alone, retries));
    let refunds = unchosen.refund.map(UnsentRefund::sentence);
    money(&unchosen.payments)
        .into_iter()
        .chain(refunds)
        .chain(parts)
        .collect::<Vec<String>>()
        .join("; ")
}

/// Returns one phrase per event type about payments that were not sent because the destination is not subscribed to it.
fn money(unchosen: &[&UnchosenPayment]) -> Vec<String> {
    let mut types: Vec<&str> = unchosen.iter().map(|one| one.event_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let of_type = |event_type: &str| {
        let own: Vec<_> = unchosen
            .iter()
            .filter(|one| one.event_type == event_type)
            .collect();
        let named: Vec<String> = own.iter().take(NAMED).map(|one| payment(one)).collect();
        let named = and_more(&named, own.len());
        format!("not sent: {named}; this destination does not subscribe to `{event_type}`")
    };
    types.into_iter().map(of_type).collect()
}

/// Returns a phrase about a payment: its kind, time and, if known, its amount.
pub fn payment(one: &UnchosenPayment) -> String {
    let what = match one.kind {
        EntryKind::Renewal => "the renewal",
        EntryKind::TrialConversion => "the first payment after the trial",
        EntryKind::Recovery => "the late payment",
        EntryKind::PlanChange => "the first payment",
        EntryKind::Initial | EntryKind::Refund | EntryKind::Restored | EntryKind::Correction => {
            "the payment"
        }
    };
    let usd = one
        .usd
        .map_or_else(String::new, |usd| format!(" ({usd} USD)"));
    format!("{what} of {}{usd}", one.occurred_at)
}

/// Returns why a delivery did not arrive; `None` if it arrived or was superseded.
fn reason(one: &DeliveryView) -> Option<&str> {
    let is_over = matches!(
        one.status,
        DeliveryStatus::Delivered | DeliveryStatus::Superseded
    );
    one.last_error.as_deref().filter(|_| !is_over)
}

/// Returns the part of the summary about deliveries with the same status and reason.
fn part(group: &[&DeliveryView], is_alone: bool, retries: Retries) -> Option<String> {
    let last = group.last()?;
    let names = names(group);
    let at = last
        .finished_at
        .map_or_else(String::new, |at| format!(" {at}"));
    let why = reason(last).map_or_else(String::new, |why| format!(": {why}"));
    Some(match last.status {
        DeliveryStatus::Delivered if is_alone => format!("delivered{at}"),
        DeliveryStatus::Delivered => format!("the other events delivered{at}"),
        DeliveryStatus::Pending => format!(
            "{names} pending{}{why}{}",
            attempts(group),
            next(group, retries)
        ),
        DeliveryStatus::Waiting => format!("{names} waiting for login"),
        DeliveryStatus::Superseded => "superseded by a newer event".to_owned(),
        DeliveryStatus::Skipped => format!("{names} not sent{why}"),
        DeliveryStatus::Failed => format!("{names} failed{at}{why}"),
    })
}

/// Returns the event types of these deliveries: the first [`NAMED`] by name, then the number of the others.
fn names(group: &[&DeliveryView]) -> String {
    let names: Vec<String> = group
        .iter()
        .take(NAMED)
        .map(|one| format!("`{}`", one.event_type))
        .collect();
    and_more(&names, group.len())
}

/// Joins the names of the first items and appends the number of the others.
fn and_more(names: &[String], all: usize) -> String {
    match all.saturating_sub(names.len()) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Returns the number of failed attempts with its noun.
fn attempts(group: &[&DeliveryView]) -> String {
    let most = group
        .iter()
        .map(|one| one.attempts)
        .max()
        .unwrap_or_default();
    let each = if group.len() > 1 { " each" } else { "" };
    let is_each = group.iter().all(|one| one.attempts == most);
    match most {
        0 => String::new(),
        1 if is_each => format!(", 1 attempt{each} failed"),
        most if is_each => format!(", {most} attempts{each} failed"),
        most => format!(", up to {most} attempts failed"),
    }
}

/// Returns a phrase on when the next attempt of deliveries that were already attempted is due.
fn next(group: &[&DeliveryView], retries: Retries) -> String {
    let due = group
        .iter()
        .filter(|one| one.attempts > 0)
        .filter_map(|one| one.next_due_at)
        .min();
    due.map_or_else(String::new, |at| retries.phrase(at))
}

#[cfg(test)]
mod tests {
    use super::{Retries, Unchosen, UnsentRefund};
    use domain::payment::EntryKind;
    use domain::{CollapseKey, DeliveryId, DestinationId, EventId, Timestamp};
    use serde_json::json;
    use storage::{DeliveryStatus, DeliveryView, UnchosenPayment};
    use uuid::Uuid;

    fn summary(all: &[&DeliveryView], unchosen: &[&UnchosenPayment]) -> String {
        super::summary(
            all,
            &Unchosen {
                payments: unchosen.to_vec(),
                refund: None,
            },
            Retries::Checked,
        )
    }

    fn delivery(
        event_type: &str,
        status: DeliveryStatus,
        last_error: Option<&str>,
    ) -> DeliveryView {
        let at: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        DeliveryView {
            id: DeliveryId::new(Uuid::nil()),
            event_id: EventId::new(Uuid::nil()),
            event_type: event_type.to_owned(),
            collapse_key: CollapseKey::new(Uuid::nil()),
            destination_id: DestinationId::new(Uuid::nil()),
            revision: 1,
            n: 0,
            status,
            attempts: 0,
            next_due_at: None,
            last_error: last_error.map(str::to_owned),
            first_tried_at: None,
            finished_at: (status == DeliveryStatus::Delivered).then_some(at),
            pruned_at: None,
            created_at: at,
        }
    }

    #[test]
    fn what_was_not_sent_is_in_front_of_what_arrived() {
        let at: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        let paid = delivery(
            "user.subscription.purchased",
            DeliveryStatus::Skipped,
            Some("no device id"),
        );
        let profile = delivery(
            "profile.updated",
            DeliveryStatus::Delivered,
            Some("an earlier attempt"),
        );
        let old = delivery("purchase.updated", DeliveryStatus::Superseded, None);
        assert_eq!(
            summary(&[&paid, &old, &profile], &[]),
            format!(
                "`user.subscription.purchased` not sent: no device id; the other events delivered {at}"
            )
        );
        assert_eq!(summary(&[&old, &profile], &[]), format!("delivered {at}"));
        assert_eq!(summary(&[&old], &[]), "superseded by a newer event");
    }

    #[test]
    fn pending_events_of_one_reason_are_one_part() {
        let pending = |event_type: &str, attempts: i64| {
            let one = delivery(
                event_type,
                DeliveryStatus::Pending,
                (attempts > 0).then_some("HTTP 500"),
            );
            DeliveryView { attempts, ..one }
        };
        let (one, other, new) = (pending("a", 3), pending("b", 3), pending("c", 0));
        assert_eq!(
            summary(&[&one, &other], &[]),
            "`a`, `b` pending, 3 attempts each failed: HTTP 500"
        );
        assert_eq!(
            summary(&[&one, &pending("b", 2)], &[]),
            "`a`, `b` pending, up to 3 attempts failed: HTTP 500"
        );
        assert_eq!(summary(&[&new], &[]), "`c` pending");
        let skipped =
            ["a", "b", "c", "d"].map(|name| delivery(name, DeliveryStatus::Skipped, None));
        let all: Vec<&DeliveryView> = skipped.iter().collect();
        assert_eq!(summary(&all, &[]), "`a`, `b`, `c` and 1 more not sent");
    }

    #[test]
    fn no_attempt_is_announced_for_a_time_that_has_passed() {
        let [due, later] = ["2026-11-25T10:00:30Z", "2026-11-25T10:01:45Z"]
            .map(|at| at.parse::<Timestamp>().unwrap());
        let one = delivery("a", DeliveryStatus::Pending, Some("HTTP 503"));
        let one = DeliveryView {
            attempts: 1,
            next_due_at: Some(due),
            ..one
        };
        for (retries, end) in [
            (
                Retries::ByDelivery(one.created_at),
                format!("next attempt at {due}"),
            ),
            (Retries::ByDelivery(later), "next attempt soon".to_owned()),
            (
                Retries::Checked,
                "the destination is failing; settle checks it every 30 s and sends what waits by itself"
                    .to_owned(),
            ),
            (Retries::None, "the destination is disabled".to_owned()),
        ] {
            let shown = super::summary(&[&one], &Unchosen::default(), retries);
            assert_eq!(
                shown,
                format!("`a` pending, 1 attempt failed: HTTP 503; {end}")
            );
        }
    }

    #[test]
    fn a_refund_that_is_not_chosen_is_named_in_front() {
        let state = delivery("purchase.updated", DeliveryStatus::Delivered, None);
        let at = state.created_at;
        let unchosen = Unchosen {
            payments: Vec::new(),
            refund: Some(UnsentRefund::of(&[&state], &json!({ "data": {} }))),
        };
        let shown = super::summary(&[&state], &unchosen, Retries::Checked);
        let refunds = "not subscribed to refunds (`revenue.adjusted`)";
        assert_eq!(shown, format!("{refunds}; the other events delivered {at}"));
        let known = Unchosen {
            payments: Vec::new(),
            refund: Some(UnsentRefund::of(
                &[&state],
                &json!({ "data": { "refunded_amount": "9.99" } }),
            )),
        };
        let shown = super::summary(&[&state], &known, Retries::Checked);
        let learned =
            "learned of the refund from `purchase.updated` (`refunded_amount`); not subscribed to";
        assert!(shown.starts_with(learned), "{shown}");
    }

    #[test]
    fn a_payment_that_is_not_chosen_is_named_in_front() {
        let at: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        let payment = |kind: EntryKind, event_type: &str, usd: Option<&str>| UnchosenPayment {
            destination_id: DestinationId::new(Uuid::nil()),
            collapse_key: CollapseKey::new(Uuid::nil()),
            event_type: event_type.to_owned(),
            kind,
            occurred_at: at,
            usd: usd.and_then(|usd| usd.parse().ok()),
        };
        let change = payment(EntryKind::PlanChange, "sku_change", Some("89.99"));
        let profile = delivery("profile.updated", DeliveryStatus::Delivered, None);
        let old = delivery("purchase.updated", DeliveryStatus::Superseded, None);
        let missing = format!(
            "not sent: the first payment of {at} (89.99 USD); this destination does not subscribe to \
             `sku_change`"
        );
        let both = format!("{missing}; the other events delivered {at}");
        assert_eq!(summary(&[&profile], &[&change]), both);
        assert_eq!(
            summary(&[&old], &[&change]),
            missing,
            "a superseded event does not stand for it"
        );
        assert_eq!(summary(&[], &[&change]), missing);
        let renewal = payment(EntryKind::Renewal, "renewed", None);
        let four = summary(&[&profile], &[&renewal; 4]);
        let named = format!("the renewal of {at}");
        assert!(
            four.starts_with(&format!(
                "not sent: {named}, {named}, {named} and 1 more; this destination"
            )),
            "{four}"
        );
    }
}
