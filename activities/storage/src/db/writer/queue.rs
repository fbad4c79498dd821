//! The queue of a writing thread. Jobs are written in groups; one that accepts notifications does not wait for the group
//! that is being written, but for one transaction of it.

use super::job::Job;
use super::{MAX_GROUP_ITEMS, MAX_GROUP_JOBS};
use tokio::sync::mpsc;

/// The jobs that a thread has received, and those that it has not.
pub struct Queue {
    jobs: mpsc::Receiver<Box<dyn Job>>,
    /// Received while a group was being written: they are in its next transaction.
    urgent: Vec<Box<dyn Job>>,
    /// The other ones: they are in the next group.
    later: Vec<Box<dyn Job>>,
}

impl Queue {
    pub const fn new(jobs: mpsc::Receiver<Box<dyn Job>>) -> Self {
        Self { jobs, urgent: Vec::new(), later: Vec::new() }
    }

    /// Waits for a job, and returns it with those that wait behind it. `None` when the last handle is dropped.
    pub fn group(&mut self) -> Option<Vec<Box<dyn Job>>> {
        let mut group = std::mem::take(&mut self.urgent);
        group.append(&mut self.later);
        if group.is_empty() {
            group.push(self.jobs.blocking_recv()?);
        }
        let mut items = items(&group);
        while group.len() < MAX_GROUP_JOBS && items < MAX_GROUP_ITEMS {
            let Ok(job) = self.jobs.try_recv() else { break };
            items += job.items();
            group.push(job);
        }
        Some(group)
    }

    /// Whether a job came that does not wait for the group.
    pub fn has_urgent(&mut self) -> bool {
        while self.later.len() < MAX_GROUP_JOBS && items(&self.urgent) < MAX_GROUP_ITEMS {
            let Ok(job) = self.jobs.try_recv() else { break };
            if job.kind().is_urgent() { self.urgent.push(job) } else { self.later.push(job) }
        }
        !self.urgent.is_empty()
    }

    /// The jobs that came meanwhile and do not wait for the group.
    pub fn take_urgent(&mut self) -> Vec<Box<dyn Job>> {
        if self.has_urgent() { std::mem::take(&mut self.urgent) } else { Vec::new() }
    }
}

fn items(jobs: &[Box<dyn Job>]) -> usize {
    jobs.iter().map(|job| job.items()).sum()
}
