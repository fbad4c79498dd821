//! Commands that are one call of the API. A resource is a table of verbs, each with its route; the flags, their texts,
//! types and limits are those of the route's parameters and body.

mod argument;
mod flag;
mod shown;
#[cfg(test)]
mod tests;

pub use flag::{DRY_RUN, Flag};
pub use shown::{Exchange, Shows};

use super::client::{Client, Refused, Remote, segment};
use super::confirm::Confirm;
use super::names;
use super::table::{self, Column};
use super::{
    alarm, app, audit_log, customer, delivery, destination, device, entitlement, event, explain, feed, key,
    notification, platform, product, purchase, search, sign_in,
};
use anyhow::bail;
use argument::{Argument, Place};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use futures::future::LocalBoxFuture;
use serde_json::{Map, Value};
use std::fmt;
use std::process::ExitCode;

/// The resources, in the order of the help.
const RESOURCES: [&Resource; 18] = [
    &app::RESOURCE,
    &platform::RESOURCE,
    &destination::RESOURCE,
    &customer::RESOURCE,
    &product::RESOURCE,
    &entitlement::RESOURCE,
    &purchase::RESOURCE,
    &notification::RESOURCE,
    &event::RESOURCE,
    &delivery::RESOURCE,
    &device::RESOURCE,
    &alarm::RESOURCE,
    &key::RESOURCE,
    &sign_in::RESOURCE,
    &search::RESOURCE,
    &audit_log::RESOURCE,
    &explain::RESOURCE,
    &feed::RESOURCE,
];

/// The commands about one kind of thing.
pub struct Resource {
    pub name: &'static str,
    pub about: &'static str,
    /// The end of the help: an example, and what to do next.
    pub help: &'static str,
    pub verbs: Verbs,
}

pub enum Verbs {
    /// `settle RESOURCE` itself.
    One(Verb),
    /// `settle RESOURCE VERB`.
    Named(&'static [Verb]),
}

/// One command.
#[derive(Clone, Copy)]
pub struct Verb {
    name: &'static str,
    about: &'static str,
    help: &'static str,
    does: Does,
    flags: &'static [Flag],
    one_of: &'static [&'static str],
    question: Option<&'static str>,
    humanize: Option<fn(&mut Value)>,
    shows: Shows,
}

#[derive(Clone, Copy)]
enum Does {
    /// One call of the API: the method, and the path of its route.
    Call(&'static str, &'static str),
    /// More than one call: a function that adds the arguments, and one that runs it.
    Own(fn(Command) -> Command, Run),
}

/// Runs a command that is more than one call.
pub type Run = for<'a> fn(&'a ArgMatches, &'a Client) -> LocalBoxFuture<'a, anyhow::Result<ExitCode>>;

/// The command that was typed.
pub struct Typed {
    verb: &'static Verb,
    matches: ArgMatches,
    remote: Remote,
}

impl Verb {
    /// A command: its name, what it does, the end of its help (an example, and what to do next), and its call.
    const fn new(name: &'static str, about: &'static str, help: &'static str, does: Does) -> Self {
        let shows = Shows::Fields;
        Self { name, about, help, does, flags: &[], one_of: &[], question: None, humanize: None, shows }
    }

    pub const fn get(name: &'static str, path: &'static str, about: &'static str, help: &'static str) -> Self {
        Self::new(name, about, help, Does::Call("GET", path))
    }

    pub const fn post(name: &'static str, path: &'static str, about: &'static str, help: &'static str) -> Self {
        Self::new(name, about, help, Does::Call("POST", path))
    }

    pub const fn put(name: &'static str, path: &'static str, about: &'static str, help: &'static str) -> Self {
        Self::new(name, about, help, Does::Call("PUT", path))
    }

    pub const fn patch(name: &'static str, path: &'static str, about: &'static str, help: &'static str) -> Self {
        Self::new(name, about, help, Does::Call("PATCH", path))
    }

    pub const fn delete(name: &'static str, path: &'static str, about: &'static str, help: &'static str) -> Self {
        Self::new(name, about, help, Does::Call("DELETE", path))
    }

