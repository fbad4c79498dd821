//! The kind "webhook", and a stored webhook that is ready to send.

use super::KIND;
use super::config::Config;
use super::{body, config, form, request, response, schemas, secret_url};
use crate::destinations::allowed::Allowed;
use crate::destinations::changes::{ChangedSettings, NewSettings, Rotation};
use crate::destinations::exchange::Exchange;
use crate::destinations::help::HelpText;
use crate::destinations::invalid::Invalid;
use crate::destinations::kind::{Connector, Kind, SecretUrl, Signer};
use crate::destinations::notes::TestNotes;
use crate::destinations::schemas::KindSchemas;
use crate::form::Form;
use crate::outgoing::{Incoming, Outgoing};
use domain::time::duration;
use domain::{DeliveryId, Timestamp};
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::time::Duration;
use storage::{Attempt, DeliveryResult, Destination, Rendered, StreamedEvent, Unsent};

/// The kind "webhook": an HTTPS endpoint that receives signed events.
pub struct Webhook;

impl Kind for Webhook {
    fn name(&self) -> &'static str {
        KIND
    }

    fn schemas(&self) -> KindSchemas {
        schemas::schemas()
    }

    fn form(&self) -> Form {
        form::form()
    }

    fn help_text(&self) -> HelpText {
        form::HELP
    }

    fn create(
        &self,
        fields: &Map<String, Value>,
        allowed: &Allowed,
        random: [u8; 32],
    ) -> Result<NewSettings, Vec<Invalid>> {
        config::create(fields, allowed, random)
    }

    fn change(
        &self,
        settings: &Value,
        secret: &SecretString,
        fields: &Map<String, Value>,
        allowed: &Allowed,
    ) -> Result<ChangedSettings, Vec<Invalid>> {
        config::change(settings, secret, fields, allowed)
    }

    fn ready(
        &self,
        destination: &Destination,
        secret: &SecretString,
        allowed: &Allowed,
    ) -> Result<Box<dyn Connector>, Invalid> {
        Ok(Box::new(config::ready(destination, secret, allowed)?))
    }

    fn refusal(&self, destination: &Destination, allowed: &Allowed) -> Option<Invalid> {
        config::refusal(destination, allowed)
    }

    fn render(&self, destination: &Destination, unsent: &Unsent) -> Rendered {
        body::render(destination, unsent)
    }

    fn render_streamed(&self, destination: &Destination, event: &StreamedEvent) -> Rendered {
        body::render_streamed(destination, event)
    }

    fn test_notes(&self, _settings: &Value) -> TestNotes {
        request::TEST_NOTES
    }

    fn signer(&self) -> Option<&dyn Signer> {
        Some(self)
    }

    fn secret_url(&self) -> Option<&dyn SecretUrl> {
        Some(self)
    }
}

impl Signer for Webhook {
    fn newest_secret(&self, secret: &SecretString) -> Option<SecretString> {
        config::newest_secret(secret)
    }

    fn rotate(
        &self,
        settings: &Value,
        secret: &SecretString,
        rotation: &Rotation,
    ) -> Result<ChangedSettings, Invalid> {
        config::rotate(settings, secret, rotation)
    }
}

impl SecretUrl for Webhook {
    fn is_secret(&self, settings: &Value) -> bool {
        secret_url::is_secret(settings)
    }

    fn shown(&self, settings: &Value) -> Value {
        secret_url::shown(settings)
    }

    fn without_target(&self, settings: &Value) -> Value {
        secret_url::without_target(settings)
    }

    fn sealed(
        &self,
        settings: &Value,
        secret: &SecretString,
    ) -> Result<Option<ChangedSettings>, Invalid> {
        secret_url::sealed(settings, secret)
    }
}

impl Connector for Config {
    fn request(&self, at: Timestamp, attempts: &[Attempt]) -> Result<Outgoing, Invalid> {
        request::request(self, at, attempts).map(Outgoing::from)
    }

    fn header_names(&self) -> Vec<String> {
        request::header_names(self)
    }

    fn first_wait(&self) -> Duration {
        duration(self.schedule.first_ms())
    }

    fn judge(&self, exchange: Exchange<'_>) -> DeliveryResult {
        response::judge(self, exchange.over(&*exchange.reply.http()))
    }

    fn redact(&self, text: &str) -> String {
        config::redact(self, text)
    }

    fn test(&self, at: Timestamp, id: &str, sample: Option<&Value>) -> Result<Outgoing, Invalid> {
        request::test(self, at, id, sample).map(Outgoing::from)
    }

    fn describe_test(&self, reply: &Incoming) -> Result<String, String> {
        response::describe_test(&reply.http())
    }

    fn streamed_request(&self, at: Timestamp, attempts: &[Attempt]) -> Result<Outgoing, Invalid> {
        request::streamed(self, at, attempts).map(Outgoing::from)
    }

    fn per_streamed_request(&self, _destination: &Destination) -> usize {
        self.device_batch
    }

    fn batch_id(&self, attempts: &[Attempt]) -> Option<DeliveryId> {
        request::batch_id(self, attempts)
    }

    fn takes_trace(&self) -> bool {
        true
    }
}
