//! The newest rows of a list, and whether there are older ones.

/// Maximum number of notifications and of events of a purchase that are explained, the newest.
pub const MOST: i64 = 100;

/// The newest notifications or events, the oldest of them first.
pub struct Newest<T> {
    /// At most [`MOST`].
    pub all: Vec<T>,
    /// Whether there are older ones.
    pub has_older: bool,
}

impl<T> Newest<T> {
    /// At most [`MOST`] of these, which are the newest first.
    pub fn of(mut all: Vec<T>) -> Self {
        let most = usize::try_from(MOST).unwrap_or(usize::MAX);
        let has_older = all.len() > most;
        all.truncate(most);
        all.reverse();
        Self { all, has_older }
    }
}
