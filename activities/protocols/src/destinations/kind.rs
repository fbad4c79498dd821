//! The interface of a kind of destination. Each kind's folder implements [`Kind`], and [`Connector`] for its
//! configuration; `kinds` lists the kinds. Methods with a default cover features that most kinds do not have.

use super::allowed::{Allowed, OriginsSetting};
use super::changes::{ChangedSettings, NewSettings, Rotation};
use super::exchange::Exchange;
use super::help::HelpText;
use super::invalid::Invalid;
use super::notes::{RenderNotes, TestNotes, VolumeAlarm};
use super::schedule::{DISABLE_AFTER, ScheduleText};
use super::schemas::KindSchemas;
use crate::form::Form;
use crate::outgoing::{Incoming, Outgoing};
use domain::{DeliveryId, Timestamp};
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;
use storage::{Attempt, DeliveryResult, Destination, Rendered, StreamedEvent, Unsent};

/// A kind of destination: its settings, and the bodies of events that follow from them alone.
pub trait Kind: Sync {
    /// Returns the name of the kind, in the API and in the database.
    fn name(&self) -> &'static str;

    /// Returns the default schedule, as the command line shows it.
    fn schedule_text(&self) -> ScheduleText {
        ScheduleText::USUAL
    }

    /// Returns the JSON Schemas of the kind's API fields.
    fn schemas(&self) -> KindSchemas;

    /// Returns the form for creating a destination of this kind.
    fn form(&self) -> Form;

    /// Returns the command line's help texts for the kind.
    fn help_text(&self) -> HelpText;

    /// Builds the settings and secrets of a new destination. Refuses unknown fields.
    ///
    /// # Errors
    /// Returns every invalid field.
    fn create(
        &self,
        fields: &Map<String, Value>,
        allowed: &Allowed,
        random: [u8; 32],
    ) -> Result<NewSettings, Vec<Invalid>>;

    /// Changes the fields that the request contains and keeps the others; null removes an optional field.
    ///
    /// # Errors
    /// Returns every invalid field.
    fn change(
        &self,
        settings: &Value,
        secret: &SecretString,
        fields: &Map<String, Value>,
        allowed: &Allowed,
    ) -> Result<ChangedSettings, Vec<Invalid>>;

    /// Builds the configuration of a stored destination.
    ///
    /// # Errors
    /// Returns the first setting or secret that is unusable.
    fn ready(
        &self,
        destination: &Destination,
        secret: &SecretString,
        allowed: &Allowed,
    ) -> Result<Box<dyn Connector>, Invalid>;

    /// Returns why the operator's settings allow no request to a stored destination; `None` if they do.
    fn refusal(&self, _destination: &Destination, _allowed: &Allowed) -> Option<Invalid> {
        None
    }

    /// Renders an event for a destination. The body is frozen: every attempt sends it.
    fn render(&self, destination: &Destination, unsent: &Unsent) -> Rendered;

    /// Renders a device event for a destination. The result depends only on the stored event and on the settings that
    /// say how to name the customer.
    fn render_streamed(&self, _destination: &Destination, _event: &StreamedEvent) -> Rendered {
        Rendered::Refuse {
            why: "this kind of destination takes no device events".to_owned(),
        }
    }

    /// Describes the effect of [`Connector::test`] for a destination with these settings.
    fn test_notes(&self, settings: &Value) -> TestNotes;

    /// Returns what metrics count about the call of [`Self::render`] that returned `rendered`.
    fn render_notes(&self, _: &Destination, _: &Unsent, _: &Rendered) -> RenderNotes {
        RenderNotes::default()
    }

    /// Returns the operator's setting with the origins that may replace those of the kind's vendor; `None` for a kind
    /// without a vendor.
    fn origins_setting(&self) -> Option<OriginsSetting> {
        None
    }

    /// Returns what the operator's settings add to the choices of the form: names of fields, and values.
    fn choices(&self, _allowed: &Allowed) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Returns whether people, rather than programs, read what the kind sends.
    fn is_for_people(&self) -> bool {
        false
    }

    /// Returns the maximum number of requests per second; `None` for no limit.
    fn max_rate(&self) -> Option<i64> {
        None
    }

    /// Returns the number of requests per second for a destination that sets none; `None` for no limit.
    fn usual_rate(&self) -> Option<i64> {
        self.max_rate()
    }

    /// Returns the expected choices if this event type or wildcard cannot be chosen; `None` if it can.
    fn refused_choice(&self, _choice: &str) -> Option<&'static str> {
        None
    }

    /// Returns the part of the kind that replaces signing secrets; `None` for a kind that signs nothing.
    fn signer(&self) -> Option<&dyn Signer> {
        None
    }

    /// Returns the warning that sandbox events are skipped if the settings lack what is needed to send them; `None`
    /// otherwise.
    fn sandbox_warning(&self, _settings: &Value) -> Option<&'static str> {
        None
    }

    /// Returns a frozen body as it stands in a request, without the values that are frozen with it but not sent.
    fn sent_body(&self, frozen: String) -> String {
        frozen
    }

    /// Returns the part of the kind that hides secret URLs; `None` for a kind whose settings hold none.
    fn secret_url(&self) -> Option<&dyn SecretUrl> {
        None
    }
}

