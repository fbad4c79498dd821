#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod catalogue;
pub mod decide;
pub mod destination;
pub mod environment;
pub mod event;
pub mod health;
pub mod ids;
pub mod lane;
pub mod notification;
pub mod payment;
pub mod purchase;
pub mod reading;
pub mod time;
pub mod transition;
pub mod user;

pub use decide::{Decision, Given, Lag, Waits, decide};
pub use environment::Environment;
pub use ids::{AppId, CollapseKey, DeliveryId, DestinationId, EventId, OrgId, PlatformId, TopicId, UserId};
pub use lane::Lane;
pub use notification::{Kind, Notification, Outcome};
pub use purchase::{Purchase, State};
pub use reading::{Parked, Reading, Snapshot, UnknownReceipts};
pub use time::Timestamp;
pub use transition::{Transition, What};
