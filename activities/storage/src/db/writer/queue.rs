//! The queue of a writing thread. Jobs are written in groups; one that accepts notifications does not wait for the group
//! that is being written, but for one transaction of it.

use tokio::sync::mpsc;

/// Maximum number of jobs in a group.
pub const MAX_GROUP_JOBS: usize = 1024;
/// A group with this many items takes no further job.
const MAX_GROUP_ITEMS: usize = 4096;

/// What the queue must know of a job.
pub trait Queued {
    /// Whether it does not wait for the group that is being written.
    fn is_urgent(&self) -> bool;
    /// Number of its items.
    fn size(&self) -> usize;
}

/// The jobs that a thread has received, and those that it has not.
pub struct Queue<T> {
    jobs: mpsc::Receiver<T>,
    /// Received while a group was being written: they are in its next transaction.
    urgent: Vec<T>,
    /// The other ones: they are in the next group.
    later: Vec<T>,
}

impl<T: Queued> Queue<T> {
    pub const fn new(jobs: mpsc::Receiver<T>) -> Self {
        Self { jobs, urgent: Vec::new(), later: Vec::new() }
    }

    /// Waits for a job, and returns it with those that wait behind it. `None` when the last handle is dropped.
    pub fn group(&mut self) -> Option<Vec<T>> {
        let mut group = std::mem::take(&mut self.urgent);
        group.append(&mut self.later);
        if group.is_empty() {
            group.push(self.jobs.blocking_recv()?);
        }
        let mut items = size(&group);
        while group.len() < MAX_GROUP_JOBS && items < MAX_GROUP_ITEMS {
            let Ok(job) = self.jobs.try_recv() else { break };
            items += job.size();
            group.push(job);
        }
        Some(group)
    }

    /// Whether a job came that does not wait for the group.
    pub fn has_urgent(&mut self) -> bool {
        while self.later.len() < MAX_GROUP_JOBS && size(&self.urgent) < MAX_GROUP_ITEMS {
            let Ok(job) = self.jobs.try_recv() else { break };
            if job.is_urgent() { self.urgent.push(job) } else { self.later.push(job) }
        }
        !self.urgent.is_empty()
    }

    /// The jobs that came meanwhile and do not wait for the group.
    pub fn take_urgent(&mut self) -> Vec<T> {
        if self.has_urgent() { std::mem::take(&mut self.urgent) } else { Vec::new() }
    }
}

fn size<T: Queued>(jobs: &[T]) -> usize {
    jobs.iter().map(Queued::size).sum()
}
