//! The faults, and the paths at which they happen.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Never answers; the connection stays open.
    Never,
    /// Sends the head of the answer at one byte per second.
    Drip,
    /// Answers 200, and sends the body at one byte per second.
    DripBody,
    /// Reads the request, then resets the connection.
    Reset,
    /// Reads the request, then closes the connection without an answer.
    Drop,
    /// Answers with this status and no body.
    Status(u16),
    /// Answers with this status and this `Location`.
    Redirect(u16, String),
    /// Answers 200 with a body of 10 MB.
    Big,
    /// Answers 200 with one megabyte of gzip that unpacks to more than 150 MB.
    Bomb,
    /// Answers 200 with headers that never end.
    EndlessHead,
}

impl Fault {
    /// Returns the URL path that selects this fault.
    pub fn path(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        match self {
            Self::Never => "/never".to_owned(),
            Self::Drip => "/drip".to_owned(),
            Self::DripBody => "/drip-body".to_owned(),
            Self::Reset => "/reset".to_owned(),
            Self::Drop => "/drop".to_owned(),
            Self::Status(status) => format!("/status/{status}"),
            Self::Redirect(status, place) => format!("/redirect/{status}/{}", encoded(place)),
            Self::Big => "/big".to_owned(),
            Self::Bomb => "/bomb".to_owned(),
            Self::EndlessHead => "/endless-head".to_owned(),
        }
    }

    /// Returns the fault of a path; `None` for a path without one.
    pub fn at(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        match parts[..] {
            ["never"] => Some(Self::Never),
            ["drip"] => Some(Self::Drip),
            ["drip-body"] => Some(Self::DripBody),
            ["reset"] => Some(Self::Reset),
            ["drop"] => Some(Self::Drop),
            ["status", status] => Some(Self::Status(status.parse().ok()?)),
            ["redirect", status, place] => {
                Some(Self::Redirect(status.parse().ok()?, decoded(place)))
            }
            ["big"] => Some(Self::Big),
            ["bomb"] => Some(Self::Bomb),
            ["endless-head"] => Some(Self::EndlessHead),
            _ => None,
        }
    }
}
