//! The repair of a platform: voids from their list, and refunds that only an order shows, become notifications.

use super::Settings;
use super::batch::OrderBatches;
use super::meaning;
use super::request::PackageName;
use super::response::{AccessProblem, ReadError};
use super::shown::{OrderState, ShownOrder};
use super::voided::{self, VoidedPurchase};
use crate::http::Request;
use crate::stores::{
    Answer, Bucket, RepairOutcome, RepairPage, RepairStep, RepairTask, Replied, Retry, Subject,
};
use domain::period::{PeriodRefund, RefundedPayment};
use domain::stores::google as play;
use domain::{CollapseKey, Notification, NotificationKind, PlatformId, Timestamp, VoidedPayment};
use rust_decimal::Decimal;
use storage::RecordedOrder;

/// The type of a void, as that of a notification about it.
const VOIDED: &str = "VOIDED_PURCHASE";
/// The type of a refund that an order shows. Google sends no such notification.
const REFUNDED: &str = "ORDER_REFUNDED";

/// Returns the next step of a part of a repair, given the replies to the requests that it has sent, oldest first.
pub fn next(
    settings: &Settings,
    subject: &Subject,
    task: &RepairTask,
    replies: &[Replied],
) -> RepairStep {
    let Some(package) = PackageName::new(&subject.package_name) else {
        return failed(Answer::Refused(AccessProblem::App.refusal()));
    };
    match task {
        RepairTask::Voids {
            since,
            began_at,
            page,
        } => match replies.first() {
            None => {
                let page = page.as_deref();
                send(voided::request(settings, &package, *since, *began_at, page))
            }
            Some(replied) => voids(subject.platform, replied),
        },
        RepairTask::Orders(recorded) => {
            let ids = recorded.iter().map(|one| one.store_transaction.clone());
            let mut batches = OrderBatches::new(ids);
            for replied in replies {
                if let Err(error) = batches.read(&replied.reply) {
                    return unread(error);
                }
            }
            if batches.is_done() {
                found(refunds(recorded, &batches, replies))
            } else {
                send(batches.request(settings, &package))
            }
        }
        // Google has no history of notifications, and sends no test on request.
        RepairTask::Notifications { .. } | RepairTask::Test => found(RepairPage::default()),
    }
}

fn send(request: Option<(Request, Bucket)>) -> RepairStep {
    match request {
        Some((request, bucket)) => RepairStep::Send(Box::new(request), bucket),
        None => {
            let why = "the store's address is not a URL";
            failed(Answer::Retry(Retry::new("invalid_url", why)))
        }
    }
}

const fn found(page: RepairPage) -> RepairStep {
    RepairStep::Done(RepairOutcome::Found(page))
}

const fn failed(answer: Answer) -> RepairStep {
    RepairStep::Done(RepairOutcome::Failed(answer))
}

/// Returns the step after a reply without the requested resource.
fn unread(error: ReadError) -> RepairStep {
    let answer = match error {
        ReadError::Malformed => return RepairStep::Done(RepairOutcome::Restart),
        ReadError::Refused(problem) => Answer::Refused(problem.refusal()),
        ReadError::Retry(retry) => Answer::Retry(retry),
        ReadError::Unknown | ReadError::Gone => {
            let why = "the store does not show this list (HTTP 404 or 410)";
            Answer::Retry(Retry {
                is_strange: true,
                ..Retry::new("no_list", why)
            })
        }
    };
    failed(answer)
}

fn voids(platform: PlatformId, replied: &Replied) -> RepairStep {
    match voided::page(&replied.reply) {
        Ok(page) => {
            let voided = page.voided.iter();
            found(RepairPage {
                notifications: voided.map(|one| void(platform, one).into()).collect(),
                unreadable: page.unreadable,
                next: page.next,
            })
        }
        Err(error) => unread(error),
    }
}

