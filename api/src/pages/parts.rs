//! Parts that all templates share: an instant, a state, a sentence, an icon. Each is a template of its own, which
//! escapes its content; this is the only file that marks text as safe.

use super::assets;
use super::cell::{Cell, CellPart};
use super::chart::{Chart, Spark};
use super::lists::Table;
use super::text::{Piece, plain};
use askama::Template;
use askama::filters::HtmlSafe;
use domain::Timestamp;

/// An instant, in UTC. The script shows it in the reader's zone, always with its date; the layout names the zone.
#[derive(Debug, Clone, Template)]
#[template(path = "parts/moment.html")]
pub struct Moment {
    machine: String,
    shown: String,
    form: &'static str,
}

impl HtmlSafe for Moment {}

impl Moment {
    /// Returns a time of the day with its date.
    pub fn at(time: Timestamp) -> Self {
        Self {
            machine: time.to_string(),
            shown: plain(time),
            form: "at",
        }
    }

    /// Adds how long ago it was, within a day.
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

    /// Adds how long it is until then, counted down within a day.
    pub fn until(time: Timestamp) -> Self {
        Self {
            form: "until",
            ..Self::at(time)
        }
    }
}

// Each escapes what it shows.
impl HtmlSafe for Chart {}
impl HtmlSafe for Spark {}
impl HtmlSafe for Cell {}
impl HtmlSafe for CellPart {}
impl HtmlSafe for Table {}

/// How something stands: a tone is a shape and a colour, and never without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    /// On its way, or needs patience.
    Busy,
    Warn,
    Bad,
    Idle,
}

impl Tone {
    /// Name of the tone in classes and icons.
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

/// A state: a word, a shape and a colour.
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

    /// Label, where only text fits.
    pub fn label(&self) -> &str {
        &self.label
    }
}

/// A picture of the sprite. It says nothing alone.
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

/// A page beside this one, or this one.
#[derive(Debug, Clone)]
pub struct Tab {
    pub label: &'static str,
    pub path: String,
    pub is_current: bool,
}

/// The pages beside one another, with what they are called together.
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

/// A sentence of an explanation: with its instants and codes as such.
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

    /// Plain text, with instants in RFC 3339 and complete ids.
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

/// An id or another text that people copy, shortened to the eye.
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

    /// Returns an id: of a UUID and a long e-mail address the beginning is shown, and of another long id the end too:
    /// those of one store begin alike.
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
