//! The command line's help texts for a kind of destination. Each kind provides its own as data.

/// Help texts of `settle destination` for a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelpText {
    /// Commands that create a destination of this kind. An overview shows the first.
    pub examples: &'static [&'static str],
    /// Additions to the help of flags that several kinds share: the field's name in requests, and a text without a full
    /// stop.
    pub flags: &'static [(&'static str, &'static str)],
    /// How a test sends a sample event; `None` for a kind that sends no samples.
    pub sample: Option<&'static str>,
}
