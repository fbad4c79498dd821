//! Maps an authenticated push to a row of the inbox and a response.
//!
//! A message that can never be valid is stored as refused and acknowledged: otherwise Pub/Sub would repeat it for days,
//! and delay the subscription's other messages meanwhile.

use super::duties;
use super::envelope::{self, Envelope, MAX_BODY_BYTES};
use super::notification::{self, Content, DeveloperNotification, RefundReview, VoidedOrder};
use super::settings::PushTarget;
use crate::stores::inbox::Alarm;
use crate::stores::push::{Declined, Push, closed_row};
use domain::notification::is_sample_purchase;
use domain::{
    CollapseKey, DutyId, Notification, NotificationKind, Outcome, Timestamp, VoidedPayment,
};
use protocols::stores::google::acknowledge::Acknowledger;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use storage::{NewDuty, NewNotification, Platform, STATED_TIME, hex};

/// Maximum number of bytes that are stored of unreadable data.
const MAX_RAW_BYTES: usize = 16 * 1024;
/// How far an event's time may be ahead of this machine's clock, in milliseconds.
const MAX_AHEAD_MS: i64 = 15 * 60 * 1000;
/// The beginning of 2012, before Google's subscriptions existed.
const EARLIEST: Timestamp = Timestamp::from_millis(1_325_376_000_000);

/// `refundType` of a refund of part of the quantity.
const PARTIAL: i64 = 2;

/// Field of a stored notification that contains the voided order.
pub const VOIDED_ORDER: &str = "voided_order";

/// Alarm about a subscription that pushes unwrapped data.
pub const WITHOUT_WRAPPER: Alarm = Alarm {
    kind: "push_without_wrapper",
    detail: "the Pub/Sub subscription pushes without its wrapper, so nothing is accepted: turn payload unwrapping off in its \
             settings; Pub/Sub repeats what waits",
};
/// Alarm about a refund review that an operator must answer. Raised for every review.
const REFUND_REVIEW: Alarm = Alarm {
    kind: "refund_review",
    detail: "Google Play asks about a refund, and expects the answer within 24 hours: `settle duty list` shows the order; \
             answer it in the Play Console or by orders.reviewrefund, then close the duty",
};

/// Refusal of a message that is too large.
pub const TOO_LARGE: Declined = Declined {
    reason: "body larger than 64 KiB",
    alarm: Alarm {
        kind: "push_too_large",
        detail: "a message of the Pub/Sub topic is larger than any notification of Google Play: in the topic's permissions, \
                 remove the role Pub/Sub Publisher from all accounts but Google Play's",
    },
};
/// Refusal of a message that another subscription pushed.
pub const FOREIGN_SUBSCRIPTION: Declined = Declined {
    reason: "message of another subscription",
    alarm: Alarm {
        kind: "foreign_subscription",
        detail: "another Pub/Sub subscription than the platform's pushes to it: compare the subscription in the settings of the \
                 platform, or remove the other one's endpoint",
    },
};
/// Refusal of a message about another app.
pub const FOREIGN_PACKAGE: Declined = Declined {
    reason: "message of another app",
    alarm: Alarm {
        kind: "foreign_package",
        detail: "a notification belongs to another app than the platform's: `settle notification show MESSAGE_ID` shows its \
                 package name",
    },
};
/// Refusal of a message whose data is not a notification.
pub const UNREADABLE: Declined = Declined {
    reason: "data is not a notification",
    alarm: Alarm {
        kind: "unreadable_notification",
        detail: "a message of the Pub/Sub topic is no notification of Google Play: see who may publish to it",
    },
};

