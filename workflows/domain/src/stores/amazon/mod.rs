//! Amazon Appstore. Receipts name no state, lag behind the store's notifications, and show terms by their length.

use super::{CustomerSource, Gone, Policy, Proof, Reports, Schedules};
use crate::decide::wake;
use crate::notification::NotificationKind;
use crate::time::{DAY, HOUR, MINUTE};
use std::time::Duration;

pub const POLICY: Policy = Policy {
    store: "amazon",
    customer: CustomerSource::Notification,
    proof: Proof::Pair,
    reports: Reports::Evidence,
    has_calendar_terms: true,
    // RVS's 410.
    gone: Gone::Over,
    can_leave_end: false,
    schedules: Schedules {
        unknown: &UNKNOWN_RECEIPT,
        wrong_customer: &WRONG_CUSTOMER,
        believed_after: DAY,
        settled_unverified: &SETTLED_UNVERIFIED,
    },
    wake: wake::by_reports_and_dates,
};

/// RVS's 400: an unknown receipt.
const UNKNOWN_RECEIPT: [Duration; 5] = [
    MINUTE,
    MINUTE.saturating_mul(10),
    HOUR,
    HOUR.saturating_mul(6),
    DAY,
];
/// RVS's 497: a receipt of another customer.
const WRONG_CUSTOMER: [Duration; 2] = [HOUR, DAY];
/// A receipt could not change what these announce.
const SETTLED_UNVERIFIED: [NotificationKind; 5] = [
    NotificationKind::Renewed,
    NotificationKind::AutoRenewalOff,
    NotificationKind::AutoRenewalOn,
    NotificationKind::GraceBegan,
    NotificationKind::TrialConverted,
];
