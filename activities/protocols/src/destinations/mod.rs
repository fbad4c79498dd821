//! Destinations of events: one folder per kind, and the list of kinds in this file.
//!
//! Pure: settings, requests and replies are values. `activities::http` sends the requests.

mod allowed;
pub mod amplitude;
pub mod email;
mod redaction;
pub mod schedule;
mod schemas;
pub mod sentence;
mod settings;
mod shown;
mod unnamed;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use allowed::{Allowed, Exception};
pub use schedule::{ScheduleText, check_schedule};
pub use schemas::KindSchemas;
pub use shown::{has_secret_url, sealed, shown, shown_entry, shown_settings};

use crate::form::Form;
use crate::http::{Reply, Request};
use domain::time::duration;
use domain::user::Attributes;
use domain::{DeliveryId, Timestamp};
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;
use storage::{Attempt, DeliveryResult, Destination, Rendered, StreamedEvent, Traits, Unsent};

/// An invalid value of a field or a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: expected {expected}")]
pub struct Invalid {
    /// The field, as it is named in the API.
    pub field: String,
    /// The expected form of the value. Never repeats a secret.
    pub expected: String,
}

impl Invalid {
    /// A field and the expected value.
    pub fn new(field: &str, expected: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            expected: expected.into(),
        }
    }
}

/// A new destination, built by its kind from the fields of a request.
#[derive(Debug, Clone)]
pub struct NewSettings {
    /// The settings, which are stored in plain text and shown.
    pub settings: Value,
    /// The secrets as JSON in the kind's own form, which storage encrypts.
    pub secret: SecretString,
    /// The secrets to show once, by their names in the API.
    pub shown: Vec<(&'static str, SecretString)>,
    /// How the kind takes events: order, batches and wildcards.
    pub traits: Traits,
}

/// A changed destination, as its kind builds it from the fields of a request.
#[derive(Debug, Clone)]
pub struct ChangedSettings {
    pub settings: Value,
    pub secret: SecretString,
    /// The secrets to show once, by their names in the API.
    pub shown: Vec<(&'static str, SecretString)>,
    /// The user attributes in its profiles after the change; `None` for a kind without profiles.
    pub profile: Option<Attributes>,
}

/// The replacement of a secret, and how long the old one signs too. Debug output shows neither secrets nor random
/// bytes.
#[derive(Clone)]
pub struct Rotation {
    /// The new secret; `None` generates one.
    pub new_secret: Option<SecretString>,
    /// The time until which the old secret signs requests too.
    pub until: Timestamp,
    pub now: Timestamp,
    /// Random bytes for a new secret.
    pub random: [u8; 32],
}

impl fmt::Debug for Rotation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            new_secret,
            until,
            now,
            random: _,
        } = self;
        let mut shown = formatter.debug_struct("Rotation");
        shown
            .field("new_secret", new_secret)
            .field("until", until)
            .field("now", now)
            .finish_non_exhaustive()
    }
}

/// One request with its reply, to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The events of the request, in its order.
    pub events: &'a [Attempt],
    pub reply: &'a Reply,
    /// The current time by the database's clock.
    pub at: Timestamp,
    /// A random number from 0 to 1, which spreads retries.
    pub jitter: f64,
}

/// What metrics count about the rendering of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenderNotes {
    /// Number of values that were truncated or left out, since they were too long.
    pub capped: u64,
    /// Why the user's external id was refused, if it was: `forbidden`, `short` or `long`.
    pub wrong_id: Option<&'static str>,
}

/// What a test of a destination does, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestNotes {
    pub what: &'static str,
    /// Whether it can carry a made-up event.
    pub takes_sample: bool,
    /// The missing setting that it needs, by its label.
    pub lacks: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub enum Config {
    /// An HTTPS endpoint that receives signed events.
    Webhook(webhook::Config),
    /// A project of the analytics vendor.
    Amplitude(amplitude::Config),
    /// People who get mails.
    Email(email::Config),
}

impl Config {
    /// Whether its requests carry the trace context, in the header `traceparent`.
    pub const fn takes_trace(&self) -> bool {
        matches!(self, Self::Webhook(_))
    }

    /// Whether people read what the named kind gets.
    pub fn is_for_people(kind: &str) -> bool {
        kind == email::KIND
    }

    /// The named kind's maximum number of requests a second, if it has one.
    pub fn max_rate(kind: &str) -> Option<i64> {
        match kind {
            amplitude::KIND => Some(amplitude::config::RATE),
            _ => None,
        }
    }