/// Reads the body of an authenticated push; `None` if it is no Pub/Sub message, so that it cannot be stored. `now` is
/// the time of acceptance.
pub fn outcome(
    platform: &Platform,
    target: &PushTarget<'_>,
    body: &[u8],
    now: Timestamp,
) -> Option<Push> {
    let hash = || hex(digest(&SHA256, body).as_ref());
    if body.len() > MAX_BODY_BYTES {
        let hash = hash();
        let bytes = body.len();
        let reason = format!("body of {bytes} bytes, larger than 64 KiB, with SHA-256 {hash}");
        let row = closed_row(platform, format!("sha256:{hash}"), Outcome::Refused, reason);
        return Some(Push::declined(row, TOO_LARGE));
    }
    let envelope = envelope::parse(body)?;
    let message_id = envelope.message_id.clone();
    let message_id = message_id.unwrap_or_else(|| format!("sha256:{}", hash()));
    let refused =
        |reason: String| closed_row(platform, message_id.clone(), Outcome::Refused, reason);
    if envelope.subscription.as_deref() != Some(target.subscription) {
        let reason = FOREIGN_SUBSCRIPTION.reason.to_owned();
        return Some(Push::declined(refused(reason), FOREIGN_SUBSCRIPTION));
    }
    let Some(data) = envelope.data() else {
        let row = refused("data is missing or not base64".to_owned());
        return Some(Push::declined(row, UNREADABLE));
    };
    let notification = match notification::read(&data) {
        Ok(notification) => notification,
        Err(reason) => {
            let row = NewNotification {
                body: beginning(&data),
                ..refused(reason.to_owned())
            };
            return Some(Push::declined(row, UNREADABLE));
        }
    };
    let expected = &platform.settings.package_name;
    if notification.package_name != *expected {
        let found = &notification.package_name;
        let row = NewNotification {
            store_type: notification.store_type.clone(),
            ..refused(format!("packageName is `{found}`, expected `{expected}`"))
        };
        return Some(Push::declined(row, FOREIGN_PACKAGE));
    }
    let received = Received {
        platform,
        envelope: &envelope,
        message_id,
        now,
    };
    Some(received.accepted(notification))
}

/// Returns the beginning of unreadable data, as text.
fn beginning(data: &[u8]) -> String {
    let beginning = data
        .get(..data.len().min(MAX_RAW_BYTES))
        .unwrap_or_default();
    // PostgreSQL cannot store NUL in a text.
    String::from_utf8_lossy(beginning).replace('\0', "\u{fffd}")
}

/// A message about the platform's own app.
struct Received<'a> {
    platform: &'a Platform,
    envelope: &'a Envelope,
    message_id: String,
    now: Timestamp,
}

