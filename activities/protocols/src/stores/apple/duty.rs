//! The questions of Apple with a time limit, and withdrawn consents. settle answers none of them: a person does.

use super::notification::SignedNotification;
use super::signed::text;
use domain::time::{DAY, HOUR};
use domain::{DutyId, PlatformId, Timestamp};
use std::time::Duration;
use storage::{DutyKind, FirstAttempt, NewDuty};

/// Apple's request for consumption information, before it decides about a refund.
pub const CONSUMPTION_REQUEST: &str = "CONSUMPTION_REQUEST";
/// The type of a withdrawn consent.
pub const RESCIND_CONSENT: &str = "RESCIND_CONSENT";
/// Time to answer a consumption request
/// (<https://developer.apple.com/documentation/appstoreserverapi/send-consumption-information>), and to the second alarm:
/// the first one is raised at once.
const ANSWERED_WITHIN: Duration = HOUR.saturating_mul(12);
const ANSWER_WARNING: Duration = HOUR.saturating_mul(10);
/// Time to act on a withdrawn consent. Apple names none.
const CONSENT_WITHIN: Duration = DAY.saturating_mul(7);

/// The duty that a notification opens, and the one that it closes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DutyChange {
    pub opens: Option<NewDuty>,
    pub closes: Option<DutyId>,
}

/// Returns the duties of a platform that a notification changes at this time.
pub fn of(platform: PlatformId, signed: &SignedNotification, now: Timestamp) -> DutyChange {
    let age = now.since(signed.signed_at);
    let (name, _) = signed
        .store_type
        .split_once('.')
        .unwrap_or((&signed.store_type, ""));
    let transaction = signed.transaction.as_ref();
    let transaction = transaction.map(|transaction| &transaction.fact.transaction_id);
    // Repetitions of a question have ids of their own, but are about the same transaction.
    let question = transaction.map(|id| DutyId::answer(platform, &format!("consumption/{id}")));
    match name {
        CONSUMPTION_REQUEST => DutyChange {
            opens: question.map(|id| NewDuty {
                id,
                kind: DutyKind::RefundReview,
                collapse_key: None,
                order_id: transaction.cloned(),
                within: ANSWERED_WITHIN.saturating_sub(age),
                warn_after: ANSWER_WARNING.saturating_sub(age),
                attempt: FirstAttempt::Never,
                is_repeated: true,
            }),
            closes: None,
        },
        "REFUND" | "REFUND_DECLINED" => DutyChange {
            opens: None,
            closes: question,
        },
        RESCIND_CONSENT => DutyChange {
            opens: consent(platform, signed, age),
            closes: None,
        },
        _ => DutyChange::default(),
    }
}

fn consent(platform: PlatformId, signed: &SignedNotification, age: Duration) -> Option<NewDuty> {
    let account = text(signed.app_transaction.as_ref()?, "appTransactionId")?;
    Some(NewDuty {
        id: DutyId::answer(platform, &format!("consent/{account}")),
        kind: DutyKind::ConsentWithdrawn,
        collapse_key: None,
        order_id: Some(account),
        within: CONSENT_WITHIN.saturating_sub(age),
        warn_after: CONSENT_WITHIN.saturating_sub(age),
        attempt: FirstAttempt::Never,
        is_repeated: true,
    })
}