    /// A command whose arguments clap derives, and which this function runs.
    pub const fn own<A: Args>(name: &'static str, about: &'static str, help: &'static str, run: Run) -> Self {
        Self::new(name, about, help, Does::Own(A::augment_args, run))
    }

    /// What differs from the flags that are drawn.
    pub const fn flags(self, flags: &'static [Flag]) -> Self {
        Self { flags, ..self }
    }

    /// Fields of which exactly one has to be typed.
    pub const fn one_of(self, one_of: &'static [&'static str]) -> Self {
        Self { one_of, ..self }
    }

    /// Asks for confirmation; `{}` in the question is the first argument. A dry run needs none.
    pub const fn confirm(self, question: &'static str) -> Self {
        Self { question: Some(question), ..self }
    }

    /// Changes an answer before it is shown to people.
    pub const fn humanize(self, humanize: fn(&mut Value)) -> Self {
        Self { humanize: Some(humanize), ..self }
    }

    /// How the answer is printed; as fields without it.
    pub const fn shows(self, shows: Shows) -> Self {
        Self { shows, ..self }
    }

    /// Prints a table, or a sentence: that nothing is there, or, when a filter was typed, that nothing matches.
    pub const fn list(self, columns: &'static [Column], nothing: &'static str, no_match: &'static str) -> Self {
        self.shows(Shows::List { columns, nothing, no_match, why_empty: None })
    }

    fn command(&self) -> Command {
        self.augment(Command::new(self.name)).about(self.about).after_help(self.help)
    }

    fn augment(&self, command: Command) -> Command {
        let (method, path) = match self.does {
            Does::Call(method, path) => (method, path),
            Does::Own(augment, _) => return augment(command),
        };
        let arguments = argument::of_route(method, path, self.flags);
        let command = command.args(arguments.iter().filter_map(Argument::drawn));
        let resettable: Vec<String> = arguments.iter().filter(|one| one.is_resettable()).map(Argument::name).collect();
        let command = if resettable.is_empty() { command } else { command.arg(clear(resettable)) };
        let command = match self.one_of {
            [] => command,
            fields => command.group(ArgGroup::new("one of").args(fields.iter().copied()).required(true)),
        };
        if self.question.is_some() { Confirm::augment_args(command) } else { command }
    }

    async fn run(&self, client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
        let (method, path) = match self.does {
            Does::Call(method, path) => (method, path),
            Does::Own(_, run) => return run(matches, client).await,
        };
        let arguments = argument::of_route(method, path, self.flags);
        let (mut path, mut query, mut body) = (path.to_owned(), Vec::new(), Map::new());
        let (mut typed, mut app) = (Map::new(), None);
        for argument in &arguments {
            let Some(mut value) = argument.value(matches)? else { continue };
            if !argument.is_secret() {
                typed.insert(argument.field.clone(), value.clone());
            }
            if let Some(text) = value.as_str().filter(|_| argument.is_text()) {
                let id = self.id_of(client, argument, names::Text { text, app: app.as_deref() }).await?;
                app = if argument.field == "app_id" { Some(id.clone()) } else { app };
                value = id.into();
            }
            let text = table::raw(&value);
            match argument.place {
                Place::Path => path = path.replace(&format!("{{{}}}", argument.field), &segment(&text)),
                Place::Query => query.push((argument.field.as_str(), Some(text))),
                Place::Body => drop(body.insert(argument.field.clone(), value.clone())),
            }
        }
        let cleared = matches.try_get_many::<String>(CLEAR).ok().flatten();
        for argument in
            cleared.into_iter().flatten().filter_map(|name| arguments.iter().find(|one| one.name() == *name))
        {
            if body.insert(argument.field.clone(), Value::Null).is_some() {
                bail!("{} is set and cleared: type one of the two", argument.typed());
            }
        }
        if let Some(question) = self.question.filter(|_| !typed.contains_key("dry_run")) {
            let first = arguments.iter().filter(|argument| argument.is_positional());
            let first = first.filter_map(|argument| typed.get(&argument.field)).map(table::raw).next();
            Confirm::from_arg_matches(matches)?.prompt(&question.replace("{}", &first.unwrap_or_default()))?;
        }
        let answer = match method {
            "GET" => client.get(&path, &query).await,
            method => client.change(method, &path, &query, &Value::Object(body)).await,
        };
        let mut answer = answer.map_err(|error| in_flags(error, &arguments))?;
        if let Some(humanize) = self.humanize.filter(|_| !client.json) {
            humanize(&mut answer);
        }
        let of_list = |one: &&Argument| one.place == Place::Query && !["cursor", "limit"].contains(&one.field.as_str());
        let is_filtered = arguments.iter().filter(of_list).any(|one| typed.contains_key(&one.field));
        self.shows.print(client, Exchange { answer, typed, is_filtered }).await
    }

    /// What a text means as this argument. Only what explains an event takes the id of a delivery for it.
    async fn id_of(&self, client: &Client, argument: &Argument, named: names::Text<'_>) -> anyhow::Result<String> {
        match (argument.field.as_str(), self.does) {
            ("event_id", Does::Call(_, path)) if path.starts_with("/v1/explain/") => {
                names::event_id(client, named.text).await
            }
            (field, _) => names::id_of(client, field, named).await,
        }
    }
}

