//! What the app on devices needs from its platform: the key, the URL, and whether logins are signed. This module is
//! pure.

use super::steps::Connected;
use crate::action::Action;
use crate::change::Mistakes;
use crate::frame::Frame;
use crate::once::{Once, ShownOnce};
use crate::parts::{Badge, Sentence, Tone};
use crate::visit::Visit;
use serde_json::Value;
use storage::Role;
use url::Url;

/// The part of the page about devices.
pub struct Devices {
    pub key: String,
    pub address: String,
    pub signed: (Badge, &'static str),
    pub actions: Vec<Action>,
    /// The secret that was just created.
    pub secret: Option<Once>,
}

impl Devices {
    /// Returns the part about a platform, from the platform as the API shows it.
    pub fn new(
        frame: &Frame,
        visit: &Visit,
        of: &Connected,
        value: &Value,
        mistakes: &Mistakes,
    ) -> Self {
        let is_signed = value["signed_login"] == true;
        Self {
            key: value["publishable_key"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            address: String::new(),
            signed: if is_signed {
                (
                    Badge::new(Tone::Good, "signed logins"),
                    "Each login needs a token that your server signs with the login secret.",
                )
            } else {
                (
                    Badge::new(Tone::Idle, "not signed"),
                    "A login needs no token of your server.",
                )
            },
            actions: match frame.may(Role::Operator) {
                true => actions(visit, of, is_signed, mistakes),
                false => Vec::new(),
            },
            secret: None,
        }
    }

    /// Adds settle's URL, and a secret that only this page shows.
    #[must_use]
    pub fn with(self, public_url: &Url, once: &ShownOnce) -> Self {
        let note = "Your server signs the token of each login with it: JWT, HS256, the external id as `sub`, and `exp`.";
        let secret = once.text("login_secret").map(|secret| Once {
            label: "Login secret".to_owned(),
            value: secret.to_owned(),
            note: Some(Sentence::new(note)),
        });
        Self {
            address: format!("{}/v1/device", public_url.as_str().trim_end_matches('/')),
            secret,
            ..self
        }
    }
}

fn actions(visit: &Visit, of: &Connected, is_signed: bool, mistakes: &Mistakes) -> Vec<Action> {
    let action = |name: &str, title, what: &str| {
        let path = of.path(visit, &format!("/{name}"));
        Action::new(path, name, title, what, mistakes).irrevocable()
    };
    let (title, what) = if is_signed {
        (
            "New login secret",
            "Creates a new secret and shows it once. The current one stops working at once: logins signed with it are \
             refused.",
        )
    } else {
        (
            "Require signed logins",
            "Creates a secret for your server and shows it once. From then on, a login without a token that is signed \
             with it is refused.",
        )
    };
    let unsigned = action(
        "unsigned-logins",
        "Accept logins without a token",
        "Deletes the login secret. From then on, anyone with the app can log in as any customer on their own device.",
    );
    let key = action(
        "rotate-publishable-key",
        "New publishable key",
        "Creates a new key. The current one stops working at once, in every installed app that has it.",
    );
    [
        Some(action("login-secret", title, what)),
        is_signed.then_some(unsigned),
        Some(key),
    ]
    .into_iter()
    .flatten()
    .collect()
}
