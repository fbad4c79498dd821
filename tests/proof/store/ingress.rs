//! The store's messages: one notification of one purchase, with proof of the sender in a header.

use api::clock;
use api::stores::inbox::{Inbox, Message};
use api::stores::ingress::{Answer, Ingress, StoreRequest};
use api::stores::intake::Intake;
use domain::time::{DAY, HOUR};
use domain::{CollapseKey, DutyId, Notification, NotificationKind, PlatformId, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use storage::{DutyKind, FirstAttempt, NewDuty, NewNotification, Platform};

/// The answer to a stored message.
const ACCEPTED: Answer = Answer {
    status: 204,
    reason: "accepted",
};
const NOT_GENUINE: Answer = Answer {
    status: 401,
    reason: "the sender is not the store",
};
const UNREADABLE: Answer = Answer {
    status: 400,
    reason: "not a notification of this app",
};

pub struct ProofIngress(pub Inbox);

/// A message of the store.
#[derive(Deserialize)]
pub struct Body {
    id: String,
    package: String,
    purchase: String,
    happened: String,
    at_ms: i64,
    /// The store's name of the fact, if it has one.
    fact: Option<String>,
    /// What the store signed about the purchase, if anything.
    signed: Option<Value>,
}

impl Body {
    /// Returns the notification in the message.
    pub fn notification(self, platform: PlatformId) -> Notification {
        Notification {
            message_id: self.id,
            collapse_key: CollapseKey::of(platform, &self.purchase),
            receipt_id: self.purchase,
            kind: kind(&self.happened),
            store_type: self.happened,
            store_time: Timestamp::from_millis(self.at_ms),
            app_user_id: None,
            related_receipt_id: None,
            is_test: false,
            voided: None,
            refunded: None,
        }
    }
}

impl Ingress for ProofIngress {
    fn name(&self) -> &'static str {
        super::STORE
    }

    fn check_key<'a>(
        &'a self,
        intake: Intake<'a>,
        ingress_key: &'a str,
    ) -> BoxFuture<'a, Result<(), Answer>> {
        self.0
            .check_key(intake.store, ingress_key, clock::now())
            .boxed()
    }

    fn receive<'a>(
        &'a self,
        intake: Intake<'a>,
        request: StoreRequest<'a>,
    ) -> BoxFuture<'a, Answer> {
        self.0
            .receive(intake, request, clock::now(), ACCEPTED, read)
            .boxed()
    }
}

fn read(platform: &Platform, request: StoreRequest<'_>) -> Result<Message, Answer> {
    let mark = request.headers.get("proof-sender");
    if mark.is_none_or(|mark| mark.as_bytes() != b"genuine") {
        return Err(NOT_GENUINE);
    }
    let mut body: Body = serde_json::from_slice(request.body).map_err(|_| UNREADABLE)?;
    if body.package != platform.settings.package_name {
        return Err(UNREADABLE);
    }
    let (signed, duplicate_key) = (body.signed.take(), body.fact.take());
    let notification = body.notification(platform.id);
    let (duty, closes) = duties(platform.id, &notification);
    let message_id = notification.message_id.clone();
    let row = NewNotification {
        duty,
        closes,
        duplicate_key,
        ..NewNotification::of(platform.id, notification)
    };
    let row = match signed {
        Some(signed) => row.with_signed(signed),
        None => row,
    };
    Ok(Message {
        id: message_id,
        notifications: vec![row],
        alarm: None,
    })
}

/// Returns the duty that a message causes, and the one that it shows done: whether a payment may be refunded.
pub fn duties(
    platform: PlatformId,
    notification: &Notification,
) -> (Option<NewDuty>, Option<DutyId>) {
    let id = DutyId::answer(platform, &notification.receipt_id);
    let question = NewDuty {
        id,
        kind: DutyKind::RefundReview,
        collapse_key: None,
        order_id: Some(notification.receipt_id.clone()),
        within: DAY,
        warn_after: HOUR,
        attempt: FirstAttempt::Never,
        is_repeated: true,
    };
    match notification.store_type.as_str() {
        "REFUND_WANTED" => (Some(question), None),
        "REFUND_DENIED" => (None, Some(id)),
        _ => (None, None),
    }
}

fn kind(happened: &str) -> NotificationKind {
    match happened {
        "BOUGHT" => NotificationKind::SubscriptionPurchased,
        "PAID" => NotificationKind::Renewed,
        "ENDED" => NotificationKind::Expired,
        _ => NotificationKind::Unknown,
    }
}
