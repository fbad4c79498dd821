//! Notes that a kind of destination takes about rendered bodies and tests.

/// Metrics about the rendering of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenderNotes {
    /// Number of values that were truncated or left out, since they were too long.
    pub capped: u64,
    /// Why the user's external id was refused, if it was: `forbidden`, `short` or `long`.
    pub wrong_id: Option<&'static str>,
}

/// The alarm about an app that sends people too much in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeAlarm {
    /// The kind of the alarm.
    pub alarm: &'static str,
    /// Number of an app's requests per day that raises the alarm.
    pub bound: u64,
    /// Name of the sent items, in the plural.
    pub what: &'static str,
}

/// What a test of a destination does, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestNotes {
    pub what: &'static str,
    /// Whether it can carry a made-up event.
    pub takes_sample: bool,
    /// The missing setting that it needs, by its label.
    pub lacks: Option<&'static str>,
}
