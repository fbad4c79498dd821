//! The jobs of one transaction: their order, and those that it leaves out.

use super::aside::Aside;
use super::job::Job;
use super::order::{Owner, Owners, Settled};
use super::write::Write;
use crate::connection::AnyConnection;
use crate::error::Error;
use std::collections::BTreeSet;

/// Finds the owners of the settlings in a group, if they are needed: on PostgreSQL, for several settlings, or for one
/// if others are set aside.
///
/// # Errors
/// When the owners could not be read: each settling keeps the owner that its last group found, if any.
pub fn find_owners(
    group: &mut [Box<dyn Job>],
    connection: Option<&mut AnyConnection>,
    aside: &Aside,
) -> Result<(), Error> {
    let settlings = group.iter().filter_map(|job| job.order()?.settling());
    let (settled, owners): (Vec<Settled>, Vec<Owners>) = settlings.unzip();
    let first = owners
        .first()
        .filter(|_| settled.len() > 1 || !aside.is_empty());
    let (Some(connection), Some(first)) = (connection.filter(|one| one.is_shared()), first) else {
        return Ok(());
    };
    let found = (first.find)(connection, &settled)?;
    for order in group.iter_mut().filter_map(|job| job.order_mut()) {
        order.owner = order.key().and_then(|key| found.get(&key).copied());
    }
    Ok(())
}

/// Sorts the jobs of a group, so that all processes lock shared rows in the same order and do not deadlock:
/// destinations by their ids; for settlings, apps by their ids and each app's users by theirs. Jobs that are set aside
/// are at the end.
pub fn sort(group: &mut [Box<dyn Job>]) {
    group.sort_by_key(|job| {
        (
            is_aside(job.as_ref()),
            job.kind().place(),
            job.order().and_then(|order| order.owner),
        )
    });
}

/// Returns whether a group continues without this job.
pub fn is_aside(job: &dyn Job) -> bool {
    job.order().is_some_and(|order| order.is_aside)
}

/// Returns whether this job is a settling, which shares data that it reads with later settlings.
pub fn is_settling(job: &dyn Job) -> bool {
    job.order().is_some_and(|order| order.settling().is_some())
}

/// Sets aside a job whose lock was refused, and the other jobs of its user, if the job can wait. Returns whether it
/// can; these jobs are then at the end of the group.
pub fn refuse(group: &mut [Box<dyn Job>], index: usize) -> bool {
    let Some(refused) = group[index].order_mut() else {
        return false;
    };
    refused.refusals += 1;
    refused.is_aside = true;
    if let Some(user) = refused.user() {
        let others = group.iter_mut().filter_map(|job| job.order_mut());
        others
            .filter(|order| order.user() == Some(user))
            .for_each(|order| order.is_aside = true);
    }
    group.sort_by_key(|job| is_aside(job.as_ref()));
    true
}

/// Locks the owners of several settlings, and sets aside those whose app or user another transaction has locked.
pub fn lock_owners(write: &mut Write<'_>, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
    let owned: Vec<_> = jobs
        .iter()
        .filter_map(|job| job.order())
        .filter(|order| order.owner.is_some())
        .collect();
    let (first, true) = (owned.first(), owned.len() > 1) else {
        return Ok(());
    };
    let Some((_, Owners { lock, .. })) = first.and_then(|first| first.settling()) else {
        return Ok(());
    };
    let owners: BTreeSet<Owner> = owned.iter().filter_map(|order| order.owner).collect();
    let locked = lock(write, &owners)?;
    for order in jobs.iter_mut().filter_map(|job| job.order_mut()) {
        order.is_aside = order.owner.is_some_and(|owner| locked.contains(&owner));
    }
    Ok(())
}
