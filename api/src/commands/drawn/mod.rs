//! Commands that are one call of the API each. `verbs/` has a table for each resource, with its verbs and their routes.
//! The flags, with their texts, types and limits, are derived from the parameters and the body of the route. Everything
//! that a table cannot express is a [`Hook`].

mod argument;
mod exchange;
mod pairs;
mod print;
#[cfg(test)]
mod tests;
mod verb;

pub use argument::{Argument, Flag, Parse};
pub use exchange::Exchange;
pub use verb::{Hook, Planned};

use super::client::{Client, Remote};
use super::{
    app, customer, delivery, destination, device, event, explain, key, notification, payment,
    platform, product, purchase, search, sign_in,
};
use api::flags::TABLES;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde::Deserialize;
use std::fmt;
use std::process::ExitCode;
use std::sync::LazyLock;
use verb::Verb;

/// Hooks by the names of their verbs.
type Hooks = &'static [(&'static str, Hook)];

/// Hooks by the names of the resources, for what the tables cannot express.
const HOOKS: &[(&str, Hooks)] = &[
    ("app", app::HOOKS),
    ("key", key::HOOKS),
    ("platform", platform::HOOKS),
    ("destination", destination::HOOKS),
    ("customer", customer::HOOKS),
    ("product", product::HOOKS),
    ("entitlement", product::OF_ENTITLEMENTS),
    ("purchase", purchase::HOOKS),
    ("notification", notification::HOOKS),
    ("event", event::HOOKS),
    ("delivery", delivery::HOOKS),
    ("payment", payment::HOOKS),
    ("device", device::HOOKS),
    ("search", search::HOOKS),
    ("sign-in", sign_in::HOOKS),
    ("explain", explain::HOOKS),
];

/// The commands about one resource. Without a description of its own, its only verb is the command itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    #[serde(skip)]
    name: &'static str,
    about: Option<String>,
    /// The end of the help: an example, and the next steps.
    #[serde(default)]
    help: String,
    verbs: Vec<Verb>,
}

static RESOURCES: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let read = |(name, table): &(&'static str, &'static str)| {
        let hooks = HOOKS
            .iter()
            .filter(|(resource, _)| resource == name)
            .flat_map(|(_, hooks)| *hooks);
        let table = destination::kinds::fill(table);
        let resource: Result<Resource, _> = toml::from_str(&table);
        let mut resource = resource.unwrap_or_else(|error| panic!("the table of {name}: {error}"));
        resource.name = name;
        for verb in &mut resource.verbs {
            verb.hooks = hooks
                .clone()
                .filter(|(name, _)| *name == verb.name)
                .map(|(_, hook)| hook)
                .collect();
        }
        resource
    };
    TABLES.iter().map(read).collect()
});

/// Returns the command that lists the resources identified by the first id of a path; `None` if there is none.
fn listing(path: &str) -> Option<String> {
    let (before, _) = path.strip_prefix("/v1/")?.split_once("/{")?;
    // An explained event may be a device event, and device events have their own list.
    let collection = before
        .rsplit('/')
        .next()
        .filter(|_| before != "explain/events");
    RESOURCES.iter().find_map(|resource| {
        let lists = |verb: &&Verb| {
            verb.call().is_some_and(|(method, path)| {
                method == "GET" && path.rsplit('/').next() == collection
            })
        };
        let verb = resource.verbs.iter().find(lists)?;
        Some(format!("settle {} {}", resource.name, verb.name))
    })
}

/// A command that was typed, with its arguments.
pub struct Typed {
    verb: &'static Verb,
    matches: ArgMatches,
    remote: Remote,
}

impl Resource {
    fn command(&self) -> Command {
        let command = match (&self.about, self.verbs.as_slice()) {
            (None, [verb]) => verb.command(self.name),
            (about, verbs) => {
                let command = Command::new(self.name)
                    .subcommand_required(true)
                    .arg_required_else_help(true);
                let command =
                    command.subcommands(verbs.iter().map(|verb| verb.command(&verb.name)));
                command
                    .about(about.clone().unwrap_or_default())
                    .after_help(&self.help)
            }
        };
        let (about, end) = (
            command.get_about().cloned(),
            command.get_after_help().cloned(),
        );
        Remote::augment_args(command)
            .about(about.unwrap_or_default())
            .after_help(end.unwrap_or_default())
    }

    /// Returns the verb that was typed, and its arguments.
    fn typed<'a>(
        &'static self,
        matches: &'a ArgMatches,
    ) -> Option<(&'static Verb, &'a ArgMatches)> {
        match matches.subcommand() {
            Some((name, below)) => self
                .verbs
                .iter()
                .find(|verb| verb.name == name)
                .map(|verb| (verb, below)),
            None => self.verbs.first().map(|verb| (verb, matches)),
        }
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Typed")
            .field("verb", &self.verb.name)
            .field("remote", &self.remote)
            .finish()
    }
}

impl Typed {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client: Client = self.remote.client()?;
        self.verb.run(&client, &self.matches).await
    }
}

impl Subcommand for Typed {
    fn augment_subcommands(command: Command) -> Command {
        command.subcommands(RESOURCES.iter().map(Resource::command))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        RESOURCES.iter().any(|resource| resource.name == name)
    }
}

impl FromArgMatches for Typed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let found = matches.subcommand().and_then(|(name, below)| {
            let resource = RESOURCES.iter().find(|resource| resource.name == name)?;
            resource
                .typed(below)
                .map(|(verb, matches)| (verb, matches, below, name))
        });
        let (verb, matches, below, resource) =
            found.ok_or_else(|| clap::Error::new(clap::error::ErrorKind::MissingSubcommand))?;
        verb.check(resource, matches)?;
        Ok(Self {
            verb,
            matches: matches.clone(),
            remote: Remote::from_arg_matches(below)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
