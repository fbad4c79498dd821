//! Pages of a list. A cursor is opaque to callers: it names the last row of the page before.

use serde::Serialize;

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `next_cursor` of the page before; `None` for the first page.
    pub cursor: Option<String>,
    /// At most so many items, 1 to 1000; clamped.
    pub limit: i64,
}

impl Default for Page {
    fn default() -> Self {
        Self { cursor: None, limit: 100 }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paged<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// What to ask for next; `None` at the end of the list.
    pub next_cursor: Option<String>,
}
