//! Maps an Amazon message to rows of the inbox: one notification for each receipt in it.

use super::envelope::{Envelope, MAX_AHEAD_MS};
use super::notification::{Rtn, Unreadable};
use domain::{CollapseKey, Notification, NotificationKind, Outcome, Timestamp};
use serde_json::Value;
use storage::{Handling, NewNotification, Platform, STATED_TIME};

/// Maximum number of bytes that are stored of an unreadable message; a notification from Amazon has one or two
/// thousand.
const MAX_RAW_BYTES: usize = 16 * 1024;
/// The beginning of 2010, before Amazon's store existed.
const EARLIEST: Timestamp = Timestamp::from_millis(1_262_304_000_000);

/// Maps Amazon's type to a kind of notification.
pub fn kind(store_type: &str) -> NotificationKind {
    match store_type {
        "SUBSCRIPTION_PURCHASED" => NotificationKind::SubscriptionPurchased,
        "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID" => NotificationKind::TrialConverted,
        "SUBSCRIPTION_RENEWED" => NotificationKind::Renewed,
        "SUBSCRIPTION_AUTO_RENEWAL_OFF" => NotificationKind::AutoRenewalOff,
        "SUBSCRIPTION_AUTO_RENEWAL_ON" => NotificationKind::AutoRenewalOn,
        "SUBSCRIPTION_SCHEDULED_TO_END" => NotificationKind::ScheduledToEnd,
        "SUBSCRIPTION_IN_GRACE_PERIOD" => NotificationKind::GraceBegan,
        "SUBSCRIPTION_OUT_OF_GRACE_PERIOD" => NotificationKind::OutOfGrace,
        "SUBSCRIPTION_MODIFIED_IMMEDIATE" => NotificationKind::PlanChanged,
        "SUBSCRIPTION_MODIFIED_DEFERRED" => NotificationKind::PlanChangeScheduled,
        "SUBSCRIPTION_CANCELLED" => NotificationKind::SubscriptionCancelled,
        "SUBSCRIPTION_EXPIRED" => NotificationKind::Expired,
        "CONSUMABLE_PURCHASED" => NotificationKind::ConsumablePurchased,
        "CONSUMABLE_CANCELLED" => NotificationKind::ConsumableCancelled,
        "ENTITLEMENT_PURCHASED" => NotificationKind::EntitlementPurchased,
        "ENTITLEMENT_CANCELLED" => NotificationKind::EntitlementCancelled,
        _ => NotificationKind::Unknown,
    }
}

/// Returns the rows for a readable message: two for an immediate plan change that names the old receipt, otherwise one.
/// A message for another app's package becomes one row, which gets the outcome `refused` immediately. `now` is the time
/// of acceptance.
pub fn rows(
    platform: &Platform,
    envelope: &Envelope<'_>,
    rtn: &Rtn,
    handling: &Handling,
    now: Timestamp,
) -> Vec<NewNotification> {
    if rtn.package_name != platform.settings.package_name {
        return vec![foreign(platform, envelope, rtn)];
    }
    let kind = kind(&rtn.store_type);
    let at_once =
        platform.settings.flush_on_revoke && *handling == Handling::Open && is_revocation(kind);
    let builder = RowBuilder {
        platform,
        envelope,
        rtn,
        handling: if at_once { &Handling::AtOnce } else { handling },
        now,
    };
    let old = rtn
        .cancelled_receipt_id
        .as_deref()
        .filter(|old| kind == NotificationKind::PlanChanged && *old != rtn.receipt_id);
    let mut rows = vec![builder.row(kind, &rtn.receipt_id, old)];
    rows.extend(old.map(|old| builder.row(NotificationKind::Replaced, old, Some(&rtn.receipt_id))));
    rows
}

/// Returns whether a notification takes access away. With `flush_on_revoke`, it is settled without a window.
const fn is_revocation(kind: NotificationKind) -> bool {
    matches!(
        kind,
        NotificationKind::SubscriptionCancelled
            | NotificationKind::ConsumableCancelled
            | NotificationKind::EntitlementCancelled
    )
}

