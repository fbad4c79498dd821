//! The order of a group's jobs, and those that it goes on without. Settlings are ordered by the apps and users of their
//! purchases.

use super::aside::Aside;
use super::job::Job;
use super::purpose::JobKind;
use super::write::Write;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use domain::{AppId, CollapseKey, UserId};
use std::collections::{BTreeSet, HashMap};
use tokio::time::Instant;

/// A settling, whose job locks the app and the user of the purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub key: CollapseKey,
    /// The newest notification that it settles.
    pub newest: Option<i64>,
}

/// The app and the user of a purchase.
pub type Owner = (AppId, UserId);

/// Finds the apps and users of purchases. A job whose user is not found is in no order.
pub type Find = fn(&mut AnyConnection, &[Settled]) -> Result<HashMap<CollapseKey, Owner>, Error>;

/// Locks apps and users until the end of the transaction, without waiting. Returns those that another transaction has
/// locked.
pub type Lock = fn(&mut Write<'_>, &BTreeSet<Owner>) -> Result<BTreeSet<Owner>, Error>;

/// How the owners of purchases are found and locked.
#[derive(Debug, Clone, Copy)]
pub struct Owners {
    pub find: Find,
    pub lock: Lock,
}

/// What a job is ordered by beside its kind, and how long it is set aside.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    pub(super) subject: Subject,
    /// The owner of a settled purchase, as of its last group.
    pub(super) owner: Option<Owner>,
    /// Whether its group goes on without it.
    pub(super) is_aside: bool,
    /// When it was first set aside.
    pub(super) since: Option<Instant>,
    /// When it is run again.
    pub(super) due: Option<Instant>,
    /// How often a lock was refused to it, and not to its group.
    pub(super) refusals: u32,
}

/// What a job works on.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    Settling(Settled, Owners),
    /// An app, and the first of the users that the job locks, if that is known.
    People(AppId, Option<UserId>),
}

impl Order {
    pub const fn of(settled: Settled, owners: Owners) -> Self {
        Self::on(Subject::Settling(settled, owners))
    }

    /// The order of a job of this kind that is no settling, if it may be set aside.
    pub(super) const fn of_kind(kind: JobKind) -> Option<Self> {
        match kind {
            JobKind::People(app, user) => Some(Self::on(Subject::People(app, user))),
            _ => None,
        }
    }

    const fn on(subject: Subject) -> Self {
        Self { subject, owner: None, is_aside: false, since: None, due: None, refusals: 0 }
    }

    const fn settling(&self) -> Option<(Settled, Owners)> {
        match self.subject {
            Subject::Settling(settled, owners) => Some((settled, owners)),
            Subject::People(..) => None,
        }
    }

    /// The key of the settled purchase.
    pub(super) fn key(&self) -> Option<CollapseKey> {
        self.settling().map(|(settled, _)| settled.key)
    }

    /// The user whose jobs stay in their order.
    pub(super) fn user(&self) -> Option<UserId> {
        match self.subject {
            Subject::Settling(..) => self.owner.map(|(_, user)| user),
            Subject::People(_, user) => user,
        }
    }

    /// The app of whose jobs a group has a share.
    pub(super) const fn app(&self) -> Option<AppId> {
        match self.subject {
            Subject::Settling(..) => None,
            Subject::People(app, _) => Some(app),
        }
    }
}

/// Finds the owners of the settlings in a group, where they are needed: where other processes write too, for several
/// settlings, and for one if others are set aside.
///
/// # Errors
/// The owners could not be read: each settling has the one of its last group, if any.
pub fn find_owners(
    group: &mut [Box<dyn Job>],
    connection: Option<&mut AnyConnection>,
    aside: &Aside,
) -> Result<(), Error> {
    let settlings = group.iter().filter_map(|job| job.order()?.settling());
    let (settled, owners): (Vec<Settled>, Vec<Owners>) = settlings.unzip();
    let first = owners.first().filter(|_| settled.len() > 1 || !aside.is_empty());
    let (Some(connection), Some(first)) = (connection.filter(|one| one.is_shared()), first) else { return Ok(()) };
    let found = (first.find)(connection, &settled)?;
    for order in group.iter_mut().filter_map(|job| job.order_mut()) {
        order.owner = order.key().and_then(|key| found.get(&key).copied());
    }
    Ok(())
}

/// Sorts the jobs of a group, so that all processes lock what several jobs share in the same order and do not deadlock:
/// destinations by their ids, for settlings apps by theirs, and the users of each app by theirs. Those that are set aside
/// are at the end.
pub fn sort(group: &mut [Box<dyn Job>]) {
    group.sort_by_key(|job| (is_aside(job.as_ref()), job.kind(), job.order().and_then(|order| order.owner)));
}

/// Whether a group goes on without this job.
pub fn is_aside(job: &dyn Job) -> bool {
    job.order().is_some_and(|order| order.is_aside)
}

/// Whether this job is a settling, which shares what it reads with those after it.
pub fn is_settling(job: &dyn Job) -> bool {
    job.order().is_some_and(|order| order.settling().is_some())
}

/// Sets a job aside whose lock was refused, and those of its user with it, if it is one that can wait. Returns whether
/// it is; they are at the end of the group then.
pub fn refuse(group: &mut [Box<dyn Job>], index: usize) -> bool {
    let Some(refused) = group[index].order_mut() else { return false };
    refused.refusals += 1;
    refused.is_aside = true;
    if let Some(user) = refused.user() {
        let others = group.iter_mut().filter_map(|job| job.order_mut());
        others.filter(|order| order.user() == Some(user)).for_each(|order| order.is_aside = true);
    }
    group.sort_by_key(|job| is_aside(job.as_ref()));
    true
}

/// Locks the owners of several settlings, and sets those aside whose app or user another transaction has locked.
pub fn lock_owners(write: &mut Write<'_>, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
    let owned: Vec<_> = jobs.iter().filter_map(|job| job.order()).filter(|order| order.owner.is_some()).collect();
    let (first, true) = (owned.first(), owned.len() > 1) else { return Ok(()) };
    let Some((_, Owners { lock, .. })) = first.and_then(|first| first.settling()) else { return Ok(()) };
    let owners: BTreeSet<Owner> = owned.iter().filter_map(|order| order.owner).collect();
    let locked = lock(write, &owners)?;
    for order in jobs.iter_mut().filter_map(|job| job.order_mut()) {
        order.is_aside = order.owner.is_some_and(|owner| locked.contains(&owner));
    }
    Ok(())
}
