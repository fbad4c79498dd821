//! Parses `docker-compose.temporal.yml` with its variables substituted: each service's image, command, environment and
//! ports.
//!
//! Supports only the part of the format that the file uses; anything else is an error.

use super::documents;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The file's path from the root of the work tree.
pub const FILE: &str = "docker-compose.temporal.yml";

/// Texts by name, such as variables.
pub type Texts = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
pub struct Compose {
    /// The services by name, which is also the host name.
    pub services: BTreeMap<String, Service>,
    pub networks: BTreeMap<String, Network>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Whether the network has no route to the outside.
    pub internal: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    pub image: String,
    /// How the image is built; `None` if it is pulled.
    pub build: Option<Build>,
    /// Arguments of the image's entry point.
    pub command: Vec<String>,
    /// The profiles (`--profile`) with which the service starts; if empty, it always starts.
    pub profiles: Vec<String>,
    pub environment: Texts,
    /// Services that must be started first.
    pub depends_on: BTreeMap<String, Dependency>,
    /// Published ports, such as `127.0.0.1:8082:8080`.
    pub ports: Vec<String>,
    /// The service's health check.
    pub healthcheck: Option<Healthcheck>,
    /// `user:group`.
    pub user: String,
    /// Whether the container's root file system is read-only.
    pub read_only: bool,
    /// Dropped capabilities.
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub restart: String,
    /// How long the service may take to stop, such as `40s`, before it is killed.
    pub stop_grace_period: Option<String>,
    pub volumes: Vec<String>,
    /// Networks of the service; if empty, `default`.
    pub networks: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    pub context: String,
    pub dockerfile: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// State that the other service must have reached.
    pub condition: Condition,
}

/// State of a service that another service waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

/// A command that succeeds while the service is healthy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Healthcheck {
    /// `CMD` and the command.
    pub test: Vec<String>,
    pub interval: String,
    pub timeout: String,
    /// Number of failures after which the service is unhealthy.
    pub retries: u32,
    /// Time after the start in which failures do not count.
    #[serde(default)]
    pub start_period: Option<String>,
}

impl Compose {
    /// Reads the file and substitutes these values for its variables.
    ///
    /// # Errors
    /// When the file contains something unsupported, or a variable without a value.
    pub fn read(variables: &Texts) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(documents::root().join(FILE))?;
        let mut document: Value = serde_saphyr::from_str(&text)?;
        substitute(&mut document, variables)?;
        Ok(serde_json::from_value(document)?)
    }

    /// Returns the names of the services, each after those that it depends on.
    ///
    /// # Panics
    /// When the dependencies have a cycle or name an unknown service.
    pub fn in_order(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        while found.len() < self.services.len() {
            let next = self.services.iter().find(|(name, service)| {
                !found.contains(name)
                    && service
                        .depends_on
                        .keys()
                        .all(|before| found.contains(before))
            });
            found.push(
                next.expect("a service whose dependencies are started")
                    .0
                    .clone(),
            );
        }
        found
    }
}

impl Service {
    /// Returns the name of the service's image, without the tag.
    pub fn image_name(&self) -> &str {
        self.image
            .rsplit_once(':')
            .map_or(self.image.as_str(), |(name, _)| name)
    }

    /// Returns the command of the service's health check.
    ///
    /// # Panics
    /// When the service has no health check, or its command needs a shell.
    pub fn probe(&self) -> &[String] {
        let check = self.healthcheck.as_ref().expect("a health check");
        check
            .test
            .strip_prefix(&["CMD".to_owned()])
            .expect("a health check without a shell")
    }
}

/// Substitutes variables in all texts of a document.
fn substitute(document: &mut Value, variables: &Texts) -> anyhow::Result<()> {
    match document {
        Value::String(text) => *text = substituted(text, variables)?,
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| substitute(item, variables))?,
        Value::Object(fields) => fields
            .values_mut()
            .try_for_each(|field| substitute(field, variables))?,
        _ => {}
    }
    Ok(())
}

/// Substitutes the variables in a text: `${NAME}`, `${NAME:?why it is needed}`, `${NAME:-default}` or
/// `${NAME:+replacement}`. `$$` is a dollar sign.
///
/// # Errors
/// When a variable has no value, or the text contains another form of variable.
pub fn substituted(text: &str, variables: &Texts) -> anyhow::Result<String> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        done.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            done.push('$');
            rest = after;
            continue;
        }
        let variable = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        let (variable, after) =
            variable.ok_or_else(|| anyhow::anyhow!("`{text}`: a `$` is written `$$`"))?;
        if let Some((name, instead)) = variable.split_once(":+") {
            done.push_str(set(variables, name).map_or("", |_| instead));
            rest = after;
            continue;
        }
        let (name, default) = match variable.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (
                variable.split_once(":?").map_or(variable, |(name, _)| name),
                None,
            ),
        };
        let value = match default {
            Some(_) => set(variables, name),
            None => variables.get(name).map(String::as_str),
        };
        let value = value
            .or(default)
            .ok_or_else(|| anyhow::anyhow!("{name} has no value"))?;
        done.push_str(value);
        rest = after;
    }
    Ok(done + rest)
}

/// Returns the value of a variable that is set and not empty.
fn set<'a>(variables: &'a Texts, name: &str) -> Option<&'a str> {
    variables
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}
