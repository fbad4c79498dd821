#![doc = include_str!("../README.md")]

mod admin;
mod delivery;
mod devices;
mod events;
#[cfg(feature = "fixtures")]
pub mod fixtures;
mod inbox;
mod people;
mod purchases;
mod redelivery;
mod reports;
mod settings;
mod settling;
mod store;

pub use admin::adopt::{Adopted, Adoption};
pub use admin::apps::App;
pub use admin::audited_changes::AuditedChange;
pub use admin::catalogue::changes::{Condition, MAX_UNMAPPED, UnmappedSku};
pub use admin::catalogue::{
    Catalogue, Change, EntitlementText, MAX_LISTED, MAX_PER_PRODUCT, NEW_ENTITLEMENT, Product,
    entitlement_id,
};
pub use admin::customers::{Customer, CustomerKey, Owner};
pub use admin::device_quota::{DeviceQuota, DeviceUsage, PlatformDay};
#[cfg(feature = "fail-points")]
pub use admin::erasure::erased_columns;
pub use admin::erasure::{
    DeletionRequest, DeletionState, DeletionStatus, Erase, Erasure, ErasurePreview, ErasureStage,
    RequestOutcome,
};
pub use admin::ingress_key::{OldIngressKey, Recipient, Recipients};
pub use admin::keys::{ApiKey, HashedKey, NewKey, Role, key_hash};
pub use admin::naming::{CustomerNames, CustomerPurchases, Naming, NamingCondition};
pub use admin::platforms::{NewPlatform, Platform, PlatformChange, PlatformSettings};
pub use admin::processes::{Process, ShownProcesses};
pub use admin::rates::Rate;
#[cfg(feature = "fail-points")]
pub use admin::rekey::secret_columns;
pub use admin::rekey::{Left, TurnCursor, Turned};
pub use admin::reviews::Answered;
pub use admin::sales::{Difference, ImportedSales, NewSale, Unmatched};
pub use admin::sign_ins::{FoundSignIn, Link, LinkEnd, NewLink, Person, SignIn};
pub use admin::stored_enums::stored_enums;
pub use admin::stored_json::{JSON_COLUMNS, JsonColumn};
pub use admin::transfers::{CustomerMove, MoveCondition, PlannedMove};
pub use db::alarm::About;
pub use db::audit_log::Actor;
pub use db::config::{Config, Database, Installation, Key};
pub use db::counts::{Counted, SERIES, Series, Sum};
pub use db::disk::{Disk, Space};
pub use db::error::{Cause, Error, Unproved, chain};
pub use db::fault;
pub use db::low_mark::SLOW as SLOW_READ;
pub use db::page::{Page, Paged};
pub use db::postgres::address::{Address as PostgresAddress, Invalid as InvalidAddress};
pub use db::reader::taking_turns;
pub use db::refusal::Refusal;
pub use db::run::Run;
pub use db::schema::{Planned, Progress};
pub use db::secrets::{hex, key_id};
#[cfg(feature = "fail-points")]
pub use db::sql::{Complete, all as statements, without_lock};
pub use db::startup::{create_tables, migrate, planned};
pub use delivery::class::{AttemptClass, Repair};
pub use delivery::destination_need::{DestinationNeed, LanesInBackoff};
pub use delivery::health::HealthView;
pub use delivery::lanes::{
    Attempt, Batch, DeliveryResult, EndpointSignal, EventResult, Finish, FinishResult, Idle,
    LaneState, Lease, LeaseResult, Mode, Render, Rendered, Sibling, Unsent, Verdict,
};
pub use delivery::last_sweep::LastSweep;
pub use delivery::late::LateDestinations;
pub use delivery::overdue::{Due, DueReason, Overdue, Postponed, Quota};
pub use delivery::stream::finish::{
    StreamFinished, StreamRequest, StreamResult, StreamStatus, StreamVerdict, Tried,
};
pub use delivery::stream::start::{StreamStart, StreamStarted};
pub use delivery::stream::{StreamBatch, StreamLease, StreamPage, StreamWait, StreamedEvent};
pub use delivery::unnamed::LONGEST_WAIT;
pub use devices::accept::AcceptedReports;
pub use devices::claims::accept::ClaimCounts;
pub use devices::claims::due::ClaimPage;
pub use devices::claims::reported::Claiming;
pub use devices::request::{DeviceReport, DeviceRequest, SignedReceipt};
pub use devices::secret::SecretHash;
pub use events::alarms::{STORE_SILENT, VERIFICATION_WAITS};
pub use events::status::DeliveryStatus;
pub use inbox::notifications::{Accepted, Handling, NewNotification, Open, SIGNED};
pub use inbox::requests::{GivesWay, PendingTopic, TopicRequest};
pub use inbox::topics::{Released, Topic, TopicState};
pub use inbox::traces::SettlingTrace;
pub use inbox::waiting::WaitingResult;
pub use people::announcing::AnnouncedTransfers;
pub use people::claims::{ClaimAnswer, ClaimResult, ClaimStep};
pub use people::login::LoggedIn;
pub use people::login_context::Login;
pub use people::movement::{Author, Cause as TransferCause};
pub use people::moves::Moved;
pub use people::reviews::Review;
pub use people::transfers::{MAX_TRANSFERS, MovedRows, Transfer};
pub use purchases::cause::{CauseKind, RevisionCause, RevisionCauses};
pub use purchases::duties::{DutyKind, DutyResult, FirstAttempt, NewDuty};
pub use purchases::purchase::WaitsFor;
pub use purchases::users::StoreCustomer;
pub use redelivery::page::{Redelivered, Requeued};
pub use redelivery::runs::RunMode;
pub use redelivery::verdict::Skipped;
pub use reports::alarms::{Alarm, AlarmFilter};
pub use reports::arrivals::ArrivalView;
pub use reports::audit_log::{AuditEntryView, AuditLogFilter};
pub use reports::check::{CheckedRows, RuleFindings, rules};
pub use reports::connecting::PlatformProgress;
pub use reports::customer::{
    Announcement, AnnouncementStatus, CustomerName, CustomerStatus, DeviceAccess, MoveSince, Past,
};
pub use reports::deliveries::{AttemptView, DeliveryFilter, DeliveryView, SentBody};
pub use reports::device_events::{
    DeviceDeliveryView, DeviceEventExplanation, DeviceEventFacts, DeviceEventFilter,
    DeviceEventFull, DeviceEventView,
};
pub use reports::duties::{DutyCounts, DutyView};
pub use reports::events::{EventFilter, EventView};
pub use reports::explain::{
    Addressee, AnnouncedEvent, Backlog, ClaimView, Concerned, DestinationExplanation,
    EventExplanation, EventFacts, MessageExplanation, PaymentFacts, PurchaseExplanation,
    ReceivedNotification, STATED_TIME, Sending, Stated, Successor,
};
pub use reports::feed::FeedEntry;
pub use reports::figures::{DestinationHealth, Figures, SkippedEvents};
pub use reports::listing::{PurchaseFilter, PurchaseStatus, PurchaseView};
pub use reports::minutes::{Counting, Minutes, SeriesFilter};
pub use reports::notifications::{NotificationFilter, NotificationView, OutcomeFilter, WaitingFor};
pub use reports::overview::{
    DestinationOverview, LatestChanges, NamedDestination, OpenWindow, Overview,
};
pub use reports::payments::{PaymentSubject, PaymentView};
pub use reports::pending::{FailedDelivery, PendingDeliveries};
pub use reports::processes::RunningProcess;
pub use reports::revenue::{Differs, Integration, RevenueCheck, RevenueFilter, RevenueLine};
pub use reports::scope::Subject;
pub use reports::search::{FoundKind, SearchHit};
pub use reports::setup::{SetupFacts, StoreTest};
pub use reports::shown_state::{ShownDestination, ShownState};
pub use reports::silent::SilentStore;
pub use reports::store_names::FoundCustomer;
pub use reports::unchosen::{UnchosenPayment, UnchosenType};
pub use settings::credential::{StorePart, StorePartChange};
pub use settings::destinations::{
    Destination, DestinationChange, DestinationSettings, Filter, NewDestination, Traits,
};
pub use settling::duties::{DutyAttempt, DutyPage, LeasedDuty};
pub use settling::payments::Earned;
pub use settling::repairs::{
    DueRepair, FoundNotification, OrderPlace, RecordedOrder, RepairKind, RepairLease,
};
pub use settling::verification::{CredentialRefusal, StoreQuery, Unanswered};
pub use store::{MAX_COUNTS, Store};

pub use domain::settling::{Loaded, Record, Recorded};
pub use secrecy::{ExposeSecret, SecretString};
