//! Sentences about duties to a store.

use crate::stores;
use domain::Timestamp;
use storage::{DutyKind, DutyResult, DutyView};

/// Returns the sentence about a duty to this store: what has to be done, until when, who does it, and how it ended.
pub fn duty(of: &DutyView, store: &str, now: Timestamp) -> String {
    let store = stores::name(store);
    let what = match of.kind {
        DutyKind::Acknowledge => format!("acknowledging the purchase to {store}"),
        DutyKind::RefundReview => {
            let order = of.order_id.as_deref();
            let order = order.map_or_else(String::new, |order| format!(" of order {order}"));
            format!("answering {store}'s question about a refund{order}")
        }
        DutyKind::ConsentWithdrawn => format!("acting on a consent that {store} reports withdrawn"),
    };
    let state = match of.done_at {
        Some(at) if (of.kind, of.result) == (DutyKind::RefundReview, Some(DutyResult::Found)) => {
            format!("{store} showed at {at} that it has decided")
        }
        Some(at) => closed(of.result, at, store),
        None => open(of, now),
    };
    format!("{what}: {state}")
}

fn closed(result: Option<DutyResult>, at: Timestamp, store: &str) -> String {
    match result {
        Some(DutyResult::Settle) => format!("done by settle at {at}"),
        Some(DutyResult::Found) => {
            format!(
                "{store} showed it done at {at}: by the app, or by an earlier attempt of settle"
            )
        }
        Some(DutyResult::Over) => format!("not done: {store} showed the purchase ended at {at}"),
        Some(DutyResult::Unknown) => {
            format!("given up at {at}, since {store} does not know the purchase")
        }
        Some(DutyResult::Person) => format!(
            "closed by a person at {at}; `settle audit-log --operation duty.close` shows the author"
        ),
        Some(DutyResult::Missed) => {
            format!("given up at {at}, since {store} did not show it done in time")
        }
        Some(DutyResult::Deleted) => format!("given up at {at}, since the platform was deleted"),
        None => format!("closed at {at}"),
    }
}

fn open(of: &DutyView, now: Timestamp) -> String {
    let deadline = if of.answer_by <= now {
        format!("open, although its deadline was {}", of.answer_by)
    } else {
        format!("open until {}", of.answer_by)
    };
    let by = match (of.kind, of.due_at) {
        (DutyKind::RefundReview, _) => {
            format!(
                "; only a person answers it, and closes it with `settle duty close {}`",
                of.id
            )
        }
        (DutyKind::ConsentWithdrawn, _) => {
            format!(
                "; only a person closes it, with `settle duty close {}`",
                of.id
            )
        }
        (DutyKind::Acknowledge, Some(at)) => {
            format!(
                "; settle attempts it ({} so far, the next one at {at})",
                of.attempts
            )
        }
        (DutyKind::Acknowledge, None) if of.attempts > 0 => {
            "; settle attempts it as soon as the purchase is paid".to_owned()
        }
        (DutyKind::Acknowledge, None) => "; left to the app".to_owned(),
    };
    let failure = of.failure.as_deref();
    let failure = failure.map_or_else(String::new, |why| format!(". Last failure: {why}"));
    format!("{deadline}{by}{failure}")
}
