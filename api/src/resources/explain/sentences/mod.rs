//! Sentences of explanations. Pure: storage provides the facts.

mod destination;
mod device;
mod duty;
mod phrases;
mod sent;

pub use destination::{
    choice, destination, failed, health, next_step, pending, skipped, unchosen, unchosen_payment,
};
pub use device::{device_delivery, device_event, device_event_unsent, no_notification};
pub use duty::duty;
pub use sent::{
    Unsent, attempt, changes, delivery, delivery_of, earlier_attempts, event, held_back, unsent,
};

use crate::resources::purchases::state_for_people;
use crate::stores;
use domain::notification::is_sample_purchase;
use domain::{CollapseKey, Outcome, Timestamp, UserId};
use phrases::{because, count, sentence};
use storage::{
    CauseKind, ClaimView, EventExplanation, MessageExplanation, PurchaseExplanation, PurchaseView,
    ReceivedNotification, RevisionCause, RevisionCauses, Transfer, TransferCause, WaitingFor,
};

/// Returns the sentence about a store's message.
pub fn message(message_id: &str, of: &MessageExplanation) -> String {
    let accepted = of
        .notifications
        .iter()
        .map(|(one, _)| one.view.accepted_at)
        .min();
    let accepted = accepted.map_or_else(String::new, |at| format!(", accepted at {at}"));
    format!(
        "message {message_id}{accepted}, about {}",
        count(of.notifications.len(), "purchase")
    )
}

/// Returns the sentence about the state of a purchase.
pub fn purchase(key: CollapseKey, of: &PurchaseExplanation) -> String {
    let Some(view) = &of.purchase else {
        return format!("purchase {key}: not settled yet");
    };
    let customer = view
        .app_user_id
        .as_deref()
        .map_or_else(String::new, |name| format!(", customer {name}"));
    let (state, store) = (state_for_people(&view.state), stores::name(&of.store));
    sentence([
        Some(format!("purchase {key} (store's id {}{customer}): {state}, revision {}", view.receipt_id, view.revision)),
        view.held_until.filter(|until| *until > of.now).map(|until| {
            let hold = hold(until, view.held_by.as_deref(), view.held_reason.as_deref());
            format!(". On {hold}: nothing is settled before then, unless it is released")
        }),
        confirmed_since(view, confirmer(&view.receipt_id, store)),
        view.standing.unverified_since.map(|since| {
            let because = because(view.standing.unverified_because.as_deref());
            format!(". No response from {store} since {since}{because}")
        }),
        of.is_believed.then(|| {
            let unknown = unknown(&view.receipt_id, store);
            format!(". Unverified: {unknown}, and the platform accepts such purchases (`unknown_receipts`)")
        }),
        of.successor_missing_since.map(|since| {
            format!(
                ". Replaced by an unknown purchase, as {store} has shown since {since}: \
                 SUBSCRIPTION_MODIFIED_IMMEDIATE was lost. The new purchase is linked when it becomes known; after a \
                 week without it, expired is sent"
            )
        }),
        view.standing.next_wake_at.map(|at| {
            let with = confirmer(&view.receipt_id, store);
            format!(". Next check with {with} by {at}")
        }),
    ])
}

/// Returns the name of the store that confirms a purchase; for samples, the simulated one.
fn confirmer<'a>(receipt_id: &str, store: &'a str) -> &'a str {
    match is_sample_purchase(receipt_id) {
        true => "the simulated store",
        false => store,
    }
}

/// Returns why a store does not confirm a purchase. Samples are confirmed only where they are made.
fn unknown(receipt_id: &str, store: &str) -> String {
    match is_sample_purchase(receipt_id) {
        true => format!(
            "it is a sample, which {store} does not confirm; only `settle run` with its demo does"
        ),
        false => format!("{store} does not know the purchase"),
    }
}

/// Returns the sentence that the store has since confirmed an unverified announcement of the latest revision; such a
/// confirmation creates no revision.
fn confirmed_since(of: &PurchaseView, store: &str) -> Option<String> {
    let was_verified = of.data.get("attributes")?.get("verified")?.as_bool()?;
    let at = of
        .standing
        .verified_at
        .filter(|_| of.standing.is_verified == Some(true) && !was_verified)?;
    Some(format!(
        ". Announced unverified in that revision; {store} has confirmed it since, last at {at}"
    ))
}

/// Returns the sentence about the notifications of a purchase.
pub fn notifications(of: &PurchaseExplanation) -> String {
    let older = if of.has_older {
        "; older ones are not shown"
    } else {
        ""
    };
    let (received, _) = reports(of.notifications.iter());
    format!("{received} received{older}")
}

