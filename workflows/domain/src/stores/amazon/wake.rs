//! When a purchase is rechecked, according to the newest report, the dates of the last answer, and what the answer may
//! not show yet.

use crate::decide::successor;
use crate::decide::wake::{CAUGHT_UP, WEEK, by_dates, recheck};
use crate::purchase::Purchase;
use crate::time::{DAY, MINUTE, Timestamp};

/// Returns the earliest recheck that the newest report, the dates of the last answer, or the facts that it may not show
/// yet require.
pub(super) fn by_reports_and_dates(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let behind = purchase
        .behind
        .and_then(|behind| recheck(behind.since, now));
    let regular = if purchase.stage.is_over() {
        for_end_reason(purchase, now)
    } else {
        by_dates(purchase, now)
    };
    let rare = [for_promotion, for_refund, successor::next_check].map(|rare| rare(purchase, now));
    [behind, regular].into_iter().chain(rare).flatten().min()
}

/// Returns when to recheck which promotion applied to the last payment, while the last snapshot may not show it yet.
fn for_promotion(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let shown_at = purchase.unconfirmed_offer_at()?.plus(CAUGHT_UP);
    Some(shown_at.max(now.plus(MINUTE.saturating_mul(10))))
}

/// Returns when to recheck a purchase that the app did not deliver, for a day: the store refunds it, and shows its end
/// a little later.
fn for_refund(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let shown = purchase
        .snapshot
        .as_ref()
        .filter(|shown| purchase.stage.runs() && shown.ends_at.is_none())?;
    let since = shown.undelivered_at?;
    recheck(since, now).filter(|wake| wake.since(since) <= DAY)
}

/// Returns when to recheck for the reason of the end, which the store may show later than the end itself: daily, until
/// the eighth day.
fn for_end_reason(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    let end = purchase.awaits_reason()?;
    let next = now.plus(DAY);
    (!purchase.is_replaced() && next <= end.plus(WEEK + DAY)).then_some(next)
}
