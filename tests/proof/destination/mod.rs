//! A kind of destination for the proof: each event and each answer is one line over TCP.

mod transport;

pub use transport::Lines;

use domain::Timestamp;
use domain::time::duration;
use protocols::destinations::schedule::Schedule;
use protocols::destinations::{
    Allowed, ChangedSettings, Connector, Exchange, HelpText, Invalid, Kind, KindSchemas,
    NewSettings, TestNotes,
};
use protocols::form::{ENABLED, EVENTS, Entry, Form, Input, LIMITS, NAME};
use protocols::outgoing::{Incoming, Outgoing};
use protocols::wire::{Message, Reply};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use std::time::Duration;
use storage::{
    Attempt, AttemptClass, DeliveryResult, Destination, EndpointSignal, Rendered, Traits, Unsent,
};
use url::Url;

/// The kind of destinations that are servers for lines.
pub struct Line;

/// A stored destination, ready for sending.
#[derive(Debug)]
struct Config {
    address: Url,
    token: SecretString,
    schedule: Schedule,
}

impl Kind for Line {
    fn name(&self) -> &'static str {
        "line"
    }

    fn schemas(&self) -> KindSchemas {
        let address = json!({ "type": "string", "description": "Where the server listens: `line://HOST:PORT`." });
        let token =
            json!({ "type": "string", "writeOnly": true, "description": "Begins each line." });
        KindSchemas {
            kind: "line",
            created: Map::from_iter([
                ("address".to_owned(), address.clone()),
                ("password".to_owned(), token),
            ]),
            required: &["address", "password"],
            on_creation: &[],
            rules: &[("address", "With a port.")],
            change_rules: &[],
            shown: Map::from_iter([("address".to_owned(), address)]),
            example: json!({ "kind": "line", "name": "bus", "address": "line://bus.internal:9000", "password": "c0ffee" }),
        }
    }

    fn form(&self) -> Form {
        let own = [
            NAME,
            Entry::new("address", "Address", Input::Text),
            Entry::new("password", "Password", Input::Password).help("The server compares it."),
            ENABLED,
            EVENTS,
        ];
        Form {
            name: "line",
            label: "Line",
            summary: "Sends each event as a line over TCP.",
            entries: own.into_iter().chain(LIMITS).collect(),
            events: &[],
            guide: Vec::new(),
        }
    }

    fn help_text(&self) -> HelpText {
        HelpText {
            examples: &[
                "settle destination create --app ID --name bus --kind line --address line://bus:9000 --password @password.txt",
            ],
            flags: &[],
            sample: None,
        }
    }

    fn create(
        &self,
        fields: &Map<String, Value>,
        allowed: &Allowed,
        _: [u8; 32],
    ) -> Result<NewSettings, Vec<Invalid>> {
        let changed = self.change(&json!({}), &"".into(), fields, allowed)?;
        Ok(NewSettings {
            settings: changed.settings,
            secret: changed.secret,
            shown: changed.shown,
            traits: Traits::default(),
        })
    }

    fn change(
        &self,
        before: &Value,
        secret: &SecretString,
        fields: &Map<String, Value>,
        _: &Allowed,
    ) -> Result<ChangedSettings, Vec<Invalid>> {
        let (mut settings, mut secret) = (before.clone(), secret.clone());
        for (name, value) in fields {
            match (name.as_str(), value.as_str()) {
                ("address", Some(_)) => settings["address"] = value.clone(),
                ("password", Some(token)) => secret = token.into(),
                _ => return Err(vec![Invalid::new(name, "a text of this kind")]),
            }
        }
        address(&settings).map_err(|wrong| vec![wrong])?;
        Ok(ChangedSettings {
            settings,
            secret,
            shown: Vec::new(),
            profile: None,
        })
    }

    fn ready(
        &self,
        destination: &Destination,
        secret: &SecretString,
        _: &Allowed,
    ) -> Result<Box<dyn Connector>, Invalid> {
        Ok(Box::new(Config {
            address: address(&destination.settings)?,
            token: secret.clone(),
            schedule: Schedule::new(destination.schedule.as_deref()),
        }))
    }

    fn render(&self, _: &Destination, unsent: &Unsent) -> Rendered {
        Rendered::Body(unsent.body.to_string())
    }

    fn test_notes(&self, _: &Value) -> TestNotes {
        TestNotes {
            what: "Sends a line without an event.",
            takes_sample: false,
            lacks: None,
        }
    }
}

fn address(settings: &Value) -> Result<Url, Invalid> {
    let url = settings["address"]
        .as_str()
        .and_then(|text| text.parse().ok());
    url.filter(|url: &Url| url.scheme() == "line" && url.port().is_some())
        .ok_or_else(|| Invalid::new("address", "line://HOST:PORT"))
}

impl Config {
    fn line(&self, id: &str, body: &str) -> Outgoing {
        let payload = format!("{} {id} {body}\n", self.token.expose_secret()).into_bytes();
        Outgoing::from(Message {
            address: self.address.clone(),
            payload,
            app: None,
        })
    }
}

impl Connector for Config {
    fn request(&self, _: Timestamp, attempts: &[Attempt]) -> Result<Outgoing, Invalid> {
        match attempts {
            [one] => Ok(self.line(&one.delivery_id.to_string(), &one.body)),
            _ => Err(Invalid::new("attempts", "one event")),
        }
    }

    fn first_wait(&self) -> Duration {
        duration(self.schedule.first_ms())
    }

    fn judge(&self, exchange: Exchange<'_>) -> DeliveryResult {
        let failing = EndpointSignal::Failure { pause: None };
        let (class, error, signal) = match exchange.reply.wire().into_owned() {
            Reply::Answer {
                status: 200..=299, ..
            } => (AttemptClass::Success, None, EndpointSignal::Success),
            Reply::Answer { status, .. } => {
                let error = format!("the server answered {status}");
                (AttemptClass::ServerError, Some(error), failing)
            }
            Reply::Failure { class, message } => (class, Some(message), failing),
        };
        exchange.judged(&self.schedule, class, error, signal)
    }

    fn redact(&self, text: &str) -> String {
        text.replace(self.token.expose_secret(), "[redacted]")
    }

    fn test(&self, _: Timestamp, id: &str, _: Option<&Value>) -> Result<Outgoing, Invalid> {
        Ok(self.line(id, "{}"))
    }

    fn describe_test(&self, reply: &Incoming) -> Result<String, String> {
        match &*reply.wire() {
            Reply::Answer {
                status: 200..=299,
                text,
            } => Ok(text.clone()),
            Reply::Answer { text, .. } => Err(text.clone()),
            Reply::Failure { message, .. } => Err(message.clone()),
        }
    }
}
