//! The order of a job in its group, and the time for which it is set aside. Settlings are ordered by the apps and users
//! of their purchases.

use super::purpose::JobKind;
use super::write::Write;
use crate::connection::AnyConnection;
use crate::error::Error;
use domain::{AppId, CollapseKey, UserId};
use std::collections::{BTreeSet, HashMap};
use tokio::time::Instant;

/// A settling, whose job locks the app and the user of the purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub key: CollapseKey,
    /// Number of the newest notification that it settles.
    pub newest: Option<i64>,
}

/// The app and the user of a purchase.
pub type Owner = (AppId, UserId);

/// A function that finds the apps and users of purchases. A job whose user is not found has no order.
pub type Find = fn(&mut AnyConnection, &[Settled]) -> Result<HashMap<CollapseKey, Owner>, Error>;

/// A function that locks apps and users until the end of the transaction, without waiting. Returns those that another
/// transaction has locked.
pub type Lock = fn(&mut Write<'_>, &BTreeSet<Owner>) -> Result<BTreeSet<Owner>, Error>;

/// The functions that find and lock the owners of purchases.
#[derive(Debug, Clone, Copy)]
pub struct Owners {
    pub find: Find,
    pub lock: Lock,
}

/// The order of a job besides its kind, and the time for which it is set aside.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub(super) subject: OrderedBy,
    /// The owner of a settled purchase, as of its last group.
    pub(super) owner: Option<Owner>,
    /// Whether the group continues without the job.
    pub(super) is_aside: bool,
    /// When the job was first set aside.
    pub(super) since: Option<Instant>,
    /// When the job runs again; `None` if it is not scheduled.
    pub(super) due: Option<Instant>,
    /// How often a statement of the job itself, not one of its group, was refused a lock.
    pub(super) refusals: u32,
}

/// The subject by which a job is ordered.
#[derive(Debug, Clone, Copy)]
pub enum OrderedBy {
    Settling(Settled, Owners),
    /// An app, and the first of the users that the job locks, if that is known.
    People(AppId, Option<UserId>),
}

impl Order {
    pub const fn of(settled: Settled, owners: Owners) -> Self {
        Self::on(OrderedBy::Settling(settled, owners))
    }

    /// Returns the order of a job of this kind that is not a settling; `None` if it is never set aside.
    pub(super) const fn of_kind(kind: JobKind) -> Option<Self> {
        match kind {
            JobKind::People(app, user) => Some(Self::on(OrderedBy::People(app, user))),
            _ => None,
        }
    }

    const fn on(subject: OrderedBy) -> Self {
        Self {
            subject,
            owner: None,
            is_aside: false,
            since: None,
            due: None,
            refusals: 0,
        }
    }

    pub(super) const fn settling(&self) -> Option<(Settled, Owners)> {
        match self.subject {
            OrderedBy::Settling(settled, owners) => Some((settled, owners)),
            OrderedBy::People(..) => None,
        }
    }

    /// Returns the key of the settled purchase.
    pub(super) fn key(&self) -> Option<CollapseKey> {
        self.settling().map(|(settled, _)| settled.key)
    }

    /// Returns the user whose jobs stay in their order of arrival.
    pub(super) fn user(&self) -> Option<UserId> {
        match self.subject {
            OrderedBy::Settling(..) => self.owner.map(|(_, user)| user),
            OrderedBy::People(_, user) => user,
        }
    }

    /// Returns the app whose number of jobs in a group is limited.
    pub(super) const fn app(&self) -> Option<AppId> {
        match self.subject {
            OrderedBy::Settling(..) => None,
            OrderedBy::People(app, _) => Some(app),
        }
    }
}
