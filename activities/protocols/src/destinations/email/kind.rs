//! The kind "email", and a stored email destination that is ready to send.

use super::config::Config;
use super::{ALARM, KIND, RATE};
use super::{body, config, form, request, response, schemas};
use crate::destinations::allowed::Allowed;
use crate::destinations::changes::{ChangedSettings, NewSettings};
use crate::destinations::exchange::Exchange;
use crate::destinations::help::HelpText;
use crate::destinations::invalid::Invalid;
use crate::destinations::kind::{Connector, Kind};
use crate::destinations::notes::{TestNotes, VolumeAlarm};
use crate::destinations::schemas::KindSchemas;
use crate::form::Form;
use crate::outgoing::{Incoming, Outgoing};
use domain::Timestamp;
use domain::time::duration;
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::time::Duration;
use storage::{Attempt, DeliveryResult, Destination, Rendered, Unsent};

/// The kind "email": a destination that sends emails to people.
pub struct Email;

impl Kind for Email {
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
        _random: [u8; 32],
    ) -> Result<NewSettings, Vec<Invalid>> {
        config::create(fields, allowed)
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
        _secret: &SecretString,
        allowed: &Allowed,
    ) -> Result<Box<dyn Connector>, Invalid> {
        Ok(Box::new(config::ready(destination, allowed)?))
    }

    fn refusal(&self, destination: &Destination, allowed: &Allowed) -> Option<Invalid> {
        config::refusal(destination, allowed)
    }

    fn render(&self, destination: &Destination, unsent: &Unsent) -> Rendered {
        body::render(destination, unsent)
    }

    fn test_notes(&self, _settings: &Value) -> TestNotes {
        request::TEST_NOTES
    }

    fn is_for_people(&self) -> bool {
        true
    }

    fn usual_rate(&self) -> Option<i64> {
        Some(RATE)
    }

    fn refused_choice(&self, choice: &str) -> Option<&'static str> {
        (!config::takes(choice)).then_some(config::TAKEN)
    }
}

impl Connector for Config {
    fn request(&self, at: Timestamp, attempts: &[Attempt]) -> Result<Outgoing, Invalid> {
        request::request(self, at, attempts).map(Outgoing::from)
    }

    fn header_names(&self) -> Vec<String> {
        request::HEADERS.map(str::to_owned).to_vec()
    }

    fn first_wait(&self) -> Duration {
        duration(self.schedule.first_ms())
    }

    fn judge(&self, exchange: Exchange<'_>) -> DeliveryResult {
        response::judge(self, exchange.over(&*exchange.reply.smtp()))
    }

    fn redact(&self, text: &str) -> String {
        config::redact(self, text)
    }

    fn test(&self, at: Timestamp, id: &str, sample: Option<&Value>) -> Result<Outgoing, Invalid> {
        request::test(self, at, id, sample).map(Outgoing::from)
    }

    fn describe_test(&self, reply: &Incoming) -> Result<String, String> {
        response::describe_test(&reply.smtp())
    }

    fn volume_alarm(&self) -> Option<VolumeAlarm> {
        Some(ALARM)
    }

    fn bounds_tests(&self) -> bool {
        true
    }
}
