//! The table of a list, on its own page or on another. This module is pure.

use crate::cell::Cell;
use crate::visit::Visit;
use askama::Template;

/// A column of a list.
pub struct Column<T> {
    pub label: &'static str,
    /// The role of the column's cells: row header, number, or other.
    role: CellRole,
    pub cell: fn(&T, &Visit) -> Cell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellRole {
    Head,
    Number,
    Other,
}

impl<T> Column<T> {
    pub const fn new(label: &'static str, cell: fn(&T, &Visit) -> Cell) -> Self {
        Self {
            label,
            role: CellRole::Other,
            cell,
        }
    }

    /// Returns the column whose cells are the row headers.
    pub const fn head(label: &'static str, cell: fn(&T, &Visit) -> Cell) -> Self {
        Self {
            label,
            role: CellRole::Head,
            cell,
        }
    }

    pub const fn number(label: &'static str, cell: fn(&T, &Visit) -> Cell) -> Self {
        Self {
            label,
            role: CellRole::Number,
            cell,
        }
    }
}

struct ColumnView {
    label: &'static str,
    is_number: bool,
}

struct CellView {
    label: &'static str,
    role: CellRole,
    cell: Cell,
}

/// A table of items.
#[derive(Template)]
#[template(path = "lists/table.html")]
pub struct Table {
    caption: String,
    columns: Vec<ColumnView>,
    rows: Vec<Vec<CellView>>,
}

impl Table {
    /// Returns the table of these items. The caption says what they are and how they are ordered.
    pub fn of<T>(caption: &str, columns: &[Column<T>], items: &[T], visit: &Visit) -> Self {
        let cell = |item: &T, column: &Column<T>| CellView {
            label: column.label,
            role: column.role,
            cell: (column.cell)(item, visit),
        };
        let column = |one: &Column<T>| ColumnView {
            label: one.label,
            is_number: one.role == CellRole::Number,
        };
        Self {
            caption: caption.to_owned(),
            columns: columns.iter().map(column).collect(),
            rows: items
                .iter()
                .map(|item| columns.iter().map(|column| cell(item, column)).collect())
                .collect(),
        }
    }
}