struct RowBuilder<'a> {
    platform: &'a Platform,
    envelope: &'a Envelope<'a>,
    rtn: &'a Rtn,
    handling: &'a Handling,
    now: Timestamp,
}

impl RowBuilder<'_> {
    fn row(
        &self,
        kind: NotificationKind,
        receipt_id: &str,
        related: Option<&str>,
    ) -> NewNotification {
        let notification = Notification {
            message_id: self.envelope.message_id.to_string(),
            collapse_key: CollapseKey::of(self.platform.id, receipt_id),
            receipt_id: receipt_id.to_owned(),
            kind,
            store_type: self.rtn.store_type.clone(),
            // Without a plausible `timestamp`, the time of publishing is used, which is 6 s later in Amazon's own
            // sample.
            store_time: self
                .rtn
                .at
                .filter(|at| self.can_be_true(*at))
                .unwrap_or(self.envelope.at),
            app_user_id: self.rtn.app_user_id.clone(),
            related_receipt_id: related.map(str::to_owned),
            is_test: self.rtn.is_test,
            voided: None,
            refunded: None,
        };
        let stated = self.stated(&notification);
        let mut row = NewNotification::of(self.platform.id, notification);
        row.handling = self.handling.clone();
        row.body = stated.unwrap_or(row.body);
        row
    }
}

impl RowBuilder<'_> {
    /// Returns whether a time is plausible: not before Amazon's store existed, and no further ahead of our clock than
    /// the envelope's time may be. It may be later than the envelope's time, as in Amazon's samples.
    fn can_be_true(&self, at: Timestamp) -> bool {
        (EARLIEST..=self.now.plus_millis(MAX_AHEAD_MS)).contains(&at)
    }

    /// Returns the body together with the message's `timestamp`, if that is not plausible.
    fn stated(&self, notification: &Notification) -> Option<String> {
        let stated = self.rtn.at.filter(|at| !self.can_be_true(*at))?;
        let mut body = serde_json::to_value(notification).unwrap_or_default();
        if let Some(fields) = body.as_object_mut() {
            fields.insert(STATED_TIME.to_owned(), Value::from(stated.to_string()));
        }
        Some(body.to_string())
    }
}

/// Returns the row for a message about another app's package.
fn foreign(platform: &Platform, envelope: &Envelope<'_>, rtn: &Rtn) -> NewNotification {
    let reason = format!(
        "appPackageName is `{}`, expected `{}`",
        rtn.package_name, platform.settings.package_name
    );
    // No store time: with one, a later notification for the right package would count as a duplicate of this row.
    NewNotification {
        receipt_id: rtn.receipt_id.clone(),
        app_user_id: rtn.app_user_id.clone(),
        ..closed_row(
            platform,
            envelope,
            rtn.store_type.clone(),
            Handling::Final(Outcome::Refused, reason),
        )
    }
}

/// Returns the row for an unreadable message. Its body is the beginning of the raw message.
pub fn unreadable(
    platform: &Platform,
    envelope: &Envelope<'_>,
    why: Unreadable,
) -> NewNotification {
    let beginning = envelope
        .message
        .get(..envelope.message.floor_char_boundary(MAX_RAW_BYTES))
        .unwrap_or_default();
    NewNotification {
        // PostgreSQL cannot store NUL in a text.
        body: beginning.replace('\0', "\u{fffd}"),
        ..closed_row(
            platform,
            envelope,
            why.store_type,
            Handling::Final(Outcome::Unknown, why.reason.to_owned()),
        )
    }
}

/// Returns a row without a body that already has its outcome and belongs to no purchase.
fn closed_row(
    platform: &Platform,
    envelope: &Envelope<'_>,
    store_type: String,
    handling: Handling,
) -> NewNotification {
    NewNotification {
        platform_id: platform.id,
        message_id: envelope.message_id.to_string(),
        receipt_id: String::new(),
        collapse_key: None,
        store_type,
        store_time: None,
        app_user_id: None,
        body: "{}".to_owned(),
        handling,
        traceparent: None,
        duty: None,
        closes: None,
        order_id: None,
        duplicate_key: None,
    }
}
