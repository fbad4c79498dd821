//! The purposes of the writer's jobs. On PostgreSQL each purpose has threads and connections of its own, so that no job
//! waits for one of another purpose, whose statement may wait for a lock or for the server. On SQLite, where only one
//! transaction writes at a time, one thread runs all jobs, acceptances first.

use domain::{AppId, CollapseKey, DestinationId, UserId};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The kind of a job, with its subject or the fail points around its commit. The jobs of a group are sorted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    Accept(Faults),
    Device(Faults),
    /// Works on the device events that are pending for this destination.
    Stream(DestinationId),
    /// Checks that notifications would be accepted now.
    Check,
    /// Writes to find out whether the disk has room.
    Probe,
    Record(Faults),
    /// Works on the lane of this purchase at this destination.
    Lane(DestinationId, CollapseKey),
    /// Works on the owners of this app's customers and devices. Has the first user that the job locks, if known: the
    /// jobs of a group lock apps, and each app's users, in order of their ids.
    People(AppId, Option<UserId>),
    /// Adds this process's counts to rows of this table, or renews its sign of life. The jobs of a group do so in the
    /// order of the tables.
    Count(&'static str),
    Other,
}

impl JobKind {
    /// Returns the sort key of a group's jobs, which is the kind without its fail points, so that these do not change
    /// the order.
    pub const fn place(self) -> Self {
        match self {
            Self::Accept(_) => Self::Accept(Faults::NONE),
            Self::Device(_) => Self::Device(Faults::NONE),
            Self::Record(_) => Self::Record(Faults::NONE),
            other => other,
        }
    }
}

/// The names of the fail points around a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Faults {
    /// Aborts the process before the commit.
    pub before_commit: &'static str,
    /// Aborts the process after the commit.
    pub after_commit: &'static str,
    /// Answers the job before the commit.
    pub early_answer: Option<&'static str>,
}

impl Faults {
    const NONE: Self = Self {
        before_commit: "",
        after_commit: "",
        early_answer: None,
    };
}

/// The purposes, and the number of threads of each on PostgreSQL.
const THREADS: [(Purpose, usize); 7] = [
    (Purpose::Accept, 1),
    (Purpose::Record, 4),
    (Purpose::Lanes, 4),
    (Purpose::Devices, 1),
    (Purpose::People, 2),
    (Purpose::Counts, 1),
    (Purpose::Admin, 1),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Accept,
    Record,
    Lanes,
    Devices,
    /// Logins, logouts and names of customers, and verified claims.
    People,
    /// Counts for charts and of the devices' usage; signs of life.
    Counts,
    /// Anything else, and everything on SQLite.
    Admin,
}

impl Purpose {
    /// Returns whether the purpose's statements find rows by a purchase, a user or a lane, so that a generic plan is
    /// good for all values. The other purposes also read pages of tables.
    pub const fn is_by_key(self) -> bool {
        !matches!(self, Self::Counts | Self::Admin)
    }

    /// Returns whether the callers of the purpose's jobs retry them: activities, and apps whose customers log in.
    pub const fn is_tried_again(self) -> bool {
        matches!(self, Self::Record | Self::Lanes | Self::People)
    }

    /// Returns the name of the purpose, a label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Record => "record",
            Self::Lanes => "lanes",
            Self::Devices => "devices",
            Self::People => "people",
            Self::Counts => "counts",
            Self::Admin => "admin",
        }
    }
}

/// Returns the purpose of each thread on PostgreSQL.
pub fn threads() -> Vec<Purpose> {
    THREADS
        .iter()
        .flat_map(|(purpose, threads)| std::iter::repeat_n(*purpose, *threads))
        .collect()
}

impl JobKind {
    /// Returns whether the job is an acceptance, for which a store waits, or checks that acceptances succeed.
    pub const fn is_acceptance(self) -> bool {
        matches!(self, Self::Accept(_) | Self::Check)
    }

    /// Returns whether the job adds rows, so that its commit shows that the disk has room.
    pub const fn adds_rows(self) -> bool {
        matches!(
            self,
            Self::Accept(_) | Self::Device(_) | Self::Record(_) | Self::Probe
        )
    }

    /// Returns the fail points around the job's commit, if there are any.
    pub const fn faults(self) -> Option<Faults> {
        match self {
            Self::Accept(faults) | Self::Device(faults) | Self::Record(faults) => Some(faults),
            Self::Check
            | Self::Probe
            | Self::Lane(..)
            | Self::Stream(_)
            | Self::People(..)
            | Self::Count(_)
            | Self::Other => None,
        }
    }

    pub const fn purpose(self) -> Purpose {
        match self {
            Self::Accept(_) | Self::Check => Purpose::Accept,
            Self::Device(_) | Self::Stream(_) => Purpose::Devices,
            Self::Record(_) => Purpose::Record,
            Self::Lane(..) => Purpose::Lanes,
            Self::People(..) => Purpose::People,
            Self::Count(_) => Purpose::Counts,
            Self::Probe | Self::Other => Purpose::Admin,
        }
    }

    /// Returns the index of the thread that runs jobs of this kind on PostgreSQL. If a purpose has several threads,
    /// each runs the jobs of certain purchases or apps, so that two jobs of one purchase or app do not wait for each
    /// other's locks.
    pub fn thread(self, settled: Option<CollapseKey>) -> usize {
        let (purpose, hash) = match self {
            Self::Record(_) => (Purpose::Record, settled.map(hash)),
            Self::Lane(_, key) => (Purpose::Lanes, Some(hash(key))),
            Self::People(app, _) => (Purpose::People, Some(hash(app))),
            other => (other.purpose(), None),
        };
        let mut first = 0;
        for (other, threads) in THREADS {
            if other == purpose {
                return first + hash.unwrap_or(0) % threads;
            }
            first += threads;
        }
        0
    }
}

/// Hashes an id, to distribute purchases or apps over the threads of a purpose.
fn hash(id: impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    usize::try_from(hasher.finish() >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::PlatformId;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    const FAULTS: Faults = Faults {
        before_commit: "",
        after_commit: "",
        early_answer: None,
    };

    #[test]
    fn no_two_purposes_share_a_thread() {
        let platform = PlatformId::new(Uuid::nil());
        let keys = || (0..200).map(|number| CollapseKey::of(platform, &number.to_string()));
        let threads = |kind: JobKind| {
            keys()
                .map(move |key| kind.thread(Some(key)))
                .collect::<BTreeSet<_>>()
        };
        let lane = |key| JobKind::Lane(DestinationId::new(Uuid::nil()), key).thread(None);
        let login =
            |number| JobKind::People(AppId::new(Uuid::from_u128(number)), None).thread(None);
        let all = [
            threads(JobKind::Accept(FAULTS)),
            threads(JobKind::Record(FAULTS)),
            keys().map(lane).collect(),
            threads(JobKind::Device(FAULTS)),
            (0..200).map(login).collect(),
            threads(JobKind::Count("minutes")),
            threads(JobKind::Other),
        ];
        assert_eq!(
            all.iter().map(BTreeSet::len).collect::<Vec<_>>(),
            [1, 4, 4, 1, 2, 1, 1]
        );
        assert_eq!(
            all.iter().flatten().collect::<BTreeSet<_>>().len(),
            super::threads().len()
        );
    }
}
