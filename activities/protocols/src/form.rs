//! Forms: how the fields of a request are presented. Each kind of destination and each store describes its own form;
//! types, choices, limits and help come from the schema of the request, so that a form always matches what is accepted.

/// The group of the fields that a form collapses by default.
pub const MORE: &str = "More";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Text,
    /// A secret, which is never shown again.
    Password,
    Url,
    Number,
    Switch,
    Select,
    Events,
    /// Platforms of the app; none selected means all.
    Platforms,
    /// Environments; none selected means all.
    Environments,
    Headers,
    /// Texts, separated by commas.
    List,
    /// Waits in seconds, separated by commas.
    Waits,
}

impl Input {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Password => "password",
            Self::Url => "url",
            Self::Number => "number",
            Self::Switch => "switch",
            Self::Select => "select",
            Self::Events => "events",
            Self::Platforms => "platforms",
            Self::Environments => "environments",
            Self::Headers => "headers",
            Self::List => "list",
            Self::Waits => "waits",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Name of the request's field; for a nested field, its path with dots, such as `filter.platforms`.
    pub name: &'static str,
    pub label: &'static str,
    pub input: Input,
    /// Help for the field, if the schema's description does not suit a form.
    pub help: Option<&'static str>,
    /// The choices with their labels. If empty, the schema's choices are offered without labels.
    pub choices: &'static [(&'static str, &'static str)],
    /// Name of the group that contains the field; empty if the field is always shown.
    pub group: &'static str,
    /// Whether the field is one of several alternatives, one of which is required. None of them is marked as optional.
    pub is_alternative: bool,
}

impl Entry {
    /// Returns a field that is always shown.
    pub const fn new(name: &'static str, label: &'static str, input: Input) -> Self {
        Self {
            name,
            label,
            input,
            help: None,
            choices: &[],
            group: "",
            is_alternative: false,
        }
    }

    #[must_use]
    pub const fn help(self, help: &'static str) -> Self {
        Self {
            help: Some(help),
            ..self
        }
    }

    #[must_use]
    pub const fn choices(self, choices: &'static [(&'static str, &'static str)]) -> Self {
        Self { choices, ..self }
    }

    /// Marks the field as one of several alternatives, one of which is required.
    #[must_use]
    pub const fn alternative(self) -> Self {
        Self {
            is_alternative: true,
            ..self
        }
    }

    /// Puts the field into the collapsed group [`MORE`].
    #[must_use]
    pub const fn folded(self) -> Self {
        Self {
            group: MORE,
            ..self
        }
    }
}

/// What to do about messages of a store that are refused for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remedy {
    /// The stable reason for the refusal.
    pub reason: &'static str,
    /// What to do, in one sentence.
    pub action: &'static str,
}

/// The stored facts that show whether a setup step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupEvidence {
    /// No fact shows it. The sentence says how to check it.
    Invisible(&'static str),
    /// A message at the notification URL, accepted or refused.
    Request,
    /// An accepted message, unless a later one was refused for one of these reasons.
    Message(&'static [Remedy]),
    /// A message that was accepted, or refused for one of these reasons, unless another one was refused for a reason
    /// with a remedy since the last accepted one.
    Passage(&'static [Remedy], &'static [&'static str]),
    /// An accepted message, unless a later one was refused for any reason. The remedies are for reasons that no other
    /// step is about.
    LastMessage(&'static [Remedy]),
    /// The store's own setting with this name, unless a message was refused for one of these reasons since the last
    /// accepted one.
    Setting(&'static str, &'static [Remedy]),
    /// An accepted test notification of this type, which a person sends at the store.
    Test(&'static str),
    /// An accepted test notification of this type, which settle requests. A request that the store declines for one of
    /// these reasons is a problem of this step.
    RequestedTest(&'static str, &'static [&'static str]),
    /// Stored credentials, unless the store refuses them for one of these reasons.
    Credentials(&'static [&'static str]),
    /// A query that the store answered since the credentials were set, unless it refuses them for one of these reasons.
    Query(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub title: &'static str,
    pub text: &'static str,
    /// Where to do the step: `settle`, or the name of the other system.
    pub place: &'static str,
    /// The field of the created resource that is copied in this step, if any; for a nested field, its path with dots.
    pub copy: Option<&'static str>,
    /// URL of the other system's page, if it is fixed.
    pub url: Option<&'static str>,
    /// What shows whether the step is done; `None` if the step shows nothing of that.
    pub evidence: Option<SetupEvidence>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The kind of destination, or the store, as requests name it.
    pub name: &'static str,
    pub label: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    pub entries: Vec<Entry>,
    /// Event types that are offered first; the others can be chosen by name. If empty, all are offered.
    pub events: &'static [&'static str],
    /// Setup steps, in order.
    pub guide: Vec<Step>,
}

/// The display name of a destination.
pub const NAME: Entry = Entry::new("name", "Name", Input::Text)
    .help("A display name, such as the team or system that receives the events.");
pub const ENABLED: Entry = Entry::new("enabled", "Enable", Input::Switch)
    .help("While this is off, events are stored; they are sent once you turn it on again.");
pub const EVENTS: Entry = Entry::new("events", "Events", Input::Events).help("The events to send.");

/// The fields that every kind of destination has. They follow the kind's own fields.
pub const LIMITS: [Entry; 6] = [
    Entry::new("filter.platforms", "Platforms", Input::Platforms)
        .help("Only events from these platforms. Select none for all.")
        .folded(),
    Entry::new("filter.environments", "Environments", Input::Environments)
        .help("Only events of purchases in these environments. Select none for both.")
        .choices(&[("production", "Production"), ("sandbox", "Sandbox")])
        .folded(),
    Entry::new(
        "both_environments",
        "Combine production and sandbox in the user's state",
        Input::Switch,
    )
    .help("On: purchases in both count, as before 0.1.1. Off: only those in the event's environment count.")
    .folded(),
    Entry::new("rate", "Requests per second", Input::Number)
        .help("Leave empty for the default of this type of destination.")
        .folded(),
    Entry::new("concurrency", "Concurrent requests", Input::Number)
        .help("Leave empty for 32.")
        .folded(),
    Entry::new("schedule", "Retry waits", Input::Waits)
        .help(
            "Seconds, separated by commas, for example 5, 300, 3600. Leave empty for the default.",
        )
        .folded(),
];
