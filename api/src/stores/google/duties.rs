//! The duties that notifications cause: the acknowledgement of a purchase, if settle does it, and the answer to a
//! refund review, which only a person gives.

use domain::stores::google::ACKNOWLEDGED_WITHIN;
use domain::time::{DAY, HOUR};
use domain::{CollapseKey, DutyId, NotificationKind, duty};
use std::time::Duration;
use storage::{DutyKind, FirstAttempt, NewDuty};

/// Time to answer a refund review, and time to the second alarm: the first one is raised at once.
const ANSWERED_WITHIN: Duration = DAY;
const ANSWER_WARNING: Duration = HOUR.saturating_mul(20);

/// Returns the duty to acknowledge a purchase, whose event is this old. Any notification may be the first one of its
/// purchase; that of the purchase itself is attempted at once, since a tester's one is returned after three minutes. An
/// answer about the purchase shows its own times.
pub fn acknowledgement(key: CollapseKey, kind: NotificationKind, age: Duration) -> NewDuty {
    let attempt = match kind {
        NotificationKind::SubscriptionPurchased | NotificationKind::EntitlementPurchased => {
            FirstAttempt::AtOnce
        }
        _ => FirstAttempt::Soon,
    };
    NewDuty {
        id: DutyId::acknowledgement(key),
        kind: DutyKind::Acknowledge,
        collapse_key: Some(key),
        order_id: None,
        within: ACKNOWLEDGED_WITHIN.saturating_sub(age),
        warn_after: duty::warned_after(ACKNOWLEDGED_WITHIN).saturating_sub(age),
        attempt,
        is_repeated: false,
    }
}

/// Returns the duty to answer a refund review of this age.
pub fn answer(id: DutyId, order_id: Option<String>, age: Duration) -> NewDuty {
    NewDuty {
        id,
        kind: DutyKind::RefundReview,
        collapse_key: None,
        order_id,
        within: ANSWERED_WITHIN.saturating_sub(age),
        warn_after: ANSWER_WARNING.saturating_sub(age),
        attempt: FirstAttempt::Never,
        is_repeated: false,
    }
}
