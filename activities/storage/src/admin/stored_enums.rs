//! The enums that are stored as text, with the text of each variant. Tests use this list to check that the latest
//! release reads what this version stores.

use crate::admin::erasure::ErasureStage;
use crate::admin::keys::Role;
use crate::delivery::class::AttemptClass;
use crate::delivery::lanes::Mode;
use crate::delivery::stream::finish::StreamStatus;
use crate::events::status::DeliveryStatus;
use crate::inbox::topics::TopicState;
use crate::people::movement::Cause;
use crate::purchases::cause::CauseKind;
use crate::purchases::duties::{DutyKind, DutyResult};
use crate::purchases::purchase::{Urgency, WaitsFor};
use crate::settling::payments::Source;
use crate::settling::profiles::queued::Arrival;
use crate::settling::rechecks::RecheckReason;
use crate::settling::repairs::RepairKind;
use db::column::TextEnum;
use db::counts::Series;
use domain::catalogue::ProductRef;
use domain::device::claim::{ClaimKind, ClaimReason, ClaimStatus};
use domain::event::Wildcards;
use domain::health::State as Health;
use domain::payment::{EntryKind, SaleKind, UnknownPrice};
use domain::user::Attributes;
use domain::{Environment, Outcome, State, TransferPolicy, UnknownReceipts};

/// The name of an enum, and the texts of its variants.
type Texts = (&'static str, Vec<&'static str>);

/// Lists all enums that are stored as text, with their values.
pub fn stored_enums() -> Vec<Texts> {
    vec![
        of::<Arrival>(),
        of::<AttemptClass>(),
        of::<Attributes>(),
        of::<Cause>(),
        of::<CauseKind>(),
        of::<ClaimKind>(),
        of::<ClaimReason>(),
        of::<ClaimStatus>(),
        of::<DeliveryStatus>(),
        of::<DutyKind>(),
        of::<DutyResult>(),
        of::<EntryKind>(),
        of::<Environment>(),
        of::<ErasureStage>(),
        of::<Health>(),
        of::<Mode>(),
        of::<Outcome>(),
        of::<ProductRef>(),
        of::<RecheckReason>(),
        of::<RepairKind>(),
        of::<Role>(),
        of::<SaleKind>(),
        of::<Series>(),
        of::<Source>(),
        of::<State>(),
        of::<StreamStatus>(),
        of::<TopicState>(),
        of::<TransferPolicy>(),
        of::<UnknownPrice>(),
        of::<UnknownReceipts>(),
        of::<Urgency>(),
        of::<WaitsFor>(),
        of::<Wildcards>(),
    ]
}

fn of<T: TextEnum>() -> Texts {
    (T::NAME, T::texts())
}
