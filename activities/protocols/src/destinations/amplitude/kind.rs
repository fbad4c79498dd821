//! The kind "amplitude", and a stored integration that is ready to send.

use super::config::Config;
use super::{ALLOWED_URLS, DISABLE_AFTER, GIVES_UP_AFTER, KIND, SCHEDULE};
use super::{body, config, deletion, device, form, request, response, schemas};
use crate::destinations::allowed::{Allowed, OriginsSetting};
use crate::destinations::changes::{ChangedSettings, NewSettings};
use crate::destinations::exchange::Exchange;
use crate::destinations::help::HelpText;
use crate::destinations::invalid::Invalid;
use crate::destinations::kind::{Connector, Kind};
use crate::destinations::notes::{RenderNotes, TestNotes};
use crate::destinations::schedule::ScheduleText;
use crate::destinations::schemas::KindSchemas;
use crate::form::Form;
use crate::outgoing::{Incoming, Outgoing};
use domain::Timestamp;
use domain::time::duration;
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::time::Duration;
use storage::{Attempt, DeliveryResult, Destination, Rendered, StreamedEvent, Unsent};

/// The kind "amplitude": a project at this analytics vendor.
pub struct Amplitude;

impl Kind for Amplitude {
    fn name(&self) -> &'static str {
        KIND
    }

    fn schedule_text(&self) -> ScheduleText {
        SCHEDULE
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

    fn origins_setting(&self) -> Option<OriginsSetting> {
        Some(ALLOWED_URLS)
    }

    fn choices(&self, allowed: &Allowed) -> Vec<(&'static str, String)> {
        let endpoints = config::endpoints(allowed).into_iter();
        endpoints.map(|url| ("endpoint", url)).collect()
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
        device::render(destination, event)
    }

    fn test_notes(&self, settings: &Value) -> TestNotes {
        config::test_notes(settings)
    }

    fn render_notes(
        &self,
        destination: &Destination,
        unsent: &Unsent,
        rendered: &Rendered,
    ) -> RenderNotes {
        body::render_notes(destination, unsent, rendered)
    }

    fn max_rate(&self) -> Option<i64> {
        Some(config::RATE)
    }

    fn sandbox_warning(&self, settings: &Value) -> Option<&'static str> {
        config::sandbox_warning(settings)
    }

    fn sent_body(&self, frozen: String) -> String {
        body::Frozen::read(&frozen).map_or(frozen, body::Frozen::sent)
    }
}

impl Connector for Config {
    fn request(&self, _at: Timestamp, attempts: &[Attempt]) -> Result<Outgoing, Invalid> {
        request::request(self, attempts).map(Outgoing::from)
    }

    fn header_names(&self) -> Vec<String> {
        let names = request::HEADERS.iter().map(|(name, _)| (*name).to_owned());
        names.collect()
    }

    fn first_wait(&self) -> Duration {
        duration(self.schedule.first_ms())
    }

    fn judge(&self, exchange: Exchange<'_>) -> DeliveryResult {
        response::judge(self, exchange.over(&*exchange.reply.http()))
    }

    fn disable_after(&self) -> Duration {
        DISABLE_AFTER
    }

    fn redact(&self, text: &str) -> String {
        config::redact(self, text)
    }

    fn test(&self, _at: Timestamp, _id: &str, sample: Option<&Value>) -> Result<Outgoing, Invalid> {
        if sample.is_some() {
            return Err(Invalid::new(
                "event_type",
                "nothing here: an example would be counted among the project's events",
            ));
        }
        request::test(self).map(Outgoing::from)
    }

    fn describe_test(&self, reply: &Incoming) -> Result<String, String> {
        response::describe_test(self, &reply.http())
    }

    fn per_streamed_request(&self, destination: &Destination) -> usize {
        usize::try_from(destination.per_request).unwrap_or(1).max(1)
    }

    fn lacks_key(&self, attempt: &Attempt) -> Option<String> {
        request::lacks_key(self, attempt)
    }

    fn gives_up_after(&self) -> Option<Duration> {
        Some(GIVES_UP_AFTER)
    }

    fn deletion(&self, user_ids: &[String]) -> Option<Outgoing> {
        deletion::request(self, user_ids).map(Outgoing::from)
    }

    fn judge_deletion(&self, reply: &Incoming) -> Result<(), String> {
        deletion::judge(&reply.http())
    }
}