const CLEAR: &str = "clear";

/// The flag that resets fields, by the names of their flags.
fn clear(names: Vec<String>) -> Arg {
    let arg =
        Arg::new(CLEAR).long(CLEAR).value_name("FLAG").help("Remove what these flags set: its default applies again");
    arg.value_parser(PossibleValuesParser::new(names)).value_delimiter(',').action(ArgAction::Append)
}

/// A refusal in the words of the flags that were typed.
fn in_flags(error: anyhow::Error, arguments: &[Argument]) -> anyhow::Error {
    // A part of a field is named `prices[0].currency`.
    let flag = |field: &str| {
        let name = field.split(['.', '[']).next().unwrap_or_default();
        arguments.iter().find(|argument| argument.field == name).map(Argument::typed)
    };
    match error.downcast::<Refused>() {
        Ok(refused) => refused.rename(flag).into(),
        Err(error) => error,
    }
}

impl Resource {
    /// A resource with one command, which has its name.
    pub const fn of(verb: Verb) -> Self {
        Self { name: verb.name, about: verb.about, help: verb.help, verbs: Verbs::One(verb) }
    }

    fn command(&self) -> Command {
        let command = Command::new(self.name);
        let command = match &self.verbs {
            Verbs::One(verb) => verb.augment(command),
            Verbs::Named(verbs) => {
                let command = command.subcommand_required(true).arg_required_else_help(true);
                command.subcommands(verbs.iter().map(Verb::command))
            }
        };
        Remote::augment_args(command).about(self.about).after_help(self.help)
    }

    /// The verb that was typed, and its arguments.
    fn typed<'a>(&'static self, matches: &'a ArgMatches) -> Option<(&'static Verb, &'a ArgMatches)> {
        match &self.verbs {
            Verbs::One(verb) => Some((verb, matches)),
            Verbs::Named(verbs) => {
                let (name, below) = matches.subcommand()?;
                verbs.iter().find(|verb| verb.name == name).map(|verb| (verb, below))
            }
        }
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Typed").field("verb", &self.verb.name).field("remote", &self.remote).finish()
    }
}

impl Typed {
    /// Runs it.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.remote.client()?;
        self.verb.run(&client, &self.matches).await
    }
}

impl Subcommand for Typed {
    fn augment_subcommands(command: Command) -> Command {
        command.subcommands(RESOURCES.iter().map(|resource| resource.command()))
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
            resource.typed(below).map(|(verb, matches)| (verb, matches, below))
        });
        let (verb, matches, below) =
            found.ok_or_else(|| clap::Error::new(clap::error::ErrorKind::MissingSubcommand))?;
        Ok(Self { verb, matches: matches.clone(), remote: Remote::from_arg_matches(below)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