/// Returns the sentence about a device's claim.
pub fn claim(of: &ClaimView) -> String {
    let why = match (&of.failure, &of.reason) {
        (Some(failure), _) => {
            format!(": recording it fails and is retried, nothing is lost. Last failure: {failure}")
        }
        (None, Some(reason)) => format!(" ({reason})"),
        (None, None) => String::new(),
    };
    let result = match of.status.as_str() {
        "verified" => "the store confirmed it",
        "pending" => "not confirmed yet",
        other => other,
    };
    format!(
        "device {} reported this purchase ({}): {result}{why}",
        of.device_id, of.kind
    )
}

/// Returns the sentence about the transfer that an event announces.
pub fn transfer(of: &Transfer) -> String {
    let name = |external: &Option<String>, id: UserId| {
        external.clone().unwrap_or_else(|| format!("user {id}"))
    };
    let (from, to) = (
        name(&of.from_external_id, of.from),
        name(&of.to_external_id, of.to),
    );
    let by = of.author.as_ref().map_or_else(String::new, |author| {
        let reason = author
            .reason
            .as_ref()
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default();
        format!(" by {}{reason}", author.by)
    });
    let why = match (of.cause, of.undoes) {
        (TransferCause::Login, _) => {
            "the customer logged in on a device whose purchase the store confirmed".to_owned()
        }
        (TransferCause::Naming, _) => {
            "the customer was given the id of another customer".to_owned()
        }
        (TransferCause::Undo, Some(undone)) => format!("transfer {undone} was undone"),
        (TransferCause::Admin | TransferCause::Undo, _) => "moved manually".to_owned(),
    };
    let undone = of
        .undone_by
        .map_or_else(String::new, |by| format!("; undone since by transfer {by}"));
    format!("transfer {} from {from} to {to}: {why}{by}{undone}", of.id)
}

/// Returns whether a notification has the outcome `settled` in this revision.
pub fn is_settled_in(notification: &ReceivedNotification, revision: i64) -> bool {
    notification.view.outcome == Some(Outcome::Settled)
        && notification.view.revision == Some(revision)
}

/// Returns the sentence about a revision, with the notifications that it settled.
pub fn revision<'n>(
    revision: i64,
    settled: impl Iterator<Item = &'n ReceivedNotification>,
    causes: &RevisionCauses,
) -> String {
    caused_by(settled, causes).map_or_else(
        || format!("revision {revision}"),
        |all| format!("revision {revision}: {all}"),
    )
}

/// Returns the sentence about the causes of an event.
pub fn causes_of(of: &EventExplanation) -> String {
    let recorded = of.event.event.causes.clone().unwrap_or_default();
    match (
        caused_by(of.notifications.iter(), &recorded),
        of.event.event.origin,
    ) {
        (Some(all), _) => format!("cause: {all}"),
        (None, None) => "about a destination or an alarm, not a purchase".to_owned(),
        (None, Some(_)) => "no cause was recorded".to_owned(),
    }
}

/// Returns the notifications and other causes of a revision; `None` if none is known.
fn caused_by<'n>(
    settled: impl Iterator<Item = &'n ReceivedNotification>,
    RevisionCauses(causes): &RevisionCauses,
) -> Option<String> {
    let (reports, number) = reports(settled);
    let parts: Vec<String> = (number > 0)
        .then_some(reports)
        .into_iter()
        .chain(causes.iter().map(cause))
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn cause(RevisionCause { kind, by }: &RevisionCause) -> String {
    let what = match kind {
        CauseKind::Scheduled => "scheduled check",
        CauseKind::SalesReport => "sales report imported",
        CauseKind::ExchangeRates => "exchange rates set",
        CauseKind::Catalogue => "catalogue changed",
        CauseKind::CustomerId => "customer id set",
        CauseKind::Login => "login",
        CauseKind::Transfer => "moved to another customer",
        CauseKind::TransferUndone => "transfer undone",
        CauseKind::Device => "purchase reported by a device",
        CauseKind::Erasure => "customer erased",
        CauseKind::SharedSecret => "store's credentials changed",
        CauseKind::Environment => "platform's environment changed",
        CauseKind::ProductRef => "platform's product naming changed",
        CauseKind::Retry => "verification requested again",
        CauseKind::PlanChange => "change of plan on another purchase",
        CauseKind::Profile => "user profile not delivered",
        CauseKind::Flush => "settled on request",
    };
    by.as_ref()
        .map_or_else(|| what.to_owned(), |by| format!("{what} by {by}"))
}

/// Returns a phrase that counts the store's notifications and the device claims among these, and their total number.
fn reports<'n>(all: impl Iterator<Item = &'n ReceivedNotification>) -> (String, usize) {
    let (of_devices, of_store): (Vec<_>, Vec<_>) = all.partition(|one| one.view.is_of_device());
    let (devices, store) = (of_devices.len(), of_store.len());
    let both = match (store, devices) {
        (_, 0) => count(store, "notification"),
        (0, _) => count(devices, "device claim"),
        _ => format!(
            "{} and {}",
            count(store, "notification"),
            count(devices, "device claim")
        ),
    };
    (both, store + devices)
}

