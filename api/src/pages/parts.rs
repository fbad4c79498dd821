//! Parts that all templates share: a time, a state, a sentence, an icon. Each has its own template, which escapes its
//! content; this is the only file that marks text as safe.

use super::assets;
use super::cell::{Cell, CellPart};
use super::chart::{Chart, Spark};
use super::lists::Table;
use super::text::{Piece, plain};
use askama::Template;
use askama::filters::HtmlSafe;
use domain::Timestamp;

/// A time, in UTC. The script shows it in the reader's time zone, always with its date; the layout names the zone.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/moment.html")]
pub struct Moment {
    machine: String,
    shown: String,
    form: &'static str,
}

impl HtmlSafe for Moment {}

impl Moment {
    /// Returns a time of day with its date.
    pub fn at(time: Timestamp) -> Self {
        Self {
            machine: time.to_string(),
            shown: plain(time),
            form: "at",
        }
    }

    /// Returns a past time. Within a day, how long ago it was is added.
    pub fn ago(time: Timestamp) -> Self {
        Self {
            form: "ago",
            ..Self::at(time)
        }
    }

    /// Returns the time in RFC 3339.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// Returns a future time. Within a day, the time until then is added and counted down.
    pub fn until(time: Timestamp) -> Self {
        Self {
            form: "until",
            ..Self::at(time)
        }
    }
}

// The template of each type escapes what it shows.
impl HtmlSafe for Chart {}
impl HtmlSafe for Spark {}
impl HtmlSafe for Cell {}
impl HtmlSafe for CellPart {}
impl HtmlSafe for Table {}

/// The tone of a state: a shape and a colour, never without the state's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    /// In progress, or to be waited for.
    Busy,
    Warn,
    Bad,
    Idle,
}

impl Tone {
    /// Returns the name of the tone in classes and icons.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Idle => "idle",
        }
    }
}

/// A state: a label, a shape and a colour.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/badge.html")]
pub struct Badge {
    tone: Tone,
    label: String,
    icon: Icon,
}

impl HtmlSafe for Badge {}

impl Badge {
    pub fn new(tone: Tone, label: impl Into<String>) -> Self {
        Self {
            tone,
            label: label.into(),
            icon: Icon::new(tone.as_str()),
        }
    }

    /// Returns the label, for places that allow only text.
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// An image of the sprite. It is decorative.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "parts/icon.html")]
pub struct Icon {
    file: &'static str,
    name: &'static str,
}

impl HtmlSafe for Icon {}

impl Icon {
    pub fn new(name: &'static str) -> Self {
        Self {
            file: assets::path("icons.svg"),
            name,
        }
    }
}

/// A tab: a page beside the current one, or the current page.
#[derive(Debug, Clone)]
pub struct Tab {
    pub label: &'static str,
    pub path: String,
    pub is_current: bool,
}

/// Tabs for related pages, with their common label.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/tabs.html")]
pub struct Tabs {
    label: &'static str,
    tabs: Vec<Tab>,
}

impl HtmlSafe for Tabs {}

impl Tabs {
    pub fn new(label: &'static str, tabs: impl Into<Vec<Tab>>) -> Self {
        Self {
            label,
            tabs: tabs.into(),
        }
    }
}

/// A sentence of an explanation, with its times and codes marked up.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/sentence.html")]
pub struct Sentence {
    pieces: Vec<Piece>,
}

impl HtmlSafe for Sentence {}

impl Sentence {
    pub fn new(text: &str) -> Self {
        Self {
            pieces: super::text::pieces(text),
        }
    }

    /// Returns the sentence as plain text, with times in RFC 3339 and complete ids.
    pub fn plain(&self) -> String {
        let plain = |piece: &Piece| match piece {
            Piece::Text(text)
            | Piece::Code(text)
            | Piece::Instant(text, _)
            | Piece::Id(text, _) => text.clone(),
        };
        self.pieces.iter().map(plain).collect()
    }
}

/// An id or another text to be copied, which is displayed shortened.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/code.html")]
pub struct Code {
    whole: String,
    shown: String,
}

impl HtmlSafe for Code {}

impl Code {
    pub fn whole(&self) -> &str {
        &self.whole
    }

    /// Returns an id. A UUID and a long email address are shortened to their beginning; any other long id keeps its end
    /// too, because ids of one store begin alike.
    pub fn short(text: impl ToString) -> Self {
        const UUID: usize = 36;
        const MAX_WHOLE: usize = 32;
        let whole = text.to_string();
        let count = whole.chars().count();
        let is_uuid = whole.len() == UUID && uuid::Uuid::parse_str(&whole).is_ok();
        let (begin, end) = match () {
            () if is_uuid => (13, 0),
            () if count <= MAX_WHOLE => (count, 0),
            () if whole.contains('@') => (MAX_WHOLE - 1, 0),
            () => (16, 4),
        };
        let shown = match begin + end < count {
            true => whole
                .chars()
                .take(begin)
                .chain(['…'])
                .chain(whole.chars().skip(count - end))
                .collect(),
            false => whole.clone(),
        };
        Self { whole, shown }
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn only_a_long_id_is_shortened_and_a_uuid() {
        for (whole, shown) in [
            ("quinn@example.com", "quinn@example.com"),
            ("radio.gold.monthly", "radio.gold.monthly"),
            ("b5448337-463f-57b6-8732-3fe49979f505", "b5448337-463f…"),
            (
                "sample.tina-test.4UQYAViQ0dJlQ3k4fsdxNO4oWiprtZk",
                "sample.tina-test…rtZk",
            ),
            (
                "amzn1.account.AEV7JUDJSB7YXQ2KJNHH5MGD3F7Q",
                "amzn1.account.AE…3F7Q",
            ),
            (
                "amzn1.account.AEZ2QKX4WBT6PLM3RSVU7YCD9K4A",
                "amzn1.account.AE…9K4A",
            ),
            (
                "a.very.long.name.of.a.person@mail.example.com",
                "a.very.long.name.of.a.person@ma…",
            ),
        ] {
            let code = Code::short(whole);
            assert_eq!((code.whole(), code.shown.as_str()), (whole, shown));
        }
    }
}
