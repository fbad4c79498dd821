//! How the engine holds the quiet window of a purchase that has no open run: a setting of the installation.

/// What holds a quiet window until its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QuietWindow {
    /// A timer of the run, which begins at once and answers the query `status` meanwhile.
    #[default]
    Timer,
    /// The start delay of the run, which has no workflow task before the window ends.
    StartDelay,
}

impl QuietWindow {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Timer, Self::StartDelay];

    /// Its name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::StartDelay => "start-delay",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.as_str() == name)
    }
}
