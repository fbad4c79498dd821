//! The form of an email destination, and its help texts on the command line.

use crate::destinations::help::HelpText;
use crate::form::{ENABLED, EVENTS, Entry, Form, Input, LIMITS, NAME, Step};

/// Help texts for email destinations.
pub const HELP: HelpText = HelpText {
    examples: &[
        "settle destination create --app ID --name on-call --kind email --to ops@example.com --event alarm.*",
    ],
    flags: &[("rate", "1 by default")],
    sample: Some("by email with `Test` in the subject"),
};

/// Returns the form of an email destination.
pub fn form() -> Form {
    let own = [
        NAME,
        Entry::new("to", "Recipients", Input::List).help("1 to 10 addresses, separated by commas."),
        ENABLED,
        Entry {
            help: Some(
                "One email for each event. Device events cannot be chosen, nor can wildcards that include customers' \
                 events: they would flood a mailbox.",
            ),
            ..EVENTS
        },
        Entry::new("subject_prefix", "Beginning of subjects", Input::Text).folded(),
    ];
    Form {
        name: super::KIND,
        label: "Email",
        summary: "Emails people about chosen events, through the configured SMTP server.",
        entries: own.into_iter().chain(LIMITS).collect(),
        events: &[],
        guide: vec![
            Step {
                title: "Set the SMTP server",
                text: "Whoever runs settle sets `mail.url` and `mail.from`. Without them, this kind of destination is refused.",
                place: "the configuration",
                copy: None,
                url: None,
                evidence: None,
            },
            Step {
                title: "Send a test",
                text: "This sends an email without an event to all recipients.",
                place: "settle",
                copy: None,
                url: None,
                evidence: None,
            },
        ],
    }
}
