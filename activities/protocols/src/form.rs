//! Forms: how the fields of a request are presented. Each kind of destination and each store describes its own form;
//! types, choices, limits and help come from the schema of the request, so that a form always matches what is accepted.

/// The group of the fields that a form folds away.
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
    /// Platforms of the app; none for all.
    Platforms,
    /// Environments; none for all.
    Environments,
    Headers,
    /// Texts, separated by commas.
    List,
    /// Waits in seconds.
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
    /// The field of the request; a field inside another one after a dot.
    pub name: &'static str,
    pub label: &'static str,
    pub input: Input,
    /// Help for the field, if the schema's description is not suitable for a form.
    pub help: Option<&'static str>,
    /// The choices with their labels; those of the schema without labels when empty.
    pub choices: &'static [(&'static str, &'static str)],
    /// The group of fields in which it is; empty for those that are always shown.
    pub group: &'static str,
    /// Whether it or another field is needed, so that neither is called optional.
    pub is_alternative: bool,
}

impl Entry {
    /// A field that is always shown.
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

    /// The field as one of several, of which one is needed.
    #[must_use]
    pub const fn alternative(self) -> Self {
        Self {
            is_alternative: true,
            ..self
        }
    }

    /// The field among those that are folded away.
    #[must_use]
    pub const fn folded(self) -> Self {
        Self {
            group: MORE,
            ..self
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub title: &'static str,
    pub text: &'static str,
    /// Where to do the step: `settle`, or the name of the other system.
    pub place: &'static str,
    /// The field of the created resource that is copied in this step, if one is.
    pub copy: Option<&'static str>,
    /// The page of the other side, if it has a fixed address.
    pub url: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The kind of destination, or the store, as requests name it.
    pub name: &'static str,
    pub label: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    pub entries: Vec<Entry>,
    /// The types of events that are offered first; the others are offered by name. All of them when empty.
    pub events: &'static [&'static str],
    /// Setup steps on the other side, in order.
    pub guide: Vec<Step>,
}

/// The name that people give to something.
pub const NAME: Entry = Entry::new("name", "Name", Input::Text)
    .help("A display name, such as the team or system behind it.");
pub const ENABLED: Entry = Entry::new("enabled", "Enable", Input::Switch)
    .help("While it is off, events are stored; they are sent when you turn it on again.");
pub const EVENTS: Entry = Entry::new("events", "Events", Input::Events).help("The events to send.");

/// The fields that every kind of destination has behind its own.
pub const LIMITS: [Entry; 6] = [
    Entry::new("filter.platforms", "Platforms", Input::Platforms)
        .help("Only events from these. Select none for all.")
        .folded(),
    Entry::new("filter.environments", "Environments", Input::Environments)
        .help("Only events of purchases in these. Select none for both.")
        .choices(&[("production", "Production"), ("sandbox", "Sandbox")])
        .folded(),
    Entry::new(
        "both_environments",
        "Combine production and sandbox in the user's state",
        Input::Switch,
    )
    .help("As before 0.1.1. Off: only purchases in the event's environment count.")
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
