//! Maps a signed payload to a row of the inbox and a response.
//!
//! What Apple signed is always stored, as refused if this platform cannot accept it: Apple would repeat a refused
//! message for days without any effect.

use super::settings::expected_app;
use crate::stores::inbox::Alarm;
use crate::stores::push::{Declined, Push, closed_row};
use domain::{Outcome, Timestamp};
use protocols::stores::apple::duty::{CONSUMPTION_REQUEST, RESCIND_CONSENT};
use protocols::stores::apple::notification::{
    FOREIGN_APP, FOREIGN_BUNDLE, FOREIGN_ENVIRONMENT, FOREIGN_PART, NO_NOTIFICATION,
    SignedNotification, SignedPayload,
};
use serde_json::json;
use storage::{NewNotification, Platform};

/// Alarm about a question that an operator must answer.
const REFUND_REVIEW: Alarm = Alarm {
    kind: "refund_review",
    detail: "Apple asks about a refund, and expects the answer within 12 hours: `settle duty list` shows the transaction; send \
             its consumption information from the app's own server, if the customer consented to that, then close the duty",
};
/// Alarm about a consent that an operator must act on.
const CONSENT_WITHDRAWN: Alarm = Alarm {
    kind: "consent_withdrawn",
    detail: "a parent withdrew the consent to a child's use of the app: `settle duty list` shows the Apple account by its app \
             transaction id; stop what needs consent for it, then close the duty. No purchase changes by it",
};

/// Why what Apple signed is stored as refused, each with its alarm.
const ALL: [Declined; 5] = [
    Declined {
        reason: FOREIGN_BUNDLE,
        alarm: Alarm {
            kind: "foreign_bundle",
            detail: "a notification belongs to another app than the platform's: compare the bundle id with App Store Connect; each app \
                     has the notification URL of its own platform",
        },
    },
    Declined {
        reason: FOREIGN_APP,
        alarm: Alarm {
            kind: "foreign_app",
            detail: "a notification belongs to an app with another number: compare the platform's Apple ID of the app with App \
                     Store Connect",
        },
    },
    Declined {
        reason: FOREIGN_ENVIRONMENT,
        alarm: Alarm {
            kind: "foreign_environment",
            detail: "a notification about production arrived at a platform for the sandbox: change the platform's environment, or \
                     remove its URL from the production server in App Store Connect",
        },
    },
    Declined {
        reason: FOREIGN_PART,
        alarm: Alarm {
            kind: "foreign_part",
            detail: "the parts of a signed notification are about different purchases or apps, so none of them counts: somebody may \
                     have put them together",
        },
    },
    OTHER,
];

/// Refusal of a payload that is no notification.
const OTHER: Declined = Declined {
    reason: NO_NOTIFICATION,
    alarm: Alarm {
        kind: "no_notification",
        detail: "Apple signed a message that is no notification, such as a request for a retention message: use another URL for \
                 that service than the platform's",
    },
};

/// Returns what happens with a payload whose signatures are valid. `now` is the time of acceptance.
pub fn push(platform: &Platform, payload: SignedPayload, now: Timestamp) -> Push {
    let signed = match payload {
        SignedPayload::Notification(signed) => signed,
        SignedPayload::Other { digest } => {
            let reason = OTHER.reason.to_owned();
            let id = format!("sha256:{digest}");
            return Push::declined(closed_row(platform, id, Outcome::Refused, reason), OTHER);
        }
    };
    if let Some(reason) = signed.refusal(&expected_app(platform)) {
        let why = ALL.iter().find(|why| why.reason == reason);
        let row = NewNotification {
            store_type: signed.store_type.clone(),
            ..closed_row(platform, signed.id, Outcome::Refused, reason.to_owned())
        };
        return Push::declined(row, *why.unwrap_or(&OTHER));
    }
    accepted(platform, *signed, now)
}

fn accepted(platform: &Platform, signed: SignedNotification, now: Timestamp) -> Push {
    let duty = signed.duty(platform.id, now);
    let notification = signed.notification(platform.id);
    let alarm = alarm(&signed.store_type);
    let message_id = signed.id;
    let row = match notification {
        Some(notification) => {
            NewNotification::of(platform.id, notification).with_signed(signed.decoded)
        }
        None => NewNotification {
            store_type: signed.store_type,
            body: json!({ storage::SIGNED: signed.decoded }).to_string(),
            ..closed_row(
                platform,
                message_id.clone(),
                Outcome::Unknown,
                "it names no purchase".to_owned(),
            )
        },
    };
    let row = NewNotification {
        duty: duty.opens,
        closes: duty.closes,
        // Notifications with different ids are about different facts, also in the same millisecond.
        order_id: Some(message_id),
        ..row
    };
    Push::Accepted(Box::new(row), alarm)
}

fn alarm(store_type: &str) -> Option<Alarm> {
    let (name, _) = store_type.split_once('.').unwrap_or((store_type, ""));
    match name {
        CONSUMPTION_REQUEST => Some(REFUND_REVIEW),
        RESCIND_CONSENT => Some(CONSENT_WITHDRAWN),
        _ => None,
    }
}
