//! The stage of a purchase without a snapshot: after the answer that the purchase is no longer valid, or according to
//! the reports since the store's last answer.

use super::walk::Walk;
use crate::notification::NotificationKind;
use crate::purchase::{Life, Purchase, Stage};

/// Returns the stage after the store answered that the purchase is no longer valid: expired, or revoked if it is a
/// one-time purchase. A replaced purchase stays replaced.
pub(super) fn gone(after: &Purchase) -> Stage {
    let life = if after.is_replaced()
        || after.was_reported(NotificationKind::Replaced)
        || after.stage.life == Life::Replaced
    {
        Life::Replaced
    } else if after.is_one_time() {
        Life::Revoked
    } else {
        Life::Expired
    };
    Stage {
        life,
        in_grace: false,
        is_off: !after.is_one_time(),
        pending: None,
        ..after.stage.clone()
    }
}

/// Returns the stage according to the reports since the store's last answer, or to all reports if it never answered.
pub(super) fn reported(after: &Purchase) -> Stage {
    let mut walk = Walk::since_last_answer(after);
    walk.follow();
    if after.is_replaced() {
        Stage {
            life: Life::Replaced,
            ..walk.stage
        }
    } else {
        walk.stage
    }
}
