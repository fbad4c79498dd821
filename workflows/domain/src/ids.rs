//! Identifiers. Each is a type of its own and cannot be invalid.
//!
//! Random ids are not generated here: the caller supplies them.

use crate::environment::Environment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A text that was expected to be an identifier and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what} (expected a UUID such as 6b275a67-0bbb-4f3a-99b9-6600bf711993)")]
pub struct InvalidId {
    text: String,
    what: &'static str,
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that is known to name this kind of thing.
            pub const fn new(id: Uuid) -> Self { Self(id) }
            /// Returns the UUID without its type.
            pub const fn uuid(self) -> Uuid { self.0 }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId { text: text.to_owned(), what: $what })
            }
        }
    )*};
}

uuid_ids! {
    /// The company that runs the installation. One per database.
    OrgId = "an org id";
    /// Id of an app.
    AppId = "an app id";
    /// Id of a platform: an app on one store.
    PlatformId = "a platform id";
    /// Id of a topic that sends to a platform, or wants to.
    TopicId = "a topic id";
    /// Id of a destination, which receives events.
    DestinationId = "a destination id";
    /// Key of a purchase: UUIDv5 of platform and the store's id.
    CollapseKey = "a collapse key";
    /// Id of an event, the same for every destination.
    EventId = "an event id";
    /// Id of a delivery: one event to one destination.
    DeliveryId = "a delivery id";
    /// Id of a user, who owns purchases.
    UserId = "a user id";
    /// An installation of the app on a device; the app makes it, a random UUID.
    DeviceId = "a device id";
    /// A session of the app on a device; the app makes it.
    SessionId = "a session id";
    /// Id of a transfer of purchases from one user to another.
    TransferId = "a transfer id";
    /// Id of a review that decides whether one user's purchases move to another.
    ReviewId = "a review id";
    /// Id of an API key.
    KeyId = "a key id";
    /// Id of a person's sign-in to the dashboard.
    SignInId = "a sign-in id";
    /// One audit entry: a change by a person, a key or a script.
    AuditEntryId = "an audit entry id";
    /// Id of an alarm, the same each time it is raised.
    AlarmId = "an alarm id";
}

/// The epoch of a database that has never lost events.
pub const FIRST_EPOCH: i64 = 1;

/// The purchases that a profile covers.
#[derive(Debug, Clone, Copy)]
pub struct ProfileScope<'a> {
    /// Environment of the purchases.
    pub environment: Environment,
    /// Platforms of the purchases; all platforms when empty.
    pub platforms: &'a [PlatformId],
}

/// A device of a platform.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct DevicePlace {
    /// The platform whose publishable key it uses.
    pub platform: PlatformId,
    /// The device.
    pub device: DeviceId,
}

impl CollapseKey {
    /// Returns the key of the purchase that `receipt_id` names on this platform.
    pub fn of(platform: PlatformId, receipt_id: &str) -> Self {
        Self(Uuid::new_v5(&platform.uuid(), receipt_id.as_bytes()))
    }

    /// Returns the key of an alarm's events. Each app that the alarm concerns has its own.
    pub fn of_alarm(alarm: AlarmId, app: AppId) -> Self {
        Self(Uuid::new_v5(&app.uuid(), alarm.uuid().as_bytes()))
    }
}

impl EventId {
    /// Returns the id of event number `n` of one type in one revision. `epoch` belongs to the database and is raised
    /// after a restore, so that ids of the lost history are never used again.
    pub fn of(key: CollapseKey, epoch: i64, revision: i64, event_type: &str, n: u32) -> Self {
        let name = format!("{epoch}/{revision}/{event_type}/{n}");
        Self(Uuid::new_v5(&key.uuid(), name.as_bytes()))
    }

    /// Returns the id of the event that carries a user's changed profile. Each user revision is used once.
    pub fn of_profile(
        user: UserId,
        epoch: i64,
        user_revision: i64,
        scope: ProfileScope<'_>,
    ) -> Self {
        let mut name = format!(
            "{epoch}/{user_revision}/profile.updated/{}",
            scope.environment.as_str()
        );
        for platform in scope.platforms {
            name.push('/');
            name.push_str(&platform.to_string());
        }
        Self(Uuid::new_v5(&user.uuid(), name.as_bytes()))
    }
}