impl Received<'_> {
    fn accepted(self, notification: DeveloperNotification) -> Push {
        let DeveloperNotification {
            at,
            store_type,
            content,
            ..
        } = notification;
        let (reason, body, alarm, duty) = match content {
            Content::Purchase {
                token,
                kind,
                voided,
            } => {
                let is_sample = is_sample_purchase(&token);
                let is_bought = voided.is_none() && !is_sample;
                let store_time = self.store_time(at);
                let payment = voided
                    .as_ref()
                    .and_then(|voided| voided.payment(store_time));
                let notification = Notification {
                    message_id: self.message_id.clone(),
                    collapse_key: CollapseKey::of(self.platform.id, &token),
                    receipt_id: token,
                    kind,
                    store_type,
                    store_time,
                    app_user_id: None,
                    related_receipt_id: None,
                    // For other purchases, only a query shows whether they are test purchases.
                    is_test: is_sample,
                    voided: payment,
                    refunded: None,
                };
                let key = notification.collapse_key;
                let bought = is_bought.then(|| self.acknowledgement(key, kind, at));
                let row = NewNotification {
                    duty: bought.flatten(),
                    ..self.open_row(notification, at, voided)
                };
                return Push::Accepted(Box::new(row), None);
            }
            Content::RefundReview(review) => {
                let reason = "a question about a refund, whose answer is due within 24 hours";
                let duty = self.answer(&review, at);
                (reason, review.to_json(), Some(REFUND_REVIEW), Some(duty))
            }
            Content::Test => {
                let reason = "a test notification of the Play Console";
                (reason, json!({}), None, None)
            }
            Content::Other => ("it names no purchase", json!({}), None, None),
        };
        let closed = closed_row(
            self.platform,
            self.message_id.clone(),
            Outcome::Unknown,
            reason.to_owned(),
        );
        let row = NewNotification {
            store_type,
            body: body.to_string(),
            duty,
            ..closed
        };
        Push::Accepted(Box::new(row), alarm)
    }

    /// Returns the duty to acknowledge a purchase, if the platform's setting leaves it to settle.
    fn acknowledgement(
        &self,
        key: CollapseKey,
        kind: NotificationKind,
        at: Option<Timestamp>,
    ) -> Option<NewDuty> {
        let age = self.now.since(self.store_time(at));
        let acknowledger = Acknowledger::of(self.platform.store_settings.as_ref());
        let is_by_settle = acknowledger == Acknowledger::Settle;
        is_by_settle.then(|| duties::acknowledgement(key, kind, age))
    }

    /// Returns the duty to answer a refund review. A review without an id is the message itself.
    fn answer(&self, review: &RefundReview, at: Option<Timestamp>) -> NewDuty {
        let ids = [&review.refund_token, &review.order_id];
        let id = ids.into_iter().flatten().next();
        let id = DutyId::answer(self.platform.id, id.unwrap_or(&self.message_id));
        let age = self.now.since(self.store_time(at));
        duties::answer(id, review.order_id.clone(), age)
    }

    /// Returns the row for a purchase. Its body also contains a voided order, and the stated time if it is not
    /// plausible.
    fn open_row(
        &self,
        notification: Notification,
        at: Option<Timestamp>,
        voided: Option<VoidedOrder>,
    ) -> NewNotification {
        let stated = at.filter(|at| !self.can_be_true(*at));
        let stated = stated.map(|at| (STATED_TIME, Value::from(at.to_string())));
        // Google may void two orders of a purchase in the same millisecond.
        let order_id = voided.as_ref().and_then(|voided| voided.order_id.clone());
        let voided = voided.map(|voided| (VOIDED_ORDER, voided.to_json()));
        let additions: Vec<_> = stated.into_iter().chain(voided).collect();
        let mut row = NewNotification {
            order_id,
            ..NewNotification::of(self.platform.id, notification)
        };
        if !additions.is_empty() {
            let body: Option<Map<String, Value>> = serde_json::from_str(&row.body).ok();
            let mut body = body.unwrap_or_default();
            body.extend(
                additions
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value)),
            );
            row.body = Value::Object(body).to_string();
        }
        row
    }

    /// Returns the time of the event: the stated time if it is plausible, else the time of publishing, else the time of
    /// acceptance.
    fn store_time(&self, at: Option<Timestamp>) -> Timestamp {
        let stated = [at, self.envelope.published_at].into_iter().flatten();
        let mut possible = stated.filter(|at| self.can_be_true(*at));
        possible.next().unwrap_or(self.now)
    }

    fn can_be_true(&self, at: Timestamp) -> bool {
        (EARLIEST..=self.now.plus_millis(MAX_AHEAD_MS)).contains(&at)
    }
}

impl VoidedOrder {
    /// Returns the payment that was voided in full. Of a part, only a query shows the number of units.
    fn payment(&self, at: Timestamp) -> Option<VoidedPayment> {
        let transaction_id = self.order_id.clone()?;
        (self.refund_type != Some(PARTIAL)).then_some(VoidedPayment {
            transaction_id,
            at,
            units: None,
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "order_id": self.order_id,
            "product_type": self.product_type,
            "refund_type": self.refund_type,
        })
    }
}

impl RefundReview {
    fn to_json(&self) -> Value {
        json!({
            "order_id": self.order_id,
            "refund_token": self.refund_token,
            "refund_reason": self.refund_reason,
        })
    }
}