/// Returns the sentence about a purchase without events.
pub fn no_events() -> String {
    "no events yet".to_owned()
}

/// Returns the sentence about an event of an app that had no destination.
pub fn nobody() -> String {
    "the app had no destination".to_owned()
}

/// Returns the sentence about one notification: its outcome, or what it is waiting for.
pub fn notification(notification: &ReceivedNotification, now: Timestamp) -> String {
    let view = &notification.view;
    sentence([
        Some(format!("{} {}", view.accepted_at, view.store_type)),
        view.is_of_device().then(|| ", reported by a device".to_owned()),
        Some(format!(": {}", progress(notification, now))),
        notification.stated_time.as_ref().map(|stated| {
            format!("; its message states the time {}, which cannot be true: the time of publishing counts", stated.0)
        }),
        view.reason.as_ref().map(|reason| format!(" ({reason})")),
        notification.pruned_at.map(|at| format!("; retention removed its body at {at}")),
    ])
}

/// Returns the outcome of a notification, or what it is waiting for.
fn progress(notification: &ReceivedNotification, now: Timestamp) -> String {
    let at_revision = notification
        .view
        .revision
        .map_or_else(String::new, |revision| format!(" (revision {revision})"));
    match notification.view.outcome {
        Some(Outcome::Settled) => {
            format!(
                "settled in revision {}",
                notification
                    .view
                    .revision
                    .map_or_else(|| "?".to_owned(), |n| n.to_string())
            )
        }
        Some(Outcome::NoChange) => format!("settled without a change{at_revision}"),
        Some(Outcome::Duplicate) => "duplicate of an earlier notification".to_owned(),
        Some(Outcome::Refused) => "refused".to_owned(),
        Some(Outcome::Discarded) => "discarded by an admin".to_owned(),
        Some(Outcome::Unknown) => "unknown type, stored unchanged".to_owned(),
        Some(Outcome::Abandoned) => "given up: it could not be verified".to_owned(),
        None => waits(notification, now),
    }
}

/// Returns the phrase about a hold: its author, end and reason, as far as known.
fn hold(until: Timestamp, by: Option<&str>, reason: Option<&str>) -> String {
    let by = by
        .filter(|by| !by.is_empty())
        .map_or_else(String::new, |by| format!(" by {by}"));
    let reason = reason
        .filter(|why| !why.is_empty())
        .map_or_else(String::new, |why| format!(" ({why})"));
    format!("hold{by} until {until}{reason}")
}

/// Returns why a notification has no outcome yet.
pub fn waits(notification: &ReceivedNotification, now: Timestamp) -> String {
    let store = stores::name(&notification.store);
    let since = notification
        .unverified_since
        .map_or_else(String::new, |since| format!(" since {since}"));
    let because = because(notification.unverified_because.as_deref());
    let next = notification
        .next_wake_at
        .map_or_else(String::new, |at| format!(". Next check at {at}"));
    match notification.view.waiting_for {
        Some(WaitingFor::Window) => match notification.window_ends_at {
            Some(at) if at <= now => format!("window ended at {at}; settled next"),
            Some(at) => format!(
                "waiting for its window, which ends at {at} unless another notification arrives"
            ),
            None => "waiting for its window".to_owned(),
        },
        Some(WaitingFor::Hold) => match &notification.held {
            Some((until, by, reason)) => {
                format!("on {}", hold(*until, by.as_deref(), reason.as_deref()))
            }
            None => "on hold".to_owned(),
        },
        Some(WaitingFor::TopicApproval) => {
            let topic = notification
                .topic_arn
                .as_deref()
                .map_or_else(String::new, |arn| format!(" {arn}"));
            let platform = notification.view.platform_id;
            format!(
                "waiting for approval of the topic{topic} (`settle platform topics {platform}`)"
            )
        }
        Some(WaitingFor::Verification) => format!("no response from {store}{since}{because}{next}"),
        Some(WaitingFor::Confirmation) => format!("{store} does not show it yet{next}"),
        Some(WaitingFor::Parked) => format!(
            "parked: {}{next}",
            unknown(&notification.view.receipt_id, store)
        ),
        None => "waiting".to_owned(),
    }
}
