//! The form of a webhook, and its help texts on the command line.

use crate::destinations::help::HelpText;
use crate::destinations::unnamed;
use crate::form::{ENABLED, EVENTS, Entry, Form, Input, LIMITS, NAME, Step};

/// Help texts for webhooks.
pub const HELP: HelpText = HelpText {
    examples: &[
        "settle destination create --app ID --name backend --url https://example.com/hooks",
        "settle destination create --app ID --name backend --url https://example.com/hooks --header Authorization=@token.txt",
        "settle destination create --app ID --name chat --url https://hooks.slack.com/services/… --body slack",
    ],
    flags: &[],
    sample: Some("to a webhook with the header `webhook-test: true`"),
};

/// Returns the form of a webhook. settle generates the secrets that are not entered.
pub fn form() -> Form {
    let own = [
        unnamed::entry(),
        Entry::new("secret_url", "The URL is a secret", Input::Switch)
            .help("Encrypts it, and shows only its host. The URL of a chat is never shown.")
            .folded(),
        Entry::new("headers", "Headers", Input::Headers)
            .help("Sent with every request. Values are stored as secrets.")
            .folded(),
        Entry::new("signature", "Signature", Input::Select)
            .choices(&[
                ("v1", "Shared secret (v1)"),
                ("v1a", "Public key (v1a)"),
                ("v1,v1a", "Both"),
            ])
            .folded(),
        Entry::new("secret", "Shared secret", Input::Password)
            .help("Leave empty to create a new one, which is shown once.")
            .folded(),
        Entry::new("private_key", "Private key", Input::Password)
            .help("Leave empty to create a new one. settle shows its public half.")
            .folded(),
        Entry::new("device_batch", "Device events per request", Input::Number).folded(),
        Entry::new(
            "device_receipts",
            "Send the store's ids that devices report",
            Input::Switch,
        )
        .help(
            "Only for your own backend: the ids of a purchase and its customer together prove it.",
        )
        .folded(),
    ];
    let url =
        Entry::new("url", "URL", Input::Url).help("The HTTPS address that receives the events.");
    let body = Entry::new("body", "Body", Input::Select).choices(&[
        ("event", "The event as JSON"),
        ("slack", "A message for Slack and similar chats"),
    ]);
    let first = [NAME, url, body, ENABLED, EVENTS];
    Form {
        name: super::KIND,
        label: "Webhook",
        summary: "Sends signed requests with events to your HTTPS address.",
        entries: first.into_iter().chain(own).chain(LIMITS).collect(),
        events: &[],
        guide: vec![
            Step {
                title: "Copy the secret",
                text: "It is shown once, when settle creates it. Your endpoint verifies each request with it.",
                place: "settle",
                copy: Some("secret"),
                url: None,
                evidence: None,
            },
            Step {
                title: "Verify a request",
                text: "Requests are signed according to Standard Webhooks. Verify them with its library for your \
                     language.",
                place: "your endpoint",
                copy: None,
                url: Some("https://www.standardwebhooks.com/"),
                evidence: None,
            },
            Step {
                title: "Send a test",
                text: "This sends a request without an event, with the header `webhook-test: true`. Respond with 2xx.",
                place: "settle",
                copy: None,
                url: None,
                evidence: None,
            },
        ],
    }
}
