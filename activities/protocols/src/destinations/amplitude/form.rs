//! The form of an Amplitude integration, and its help texts on the command line. The form has the documented fields in
//! their documented order, then the other keys, then the remaining fields in the collapsed group.

use crate::destinations::help::HelpText;
use crate::destinations::unnamed;
use crate::form::{ENABLED, EVENTS, Entry, Form, Input, LIMITS, NAME, Step};

/// Help texts for Amplitude integrations.
pub const HELP: HelpText = HelpText {
    examples: &[
        "settle destination create --app ID --name analytics --kind amplitude --endpoint standard --api-key @api-key.txt",
        r#"printf %s "$KEY" | settle destination create --app ID --name analytics --kind amplitude --endpoint eu --api-key -"#,
    ],
    flags: &[(
        "rate",
        "at most 90, the default, because Amplitude allows 100",
    )],
    sample: None,
};

pub fn form() -> Form {
    let documented = [
        Entry { label: "Enable Integration", ..ENABLED },
        NAME,
        Entry::new("endpoint", "URL", Input::Select).help("Choose the region of your Amplitude project.").choices(&[
            ("standard", "Standard Endpoint – https://api2.amplitude.com/2/httpapi"),
            ("eu", "EU Residency Endpoint – https://api.eu.amplitude.com/2/httpapi"),
        ]),
        Entry::new("api_key", "API Key", Input::Password)
            .help("The API key of the project that receives production events. Enter this key, the Sandbox API Key, or both.")
            .alternative(),
        Entry::new("user_id", "User ID", Input::Select)
            .help("Which id identifies a customer in Amplitude. Most apps use the External ID.")
            .choices(&[("external_id", "External ID"), ("user_id", "settle User ID")]),
        EVENTS,
        Entry::new("sandbox_api_key", "Sandbox API Key", Input::Password)
            .help("The API key of another project, for test purchases. Without it their events are skipped.")
            .alternative(),
        Entry::new("secret_key", "Secret Key", Input::Password)
            .help("Needed to test the connection and to delete users."),
    ];
    let others = [
        unnamed::entry(),
        Entry::new("min_id_length", "Minimum length of an id", Input::Number)
            .help("As set in your Amplitude project.")
            .folded(),
        Entry::new("prefix", "Prefix of user properties", Input::Text).folded(),
        Entry::new("partner_id", "Partner ID", Input::Text).folded(),
        Entry::new("user_properties", "User properties", Input::Select)
            .choices(&[
                ("documented", "The documented eight"),
                ("extended", "The documented eight and six more"),
            ])
            .folded(),
    ];
    Form {
        name: super::KIND,
        label: "Amplitude",
        summary: "Sends events and user properties to an Amplitude project through its HTTP V2 API.",
        entries: documented.into_iter().chain(others).chain(LIMITS).collect(),
        events: domain::event::listed(),
        guide: vec![
            Step {
                title: "Open the project",
                text: "In Amplitude: Organization Settings, then Projects, then the project that receives the events.",
                place: "Amplitude",
                copy: None,
                url: Some("https://app.amplitude.com/"),
                evidence: None,
            },
            Step {
                title: "Copy the API Key",
                text: "Copy the API Key into this form. To test the connection, copy the Secret Key too.",
                place: "Amplitude",
                copy: None,
                url: None,
                evidence: None,
            },
        ],
    }
}
