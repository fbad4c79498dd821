//! What a kind of destination reports about rendered bodies and about tests.

/// What metrics count about the rendering of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenderNotes {
    /// Number of values that were truncated or left out because they were too long.
    pub capped: u64,
    /// Why the user's external id was refused, if it was: `forbidden`, `short` or `long`.
    pub wrong_id: Option<&'static str>,
}

/// The alarm about an app that sends too much to people in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeAlarm {
    /// The kind of the alarm.
    pub alarm: &'static str,
    /// Number of an app's requests per day that raises the alarm.
    pub bound: u64,
    /// Name of the sent items, in the plural.
    pub what: &'static str,
}

/// The effect of a test of a destination, described for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestNotes {
    pub what: &'static str,
    /// Whether the test can carry a sample event.
    pub takes_sample: bool,
    /// The label of a setting that the test needs and that is missing.
    pub lacks: Option<&'static str>,
}
