#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod attempt;
pub mod catalogue;
pub mod decide;
pub mod device;
pub mod duty;
pub mod environment;
pub mod event;
pub mod health;
pub mod ids;
pub mod lane;
mod names;
pub mod notification;
pub mod payment;
pub mod period;
pub mod placeholder;
pub mod purchase;
pub mod redelivery;
pub mod schemas;
pub mod settling;
pub mod store_state;
pub mod stores;
pub mod text;
pub mod time;
pub mod trace;
mod transfers;
pub mod transition;
pub mod user;
pub mod verification;

pub use decide::{Decision, Lag, SettlingContext, Waits, decide};
pub use environment::Environment;
pub use ids::{
    AlarmId, AppId, AuditEntryId, CollapseKey, DeliveryId, DestinationId, DeviceId, DevicePlace,
    DutyId, EventId, KeyId, OrgId, PlatformId, ReviewId, SessionId, SignInId, TopicId, TransferId,
    UserId,
};
pub use lane::Lane;
pub use notification::{Notification, NotificationKind, Outcome};
pub use purchase::{Purchase, State};
pub use redelivery::{Receivers, RedeliverySelector, Selection};
pub use store_state::{SharedAccess, StoreState, StoreStatus, VoidedPayment};
pub use stores::StorePolicy;
pub use time::Timestamp;
pub use trace::TraceContext;
pub use transfers::TransferPolicy;
pub use transition::{Transition, TransitionKind};
pub use verification::{Parked, Snapshot, UnknownReceipts, Verification};