/// Returns the notification of a void, whose content is that of Google's own notification.
fn void(platform: PlatformId, one: &VoidedPurchase) -> Notification {
    let order = one.order_id.as_deref();
    let millis = one.voided_at.micros() / 1000;
    let is_whole = one.quantity.is_none();
    Notification {
        message_id: format!("voided:{}:{millis}", order.unwrap_or("none")),
        collapse_key: CollapseKey::of(platform, one.token.as_str()),
        receipt_id: one.token.as_str().to_owned(),
        kind: NotificationKind::Unknown,
        store_type: VOIDED.to_owned(),
        store_time: one.voided_at,
        app_user_id: None,
        related_receipt_id: None,
        is_test: false,
        // Of a part, the query that follows shows how much was refunded.
        voided: order.filter(|_| is_whole).map(|order| VoidedPayment {
            transaction_id: order.to_owned(),
            at: one.voided_at,
            units: None,
        }),
        refunded: None,
    }
}

/// Returns the notifications of the orders whose state differs from the ledger. An order that the store does not know
/// is left out.
fn refunds(recorded: &[RecordedOrder], batches: &OrderBatches, replies: &[Replied]) -> RepairPage {
    let read_at = replies.iter().map(|replied| replied.at).max();
    let of = |known: &RecordedOrder| {
        let mut orders = batches.found.iter();
        let order = orders.find(|order| order.id == known.store_transaction)?;
        refund(known, order, read_at.unwrap_or_default())
    };
    RepairPage {
        notifications: recorded.iter().filter_map(of).map(Into::into).collect(),
        unreadable: batches.unreadable.len(),
        next: None,
    }
}

/// Returns the notification of an order whose money was returned, unless the ledger has the return of all of it.
fn refund(known: &RecordedOrder, order: &ShownOrder, read_at: Timestamp) -> Option<Notification> {
    let (state, is_partial) = match order.state {
        OrderState::Refunded => ("refunded", false),
        OrderState::Canceled => ("canceled", false),
        OrderState::PartiallyRefunded => ("partially_refunded", true),
        OrderState::Pending
        | OrderState::Processed
        | OrderState::PendingRefund
        | OrderState::Unknown => return None,
    };
    // After a refund of a part, the last entry of the ledger does not show whether the rest was refunded.
    let has_parts = is_partial || order.refunds.iter().any(|refund| !refund.is_full);
    if known.is_refunded && !has_parts {
        return None;
    }
    let returned = order.refunds.iter().filter(|refund| refund.is_processed);
    let refunded_at = returned.clone().filter_map(|refund| refund.at).max();
    let mut amounts = returned.filter_map(|refund| Some(refund.total.as_ref()?.amount));
    let amount = amounts.try_fold(Decimal::ZERO, |sum, amount| sum.checked_add(amount));
    let amount = amount.unwrap_or(Decimal::MAX).normalize();
    // A refund that was reversed may be made again with the same amount. `lastEventTime` may also be that of another
    // event, so it is no part of the id.
    let event_at = refunded_at.or(order.canceled_at);
    let event = event_at.map_or_else(String::new, |at| format!(":{}", at.micros() / 1000));
    let at = refunded_at.or(order.changed_at).unwrap_or(read_at);
    Some(Notification {
        message_id: format!("refunded:{}:{state}:{amount}{event}", order.id),
        collapse_key: known.collapse_key,
        receipt_id: known.receipt_id.clone(),
        kind: NotificationKind::Unknown,
        store_type: REFUNDED.to_owned(),
        store_time: at,
        app_user_id: None,
        related_receipt_id: None,
        is_test: false,
        voided: None,
        refunded: refunded(order, at),
    })
}

/// Returns what was returned of an order; `None` for one that was canceled.
fn refunded(order: &ShownOrder, at: Timestamp) -> Option<RefundedPayment> {
    let order = meaning::order(order);
    let extent = play::refund_extent(order.state, order.refunded)?;
    Some(RefundedPayment {
        transaction_id: order.id,
        refund: PeriodRefund { at, extent },
        tax: order.refunded_tax,
    })
}