/// A kind whose requests are signed.
pub trait Signer: Sync {
    /// Returns the newest secret that signs requests, in the form that a receiver needs.
    fn newest_secret(&self, secret: &SecretString) -> Option<SecretString>;

    /// Replaces the secret that signs requests; the old secret signs too until the overlap ends.
    ///
    /// # Errors
    /// Fails if the new secret is invalid.
    fn rotate(
        &self,
        settings: &Value,
        secret: &SecretString,
        rotation: &Rotation,
    ) -> Result<ChangedSettings, Invalid>;
}

/// A kind whose settings can hold a URL that is a secret.
pub trait SecretUrl {
    /// Returns whether the stored settings hold a secret URL.
    fn is_secret(&self, settings: &Value) -> bool;

    /// Returns the settings for display: a secret URL is cut off after its host.
    fn shown(&self, settings: &Value) -> Value;

    /// Returns the settings with every URL cut off after its host, secret or not.
    fn without_target(&self, settings: &Value) -> Value;

    /// Encrypts the secret URL of a stored destination; `None` if there is nothing to encrypt.
    ///
    /// # Errors
    /// Fails if the stored settings or secrets cannot be read.
    fn sealed(
        &self,
        settings: &Value,
        secret: &SecretString,
    ) -> Result<Option<ChangedSettings>, Invalid>;
}

/// A stored destination with its secrets, which builds requests and judges the replies.
pub trait Connector: fmt::Debug + Send + Sync {
    /// Returns the request with one event, or with several if the kind supports batches. `at` is the time of this
    /// attempt.
    ///
    /// # Errors
    /// Fails if the events or the secret do not fit this kind.
    fn request(&self, at: Timestamp, attempts: &[Attempt]) -> Result<Outgoing, Invalid>;

    /// Returns the names of the headers of a request, in lower case and in their order.
    fn header_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the first wait of the schedule.
    fn first_wait(&self) -> Duration;

    /// Judges a reply for each event and for the destination as a whole.
    fn judge(&self, exchange: Exchange<'_>) -> DeliveryResult;

    /// Returns the time without a success after which a failed request disables the destination.
    fn disable_after(&self) -> Duration {
        DISABLE_AFTER
    }

    /// Redacts our secrets in a text from the destination.
    fn redact(&self, text: &str) -> String;

    /// Returns a request that tests the connection without a customer's event. A kind that supports samples sends the
    /// event `sample`.
    ///
    /// # Errors
    /// Fails if a setting that the test needs is missing, or if the kind does not support samples.
    fn test(&self, at: Timestamp, id: &str, sample: Option<&Value>) -> Result<Outgoing, Invalid>;

    /// Describes the reply to [`Self::test`] as a sentence for people.
    ///
    /// # Errors
    /// Returns why the connection does not work, as a sentence for people.
    fn describe_test(&self, reply: &Incoming) -> Result<String, String>;

    /// Returns the request with these device events.
    ///
    /// # Errors
    /// Fails if the events or the secret do not fit this kind.
    fn streamed_request(&self, at: Timestamp, attempts: &[Attempt]) -> Result<Outgoing, Invalid> {
        self.request(at, attempts)
    }

    /// Returns the maximum number of device events in a request.
    fn per_streamed_request(&self, _destination: &Destination) -> usize {
        1
    }

    /// Returns the id of a request that sends these device events as a batch; `None` if the kind or its settings have
    /// no batches that are repeated unchanged.
    fn batch_id(&self, _attempts: &[Attempt]) -> Option<DeliveryId> {
        None
    }

    /// Returns whether requests carry the trace context, in the header `traceparent`.
    fn takes_trace(&self) -> bool {
        false
    }

    /// Returns why a frozen event can never be sent, as a sentence for people: its key was removed. `None` if it can be
    /// sent.
    fn lacks_key(&self, _attempt: &Attempt) -> Option<String> {
        None
    }

    /// Returns the time after an event's first attempt at which it is no longer sent; `None` for no limit.
    fn gives_up_after(&self) -> Option<Duration> {
        None
    }

    /// Returns the alarm about too many requests of an app in a day; `None` for a kind whose receivers are programs.
    fn volume_alarm(&self) -> Option<VolumeAlarm> {
        None
    }

    /// Returns whether people receive each test, so that the number of tests is limited.
    fn bounds_tests(&self) -> bool {
        false
    }

    /// Returns a request to delete the users with these ids; `None` if the kind supports no deletion, or a setting for
    /// it is missing.
    fn deletion(&self, _user_ids: &[String]) -> Option<Outgoing> {
        None
    }

    /// Checks that the reply to [`Self::deletion`] accepted it.
    ///
    /// # Errors
    /// Returns why the reply did not accept it, as a sentence for people.
    fn judge_deletion(&self, _reply: &Incoming) -> Result<(), String> {
        Err("only an analytics project deletes a user".to_owned())
    }
}