impl EventId {
    /// Returns the id of an event that a device reported as `client_id`, which the device never uses for another event.
    pub fn of_device(place: DevicePlace, epoch: i64, client_id: &str) -> Self {
        Self(Uuid::new_v5(
            &place.uuid(),
            format!("{epoch}/{client_id}").as_bytes(),
        ))
    }
}

impl DevicePlace {
    /// Returns an id that no device of another platform has, even if both devices have the same id of their own.
    fn uuid(self) -> Uuid {
        Uuid::new_v5(&self.platform.uuid(), self.device.uuid().as_bytes())
    }
}

impl AuditEntryId {
    /// Returns the id of the audit entry for one operation of a call that may be repeated.
    pub fn of(call: &str, operation: &str) -> Self {
        Self(Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("act/{call}/{operation}").as_bytes(),
        ))
    }
}

impl AlarmId {
    /// Returns the id of the alarm of this kind with this detail, about a platform, a destination or, for `None`,
    /// neither.
    pub fn of(about: Option<Uuid>, kind: &str, detail: &str) -> Self {
        let namespace = about.unwrap_or(Uuid::NAMESPACE_URL);
        Self(Uuid::new_v5(
            &namespace,
            format!("alarm/{kind}/{detail}").as_bytes(),
        ))
    }
}

impl TransferId {
    /// Returns the id of a transfer away from a user. `number` is the number of such transfers before it.
    pub fn of(from: UserId, epoch: i64, number: i64) -> Self {
        Self(Uuid::new_v5(
            &from.uuid(),
            format!("{epoch}/{number}/transfer").as_bytes(),
        ))
    }
}

impl ReviewId {
    /// Returns the id of the only review of these two users.
    pub fn of(from: UserId, to: UserId) -> Self {
        Self(Uuid::new_v5(
            &from.uuid(),
            format!("review/{to}").as_bytes(),
        ))
    }
}

impl DeliveryId {
    /// Returns the id of the delivery of an event to a destination; `n` grows by one with each requested redelivery.
    /// The id is also the `webhook-id` header, which stays the same over retries.
    pub fn of(destination: DestinationId, event: EventId, n: u32) -> Self {
        Self(Uuid::new_v5(
            &destination.uuid(),
            format!("{event}/{n}").as_bytes(),
        ))
    }

    /// Returns the `webhook-id` of a request with several events. It is computed from the deliveries in their order, so
    /// a request with the same deliveries has the same id.
    pub fn of_batch(members: &[Self]) -> Self {
        let namespace = members.first().map_or(Uuid::nil(), |first| first.0);
        let names: Vec<String> = members.iter().map(ToString::to_string).collect();
        Self(Uuid::new_v5(
            &namespace,
            format!("batch/{}", names.join(",")).as_bytes(),
        ))
    }

    /// Returns the id of the delivery of an event that was announced earlier. The event may belong to an earlier epoch,
    /// in which the destination may have received a delivery with the same `n`, so the epoch is part of the id.
    pub fn in_epoch(destination: DestinationId, event: EventId, epoch: i64, n: u32) -> Self {
        if epoch == FIRST_EPOCH {
            return Self::of(destination, event, n);
        }
        Self(Uuid::new_v5(
            &destination.uuid(),
            format!("{event}/{epoch}/{n}").as_bytes(),
        ))
    }
}

impl UserId {
    /// Returns the id of the anonymous user behind a store's own user id.
    pub fn anonymous(app: AppId, store: &str, app_user_id: &str) -> Self {
        Self(Uuid::new_v5(
            &app.uuid(),
            format!("{store}/{app_user_id}").as_bytes(),
        ))
    }

    /// Returns the id of the anonymous user of a device that has no login since its last logout. `logouts` is their
    /// number.
    pub fn of_device(place: DevicePlace, logouts: i64) -> Self {
        let name = if logouts == 0 {
            "anonymous".to_owned()
        } else {
            format!("anonymous/{logouts}")
        };
        Self(Uuid::new_v5(&place.uuid(), name.as_bytes()))
    }
}
