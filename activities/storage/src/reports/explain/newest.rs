//! The newest rows of a list, and whether there are older ones that are not shown.

/// Maximum number of a purchase's notifications that are explained; also the maximum number of events.
pub const MAX_ROWS: i64 = 100;

/// The newest rows of a list, oldest first.
pub struct Newest<T> {
    /// The rows, at most [`MAX_ROWS`].
    pub all: Vec<T>,
    pub has_older: bool,
}

impl<T> Newest<T> {
    /// Keeps the newest [`MAX_ROWS`] rows of a list that is sorted newest first, and reverses them.
    pub fn of(mut all: Vec<T>) -> Self {
        let most = usize::try_from(MAX_ROWS).unwrap_or(usize::MAX);
        let has_older = all.len() > most;
        all.truncate(most);
        all.reverse();
        Self { all, has_older }
    }
}
