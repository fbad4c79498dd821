//! The content of a table cell, or of a labelled fact. This module is pure.

use super::parts::{Badge, Code, Moment, Sentence};
use askama::Template;
use domain::Timestamp;

/// A part of a cell.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/piece.html")]
pub enum CellPart {
    Text(String),
    /// Less prominent text, for example about an unknown value.
    Muted(&'static str),
    Badge(Badge),
    Code(Code),
    Moment(Moment),
    Sentence(Sentence),
    /// The address of a page, and the content of the link.
    Link(String, Box<CellPart>),
    Changes(Vec<FieldChange>),
}

/// A changed field of an audit entry.
#[derive(Debug, Clone)]
pub struct FieldChange {
    pub field: String,
    pub before: String,
    pub after: String,
}

/// Content of a cell: its parts, and secondary lines below.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/cell.html")]
pub struct Cell {
    parts: Vec<CellPart>,
    under: Vec<Vec<CellPart>>,
}

/// A label and its value.
#[derive(Debug)]
pub struct Fact {
    pub label: &'static str,
    pub cell: Cell,
}

impl Fact {
    pub fn new(label: &'static str, cell: impl Into<Cell>) -> Self {
        Self {
            label,
            cell: cell.into(),
        }
    }
}

impl Cell {
    /// Returns an empty cell.
    pub fn none() -> Self {
        CellPart::Muted("–").into()
    }

    /// Returns a cell with a long text, which is less prominent than the other cells.
    pub fn below(part: impl Into<CellPart>) -> Self {
        Self {
            parts: Vec::new(),
            under: vec![vec![part.into()]],
        }
    }

    /// Returns a cell with the value or, if it is unknown, with a text.
    pub fn or(known: Option<impl Into<CellPart>>, unknown: &'static str) -> Self {
        known.map_or(CellPart::Muted(unknown), Into::into).into()
    }

    #[must_use]
    pub fn and(mut self, part: Option<impl Into<CellPart>>) -> Self {
        self.parts.extend(part.map(Into::into));
        self
    }

    /// Adds a secondary line with these parts.
    #[must_use]
    pub fn under(mut self, line: Vec<CellPart>) -> Self {
        self.under.extend((!line.is_empty()).then_some(line));
        self
    }

    /// Returns the cell as plain text, with times in RFC 3339 and complete ids. Links in secondary lines are left out.
    pub fn plain(&self) -> String {
        let under = self.under.iter().map(|line| {
            line.iter()
                .filter(|part| !matches!(part, CellPart::Link(..)))
        });
        let under = under.map(|line| line.collect::<Vec<_>>());
        let lines = std::iter::once(self.parts.iter().collect()).chain(under);
        let line = |parts: Vec<&CellPart>| {
            parts
                .into_iter()
                .map(CellPart::plain)
                .collect::<Vec<_>>()
                .join(" ")
        };
        lines
            .map(line)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl CellPart {
    pub fn link(path: String, shown: impl Into<Self>) -> Self {
        Self::Link(path, Box::new(shown.into()))
    }

    /// Returns a link, or only its content if the page is unknown.
    pub fn linked(path: Option<String>, shown: impl Into<Self>) -> Self {
        match path {
            Some(path) => Self::link(path, shown),
            None => shown.into(),
        }
    }

    fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Muted(_) => String::new(),
            Self::Badge(badge) => badge.label().to_owned(),
            Self::Code(code) => code.whole().to_owned(),
            Self::Moment(moment) => moment.machine().to_owned(),
            Self::Sentence(sentence) => sentence.plain(),
            Self::Link(_, shown) => shown.plain(),
            Self::Changes(all) => {
                let change =
                    |one: &FieldChange| format!("{}: {} → {}", one.field, one.before, one.after);
                all.iter().map(change).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl<T: Into<CellPart>> From<T> for Cell {
    fn from(part: T) -> Self {
        Self {
            parts: vec![part.into()],
            under: Vec::new(),
        }
    }
}

impl From<String> for CellPart {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for CellPart {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for CellPart {
    fn from(number: i64) -> Self {
        Self::Text(number.to_string())
    }
}

impl From<Badge> for CellPart {
    fn from(badge: Badge) -> Self {
        Self::Badge(badge)
    }
}

impl From<Code> for CellPart {
    fn from(code: Code) -> Self {
        Self::Code(code)
    }
}

impl From<Moment> for CellPart {
    fn from(moment: Moment) -> Self {
        Self::Moment(moment)
    }
}

/// Shows a time as how long ago it was.
impl From<Timestamp> for CellPart {
    fn from(time: Timestamp) -> Self {
        Self::Moment(Moment::ago(time))
    }
}

impl From<Sentence> for CellPart {
    fn from(sentence: Sentence) -> Self {
        Self::Sentence(sentence)
    }
}
