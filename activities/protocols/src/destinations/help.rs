//! What the help of the command line says of a kind of destination. Each kind has its own as data.

/// What the help of `settle destination` says of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelpText {
    /// Commands that create one. An overview shows the first.
    pub examples: &'static [&'static str],
    /// What it adds to the flags that several kinds have: fields of requests, and texts without a full stop.
    pub flags: &'static [(&'static str, &'static str)],
    /// How its test sends a made-up event; `None` for a kind that sends none.
    pub sample: Option<&'static str>,
}