    /// The number of requests a second of a destination of the named kind that sets none; `None` for no limit.
    pub fn usual_rate(kind: &str) -> Option<i64> {
        if kind == email::KIND {
            Some(email::RATE)
        } else {
            Self::max_rate(kind)
        }
    }

    /// Whether a destination of the named kind can choose this event type or wildcard.
    pub fn takes(kind: &str, choice: &str) -> bool {
        kind != email::KIND || email::config::takes(choice)
    }

    /// The expected events, if the named kind does not take one of the chosen.
    pub fn expected_events(kind: &str, chosen: &[String]) -> Option<String> {
        let refused = chosen.iter().find(|choice| !Self::takes(kind, choice))?;
        Some(format!("{}, and not `{refused}`", email::config::TAKEN))
    }

    /// The API fields of the named kind; `None` when there is no such kind.
    pub fn fields(kind: &str) -> Option<&'static KindSchemas> {
        Self::schemas().iter().find(|schemas| schemas.kind == kind)
    }

    /// The default schedule of the named kind, as the command line shows it.
    pub fn schedule_text(kind: &str) -> ScheduleText {
        match kind {
            amplitude::KIND => amplitude::SCHEDULE,
            email::KIND => email::SCHEDULE,
            _ => webhook::SCHEDULE,
        }
    }

    /// The API fields of each kind, as JSON Schemas.
    pub fn schemas() -> &'static [KindSchemas] {
        static SCHEMAS: LazyLock<[KindSchemas; 3]> = LazyLock::new(|| {
            [
                webhook::schemas::schemas(),
                amplitude::schemas::schemas(),
                email::schemas::schemas(),
            ]
        });
        &*SCHEMAS
    }

    pub fn forms() -> Vec<Form> {
        vec![
            webhook::form::form(),
            amplitude::form::form(),
            email::form::form(),
        ]
    }

    /// Builds the settings and secrets of a new destination of the named kind. Unknown fields are refused.
    ///
    /// # Errors
    /// All invalid fields, or an unknown kind.
    pub fn create(
        kind: &str,
        fields: &Map<String, Value>,
        allowed: &Allowed,
        random: [u8; 32],
    ) -> Result<NewSettings, Vec<Invalid>> {
        match kind {
            webhook::KIND => webhook::config::create(fields, allowed, random),
            amplitude::KIND => amplitude::config::create(fields, allowed),
            email::KIND => email::config::create(fields, allowed),
            other => Err(vec![unknown(other)]),
        }
    }

    /// Changes the fields that the request contains and leaves the others; null removes an optional one.
    ///
    /// # Errors
    /// All invalid fields.
    pub fn change(
        destination: &Destination,
        secret: &SecretString,
        fields: &Map<String, Value>,
        allowed: &Allowed,
    ) -> Result<ChangedSettings, Vec<Invalid>> {
        match destination.kind.as_str() {
            webhook::KIND => {
                webhook::config::change(&destination.settings, secret, fields, allowed)
            }
            amplitude::KIND => {
                amplitude::config::change(&destination.settings, secret, fields, allowed)
            }
            email::KIND => email::config::change(&destination.settings, secret, fields, allowed),
            other => Err(vec![unknown(other)]),
        }
    }

    /// Replaces the secret that signs requests; the old one signs too until the overlap ends.
    ///
    /// # Errors
    /// The new secret is invalid, or the kind signs nothing.
    pub fn rotate(
        destination: &Destination,
        secret: &SecretString,
        rotation: &Rotation,
    ) -> Result<ChangedSettings, Invalid> {
        match destination.kind.as_str() {
            webhook::KIND => webhook::config::rotate(&destination.settings, secret, rotation),
            other => Err(Invalid::new(
                "kind",
                format!("`{}`: nothing is signed for `{other}`", webhook::KIND),
            )),
        }
    }

    /// The warning that sandbox events are skipped, if the destination lacks what its kind needs for them.
    pub fn sandbox_warning(destination: &Destination) -> Option<&'static str> {
        match destination.kind.as_str() {
            amplitude::KIND => amplitude::config::sandbox_warning(&destination.settings),
            _ => None,
        }
    }

    /// Builds the configuration of a stored destination.
    ///
    /// # Errors
    /// The first setting or secret that is unusable.
    pub fn ready(
        destination: &Destination,
        secret: &SecretString,
        allowed: &Allowed,
    ) -> Result<Self, Invalid> {
        match destination.kind.as_str() {
            webhook::KIND => {
                webhook::config::ready(destination, secret, allowed).map(Self::Webhook)
            }
            amplitude::KIND => {
                amplitude::config::ready(destination, secret, allowed).map(Self::Amplitude)
            }
            email::KIND => email::config::ready(destination, allowed).map(Self::Email),
            other => Err(unknown(other)),
        }
    }

    /// Renders an event for a destination. The body is frozen: every attempt sends it.
    pub fn render(destination: &Destination, unsent: &Unsent) -> Rendered {
        match destination.kind.as_str() {
            webhook::KIND => webhook::body::render(destination, unsent),
            amplitude::KIND => amplitude::body::render(destination, unsent),
            email::KIND => email::body::render(destination, unsent),
            other => Rendered::Refuse {
                why: unknown(other).to_string(),
            },
        }
    }

    /// Renders an event of a device for a destination. It depends on the stored event and on settings that name the
    /// customer alone.
    pub fn render_streamed(destination: &Destination, event: &StreamedEvent) -> Rendered {
        match destination.kind.as_str() {
            webhook::KIND => webhook::body::render_streamed(destination, event),
            amplitude::KIND => amplitude::device::render(destination, event),
            email::KIND => Rendered::Refuse {
                why: "device events are not emailed".to_owned(),
            },
            other => Rendered::Refuse {
                why: unknown(other).to_string(),
            },
        }
    }

    /// What metrics count about the call of [`Self::render`] that returned `rendered`.
    pub fn render_notes(
        destination: &Destination,
        unsent: &Unsent,
        rendered: &Rendered,
    ) -> RenderNotes {
        match destination.kind.as_str() {
            amplitude::KIND => amplitude::body::render_notes(destination, unsent, rendered),
            _ => RenderNotes::default(),
        }
    }

    /// The request with one event, or with several if the kind takes batches. `at` is the time of this attempt.
    ///
    /// # Errors
    /// The events or the secret do not fit this kind.
    pub fn request(&self, at: Timestamp, attempts: &[Attempt]) -> Result<Request, Invalid> {
        match self {
            Self::Webhook(config) => webhook::request::request(config, at, attempts),
            Self::Amplitude(config) => amplitude::request::request(config, attempts),
            Self::Email(config) => email::request::request(config, at, attempts),
        }
    }

    /// Maximum number of events of devices in a request.
    pub fn per_streamed_request(&self, destination: &Destination) -> usize {
        match self {
            Self::Webhook(config) => config.device_batch,
            Self::Amplitude(_) => usize::try_from(destination.per_request).unwrap_or(1).max(1),
            Self::Email(_) => 1,
        }
    }

    /// The id of a request with these events of devices as a batch; `None` if its kind, or its settings, have no batches that
    /// are sent again as they were.
    pub fn batch_id(&self, attempts: &[Attempt]) -> Option<DeliveryId> {
        match self {
            Self::Webhook(config) => webhook::request::batch_id(config, attempts),
            Self::Amplitude(_) | Self::Email(_) => None,
        }
    }

    /// The request with these events of devices.
    ///
    /// # Errors
    /// The events or the secret do not fit this kind.
    pub fn streamed_request(
        &self,
        at: Timestamp,
        attempts: &[Attempt],
    ) -> Result<Request, Invalid> {
        match self {
            Self::Webhook(config) => webhook::request::streamed(config, at, attempts),
            Self::Amplitude(config) => amplitude::request::request(config, attempts),
            Self::Email(config) => email::request::request(config, at, attempts),
        }
    }

    /// The names of the headers of its requests, in lower case and in their order.
    pub fn header_names(&self) -> Vec<String> {
        match self {
            Self::Webhook(config) => webhook::request::header_names(config),
            Self::Amplitude(_) => amplitude::request::HEADERS
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            Self::Email(_) => email::request::HEADERS.map(str::to_owned).to_vec(),
        }
    }

    /// A frozen body of a destination of the named kind as a request has it: without what is sent beside it.
    pub fn sent_body(kind: &str, frozen: String) -> String {
        match kind {
            amplitude::KIND => {
                amplitude::body::Frozen::read(&frozen).map_or(frozen, amplitude::body::Frozen::sent)
            }
            _ => frozen,
        }
    }

    /// The first wait of the schedule.
    pub fn first_wait(&self) -> Duration {
        match self {
            Self::Webhook(config) => duration(config.schedule.first_ms()),
            Self::Amplitude(config) => duration(config.schedule.first_ms()),
            Self::Email(config) => duration(config.schedule.first_ms()),
        }
    }

    /// Why a frozen event can never be sent: its key was removed. A sentence for people; `None` when it can be sent.
    pub fn lacks_key(&self, attempt: &Attempt) -> Option<String> {
        match self {
            Self::Webhook(_) | Self::Email(_) => None,
            Self::Amplitude(config) => amplitude::request::lacks_key(config, attempt),
        }
    }

    /// Judges a reply for each event and for the destination as a whole.
    pub fn judge(&self, exchange: Exchange<'_>) -> DeliveryResult {
        match self {
            Self::Webhook(config) => webhook::response::judge(config, exchange),
            Self::Amplitude(config) => amplitude::response::judge(config, exchange),
            Self::Email(config) => email::response::judge(config, exchange),
        }
    }

    /// Time after an event's first attempt when it is no longer sent; `None` for no limit.
    pub const fn gives_up_after(&self) -> Option<Duration> {
        match self {
            Self::Webhook(_) | Self::Email(_) => None,
            Self::Amplitude(_) => Some(amplitude::GIVES_UP_AFTER),
        }
    }

    /// Time without a success after which a failed request disables the destination.
    pub const fn disable_after(&self) -> Duration {
        match self {
            Self::Webhook(_) => webhook::DISABLE_AFTER,
            Self::Amplitude(_) => amplitude::DISABLE_AFTER,
            Self::Email(_) => email::DISABLE_AFTER,
        }
    }

    /// How many requests of an app in a day raise an alarm; `None` where machines receive them.
    pub const fn alarming_number(&self) -> Option<u64> {
        match self {
            Self::Webhook(_) | Self::Amplitude(_) => None,
            Self::Email(_) => Some(email::ALARMING),
        }
    }

    /// Redacts our secrets in a text that the destination sent.
    pub fn redact(&self, text: &str) -> String {
        match self {
            Self::Webhook(config) => webhook::config::redact(config, text),
            Self::Amplitude(config) => amplitude::config::redact(config, text),
            Self::Email(config) => email::config::redact(config, text),
        }
    }

    /// A request to delete the users with these ids; `None` when the kind takes none, or a setting for it is missing.
    #[must_use]
    pub fn deletion(&self, user_ids: &[String]) -> Option<Request> {
        match self {
            Self::Webhook(_) | Self::Email(_) => None,
            Self::Amplitude(config) => amplitude::deletion::request(config, user_ids),
        }
    }

    /// Whether the reply to [`Self::deletion`] accepted it.
    ///
    /// # Errors
    /// Why it did not, as a sentence for people.
    pub fn judge_deletion(&self, reply: &Reply) -> Result<(), String> {
        match self {
            Self::Webhook(_) | Self::Email(_) => {
                Err("only an analytics project deletes a user".to_owned())
            }
            Self::Amplitude(_) => amplitude::deletion::judge(reply),
        }
    }

    /// A request that tests the connection and carries no event of anybody; of a kind that takes one, with the made-up
    /// event `sample`.
    ///
    /// # Errors
    /// A setting that the test needs is missing, or the kind takes no sample.
    pub fn test(
        &self,
        at: Timestamp,
        id: &str,
        sample: Option<&Value>,
    ) -> Result<Request, Invalid> {
        match self {
            Self::Webhook(config) => webhook::request::test(config, at, id, sample),
            Self::Amplitude(_) if sample.is_some() => Err(Invalid::new(
                "event_type",
                "nothing here: an example would be counted among the project's events",
            )),
            Self::Amplitude(config) => amplitude::request::test(config),
            Self::Email(config) => email::request::test(config, at, id, sample),
        }
    }

    /// What [`Self::test`] does for a destination of the named kind with these settings.
    pub fn test_notes(kind: &str, settings: &Value) -> TestNotes {
        match kind {
            amplitude::KIND => amplitude::config::test_notes(settings),
            email::KIND => email::request::TEST_NOTES,
            _ => webhook::request::TEST_NOTES,
        }
    }

    /// Whether people get each test, so that their number is bounded.
    pub const fn bounds_tests(&self) -> bool {
        match self {
            Self::Webhook(_) | Self::Amplitude(_) => false,
            Self::Email(_) => true,
        }
    }

    /// Describes the reply to [`Self::test`] as a sentence for people.
    ///
    /// # Errors
    /// The connection does not work: the reason as a sentence for people.
    pub fn describe_test(&self, reply: &Reply) -> Result<String, String> {
        match self {
            Self::Webhook(_) => webhook::response::describe_test(reply),
            Self::Amplitude(config) => amplitude::response::describe_test(config, reply),
            Self::Email(_) => email::response::describe_test(reply),
        }
    }
}

fn unknown(kind: &str) -> Invalid {
    Invalid::new(
        "kind",
        format!(
            "`{}`, `{}` or `{}`, and not `{kind}`",
            webhook::KIND,
            amplitude::KIND,
            email::KIND
        ),
    )
}
