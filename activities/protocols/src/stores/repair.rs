//! The repair of a platform: what is read from its store apart from purchases, because a notification may be lost. Like
//! a check, it is a state machine without I/O.

use super::answer::Answer;
use super::check::Bucket;
use crate::http::Request;
use domain::Timestamp;
use storage::{FoundNotification, RecordedOrder};

/// A part of a repair, which ends with one outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairTask {
    /// A page of the list of voided payments.
    Voids {
        /// The list begins with the voids that the store recorded at this time.
        since: Timestamp,
        /// When the first page was requested.
        began_at: Timestamp,
        /// The store's token of the page; `None` for the first one.
        page: Option<String>,
    },
    /// Orders that the ledger has.
    Orders(Vec<RecordedOrder>),
    /// A page of the store's history of notifications, of all environments that the platform accepts.
    Notifications {
        /// The history begins with the notifications of this time, or later if the store lists less.
        since: Timestamp,
        /// When the first page was requested.
        began_at: Timestamp,
        /// The store's token of the page, after what else the store's folder needs to continue, such as the
        /// environment; `None` for the first page.
        page: Option<String>,
        /// Whether only those are wanted that the store could not deliver.
        only_failures: bool,
    },
    /// A request that the store sends a test notification to the URL that it has for the subject's environment. A
    /// request that the store accepts finds nothing: the notification arrives like any other.
    Test,
}

/// The next step of a part of a repair.
#[derive(Debug)]
pub enum RepairStep {
    /// Sends a request within the rate of its bucket, with an access token if the store issues them.
    Send(Box<Request>, Bucket),
    Done(RepairOutcome),
}

/// The result of a part of a repair.
#[derive(Debug)]
pub enum RepairOutcome {
    Found(RepairPage),
    /// The page is no longer there: the list has to be read from its beginning.
    Restart,
    /// The store does not do it until an admin changes a setting there. The sentence states which one, begins with a
    /// small letter and has no full stop. It never repeats the store's own text.
    Declined(&'static str),
    /// The store refuses the credential, or the request has to be repeated.
    Failed(Answer),
}

/// What a part of a repair found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairPage {
    /// Notifications whose message ids are the store's, or follow from what they report, so that a repetition has no
    /// effect.
    pub notifications: Vec<FoundNotification>,
    /// Number of entries that cannot be parsed.
    pub unreadable: usize,
    /// The store's token of the next page; `None` for the last one.
    pub next: Option<String>,
}
