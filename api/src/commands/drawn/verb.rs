//! One command: its entry in a table, the command line that is derived from it, and its call.

use super::argument::{self, Argument, Flag, Parse, Place, Shown, Stated};
use super::exchange::Exchange;
use super::listing;
use crate::client::{Client, Refused, segment};
use crate::confirm::Confirm;
use crate::{names, table};
use anyhow::{Context, bail};
use api::keys::REASON;
use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args, Command, FromArgMatches};
use futures::future::LocalBoxFuture;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// An addition to a verb that its table cannot express.
pub enum Hook {
    /// The command makes more than one call: the first function adds its arguments, the second runs it.
    Own(fn(Command) -> Command, Run),
    /// Runs before the call, and may refuse it or add fields to its body. A dry run skips it.
    Before(Before),
    /// Parses the typed value of a field.
    Parse(&'static str, Parse),
    /// Returns the displayed names of a field's choices.
    Shown(&'static str, Shown),
    /// Changes a response before it is shown to people.
    Humanize(fn(&mut Value)),
    /// Returns the order in which the fields of a body are listed.
    Order(fn() -> Vec<&'static str>),
    /// Prints a response for people.
    Print(fn(&Client, &Exchange)),
    /// Returns whether a response is a failure, for which the exit code is 1.
    Fails(fn(&Value) -> bool),
    /// Returns the sentence about a response.
    Sentence(fn(&Exchange) -> String),
    /// Finds the reason for an empty list or another empty response, which gets the reason as `why_empty`. `None` if
    /// the verb's usual sentence applies.
    WhyEmpty(WhyEmpty),
}

/// Runs a command that makes more than one call.
pub type Run =
    for<'a> fn(&'a ArgMatches, &'a Client) -> LocalBoxFuture<'a, anyhow::Result<ExitCode>>;
/// Runs before a call. Returns the fields to add to its body.
pub type Before = for<'a> fn(
    &'a Client,
    &'a Planned<'a>,
) -> LocalBoxFuture<'a, anyhow::Result<Map<String, Value>>>;
pub type WhyEmpty =
    for<'a> fn(&'a Client, &'a Exchange) -> LocalBoxFuture<'a, anyhow::Result<Option<String>>>;

/// A call that has not been sent yet.
pub struct Planned<'a> {
    pub path: &'a str,
    pub body: &'a Map<String, Value>,
    /// The arguments, by the names of their fields.
    pub typed: &'a Map<String, Value>,
    /// Whether to skip the confirmation.
    pub is_confirmed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verb {
    pub name: String,
    /// Alternative names of the verb.
    #[serde(default)]
    aliases: Vec<String>,
    /// The method and path of the route; `None` if a hook runs the verb.
    pub call: Option<String>,
    /// Alternative calls, by the field whose argument selects them.
    #[serde(default)]
    call_by: BTreeMap<String, String>,
    /// Fields with a fixed value. If there are any, only fields with an entry in `flags` can be typed.
    #[serde(default)]
    fixed: Map<String, Value>,
    /// Whether the verb changes something, for a verb that a hook runs.
    #[serde(default)]
    changes: bool,
    /// Description in one sentence.
    about: String,
    /// The end of the verb's help: an example, and the next steps.
    help: String,
    /// Differences from the derived flags, by field.
    #[serde(default)]
    pub flags: BTreeMap<String, Flag>,
    /// Fields of which exactly one must be typed.
    #[serde(default)]
    one_of: Vec<String>,
    /// The question to confirm before the call, with `{}` for the first argument; empty if a hook asks it. A dry run
    /// skips it.
    confirm: Option<String>,
    /// The columns of a table: `heading = path.of.field`, or one text for both. A column `platform` or `destination`
    /// shows the name beside the id.
    #[serde(default)]
    pub(super) columns: Vec<String>,
    /// The sentence about an empty list.
    pub(super) nothing: Option<String>,
    /// The sentence about an empty list if a filter was typed and the sentence differs.
    pub(super) no_match: Option<String>,
    /// The sentence about a response. `{field}` is replaced by what was typed or, without that, by the field of the
    /// response.
    pub(super) sentence: Option<String>,
    #[serde(skip)]
    pub hooks: Vec<&'static Hook>,
}

impl Verb {
    /// Returns the arguments of the verb; empty if a hook runs it.
    pub fn arguments(&self) -> Vec<Argument> {
        let stated = |field: &str| {
            let mut stated = Stated::default();
            for hook in &self.hooks {
                match hook {
                    Hook::Parse(name, parse) if *name == field => stated.parse = Some(*parse),
                    Hook::Shown(name, shown) if *name == field => stated.shown = Some(*shown),
                    _ => {}
                }
            }
            stated
        };
        let of_call = |(method, path)| argument::of_route(method, path, &self.flags, &stated);
        let mut all = self.call().map_or_else(Vec::new, of_call);
        for other in self
            .call_by
            .values()
            .filter_map(|call| call.split_once(' '))
            .flat_map(of_call)
        {
            if all.iter().all(|known| known.field != other.field) {
                all.push(other.optional());
            }
        }
        for hook in &self.hooks {
            if let Hook::Order(order) = hook {
                let order = order();
                let place = |one: &Argument| {
                    order
                        .iter()
                        .position(|field| *field == one.field)
                        .unwrap_or(order.len())
                };
                all.sort_by_key(|one| {
                    if one.place == Place::Body {
                        1 + place(one)
                    } else {
                        0
                    }
                });
            }
        }
        let is_typed =
            |one: &Argument| one.place == Place::Path || self.flags.contains_key(&one.field);
        all.retain(|one| self.fixed.is_empty() || is_typed(one));
        all
    }

    pub fn call(&self) -> Option<(&str, &str)> {
        self.call.as_deref().and_then(|call| call.split_once(' '))
    }

    /// Returns the method and path of the call that the typed fields select.
    fn call_for(&self, is_typed: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
        let other = self.call_by.iter().find(|(field, _)| is_typed(field));
        other.map_or_else(|| self.call(), |(_, call)| call.split_once(' '))
    }

    /// Returns the verb's command line parser, under this name.
    pub fn command(&self, name: &str) -> Command {
        let own = self.hooks.iter().find_map(|hook| match hook {
            Hook::Own(augment, _) => Some(augment),
            _ => None,
        });
        let command = Command::new(name.to_owned()).visible_aliases(self.aliases.iter().cloned());
        let command = match own {
            Some(augment) => augment(command),
            None => self.augment(command),
        };
        let command = if self.takes_reason() {
            command.arg(reason())
        } else {
            command
        };
        command.about(&self.about).after_help(&self.help)
    }

    /// Returns whether the verb has the common flag for a reason, because the body of its call has no field for it.
    fn takes_reason(&self) -> bool {
        self.call().map_or(self.changes, |(method, path)| {
            argument::takes_reason(method, path)
        })
    }

    /// Refuses an `update` without a field to change.
    pub fn check(&self, resource: &str, matches: &ArgMatches) -> Result<(), clap::Error> {
        if self.name != "update" {
            return Ok(());
        }
        let mut command = self
            .command(&self.name)
            .bin_name(format!("settle {resource} {}", self.name));
        let is_field = |arg: &&Arg| {
            arg.get_long().is_some() && ![REASON, APP].contains(&arg.get_id().as_str())
        };
        let fields = || command.get_arguments().filter(is_field);
        let is_typed = |arg: &Arg| {
            matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
        };
        if fields().any(is_typed) {
            return Ok(());
        }
        let flags: Vec<String> = fields()
            .filter_map(Arg::get_long)
            .map(|name| format!("--{name}"))
            .collect();
        let why = format!(
            "nothing to change: add at least one of {}",
            flags.join(", ")
        );
        Err(command.error(ErrorKind::MissingRequiredArgument, why))
    }

    fn augment(&self, command: Command) -> Command {
        let arguments = self.arguments();
        let command = command.args(arguments.iter().filter_map(Argument::drawn));
        let resettable: Vec<String> = arguments
            .iter()
            .filter(|one| one.is_resettable())
            .map(Argument::name)
            .collect();
        let is_fixed = !self.fixed.is_empty();
        let command = if resettable.is_empty() || is_fixed {
            command
        } else {
            command.arg(clear(resettable))
        };
        let command = if takes_app(&arguments) {
            command.arg(app())
        } else {
            command
        };
        let command = match self.one_of.as_slice() {
            [] => command,
            fields => command.group(ArgGroup::new("one of").args(fields).required(true)),
        };
        if self.confirm.is_some() {
            Confirm::augment_args(command)
        } else {
            command
        }
    }

    pub async fn run(
        &'static self,
        client: &Client,
        matches: &ArgMatches,
    ) -> anyhow::Result<ExitCode> {
        let why = if self.takes_reason() {
            matches.get_one(REASON)
        } else {
            None
        };
        let client = &client.because(why)?;
        if self.call.is_none() {
            return self.run_hook(client, matches).await;
        }
        let arguments = self.arguments();
        let TypedValues {
            all: values,
            open: typed,
        } = typed_values(&arguments, matches)?;
        let call = self.call_for(|field| typed.contains_key(field));
        let (method, template) = call.with_context(|| format!("`{}` has no call", self.name))?;
        let empty = CallParts {
            path: template.to_owned(),
            query: Vec::new(),
            body: if call == self.call() {
                self.fixed.clone()
            } else {
                Map::new()
            },
        };
        let app = app_of(client, matches).await?;
        let mut parts = self.fill(client, app, values, empty).await?;
        clear_fields(matches, &arguments, &mut parts.body)?;
        if !typed.contains_key("dry_run") {
            self.confirm(matches, &arguments, &typed)?;
            self.run_before(client, matches, &typed, &mut parts)
                .await
                .map_err(|error| in_flags(error, &arguments))?;
        }
        let CallParts { path, query, body } = parts;
        let answer = match method {
            "GET" if path.contains(names::OF_APP) => names::of_all_apps(client, &path).await,
            "GET" => client.get(&path, &query).await,
            method => {
                client
                    .change(method, &path, &query, &Value::Object(body))
                    .await
            }
        };
        let answer = match answer {
            Err(error) => Err(unknown_customer(client, error, &typed).await),
            found => found,
        };
        let answer = answer
            .map_err(|error| in_flags(missing(error, template, &arguments, &typed), &arguments))?;
        let of_list = |one: &&Argument| {
            one.place == Place::Query && !["cursor", "limit"].contains(&one.field.as_str())
        };
        let is_filtered = arguments
            .iter()
            .filter(of_list)
            .any(|one| typed.contains_key(&one.field));
        self.print(
            client,
            Exchange {
                answer,
                typed,
                is_filtered,
            },
        )
        .await
    }

    /// Puts each value into its part of the call. A name is replaced by the id that it has in the app, which may itself
    /// be one of the values.
    async fn fill<'a>(
        &self,
        client: &Client,
        mut app: Option<String>,
        values: Vec<(&'a Argument, Value)>,
        mut parts: CallParts<'a>,
    ) -> anyhow::Result<CallParts<'a>> {
        for (argument, mut value) in values {
            if let Some(text) = value.as_str().filter(|_| argument.is_text()) {
                let named = names::Text {
                    text,
                    app: app.as_deref(),
                };
                let id = self.id_of(client, argument, named).await?;
                app = if argument.field == "app_id" {
                    Some(id.clone())
                } else {
                    app
                };
                value = id.into();
            }
            let text = table::raw(&value);
            match argument.place {
                Place::Path => {
                    let place = format!("{{{}}}", argument.field);
                    parts.path = parts.path.replace(&place, &segment(&text));
                }
                Place::Query => parts.query.push((argument.field.as_str(), Some(text))),
                Place::Body => drop(parts.body.insert(argument.field.clone(), value)),
            }
        }
        Ok(parts)
    }

    /// Runs the hooks that precede the call, and adds the fields that they return to its body.
    async fn run_before(
        &self,
        client: &Client,
        matches: &ArgMatches,
        typed: &Map<String, Value>,
        parts: &mut CallParts<'_>,
    ) -> anyhow::Result<()> {
        let is_confirmed = matches.try_get_one::<bool>("yes").ok().flatten() == Some(&true);
        for hook in &self.hooks {
            let Hook::Before(before) = hook else { continue };
            let planned = Planned {
                path: &parts.path,
                body: &parts.body,
                typed,
                is_confirmed,
            };
            let more = before(client, &planned).await?;
            parts.body.extend(more);
        }
        Ok(())
    }

    /// Asks the verb's question for confirmation, if there is one.
    fn confirm(
        &self,
        matches: &ArgMatches,
        arguments: &[Argument],
        typed: &Map<String, Value>,
    ) -> anyhow::Result<()> {
        let Some(question) = self
            .confirm
            .as_ref()
            .filter(|question| !question.is_empty())
        else {
            return Ok(());
        };
        let first = arguments.iter().filter(|argument| argument.is_positional());
        let first = first
            .filter_map(|argument| typed.get(&argument.field))
            .map(table::raw)
            .next();
        Confirm::from_arg_matches(matches)?
            .prompt(&question.replace("{}", &first.unwrap_or_default()))
    }

    async fn run_hook(&self, client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
        for hook in &self.hooks {
            if let Hook::Own(_, run) = hook {
                return run(matches, client).await;
            }
        }
        bail!("`{}` has neither a call nor a hook", self.name)
    }

    /// Returns the id that this argument's text stands for. Only verbs that explain an event also accept a delivery's
    /// id.
    async fn id_of(
        &self,
        client: &Client,
        argument: &Argument,
        named: names::Text<'_>,
    ) -> anyhow::Result<String> {
        let is_explained = self
            .call()
            .is_some_and(|(_, path)| path.starts_with("/v1/explain/"));
        match argument.field.as_str() {
            "event_id" if is_explained => names::event_id(client, named.text).await,
            field => names::id_of(client, field, named).await,
        }
    }
}

/// The parts of a call that the arguments fill.
struct CallParts<'a> {
    path: String,
    query: Vec<(&'a str, Option<String>)>,
    body: Map<String, Value>,
}

/// The values of the arguments that were typed.
struct TypedValues<'a> {
    all: Vec<(&'a Argument, Value)>,
    /// The values of the arguments that are not secret, by field.
    open: Map<String, Value>,
}

/// Returns the values of the arguments that were typed.
fn typed_values<'a>(
    arguments: &'a [Argument],
    matches: &ArgMatches,
) -> anyhow::Result<TypedValues<'a>> {
    let mut values = Vec::new();
    let mut typed = Map::new();
    for argument in arguments {
        let Some(value) = argument.value(matches)? else {
            continue;
        };
        if argument.is_open() {
            typed.insert(argument.field.clone(), value.clone());
        }
        values.push((argument, value));
    }
    Ok(TypedValues {
        all: values,
        open: typed,
    })
}

/// Sets the fields that `--clear` names to null.
fn clear_fields(
    matches: &ArgMatches,
    arguments: &[Argument],
    body: &mut Map<String, Value>,
) -> anyhow::Result<()> {
    let cleared = matches.try_get_many::<String>(CLEAR).ok().flatten();
    for name in cleared.into_iter().flatten() {
        let Some(argument) = arguments.iter().find(|one| one.name() == *name) else {
            continue;
        };
        if body.insert(argument.field.clone(), Value::Null).is_some() {
            bail!("{} cannot be both set and cleared", argument.typed());
        }
    }
    Ok(())
}

const CLEAR: &str = "clear";
const APP: &str = "app";

/// Returns whether the verb needs the flag `--app`: an argument is a name that is unique only within an app, and no
/// argument is that app.
fn takes_app(arguments: &[Argument]) -> bool {
    let is_named = |one: &Argument| {
        one.place == Place::Path
            && one.is_positional()
            && ["destination_id", "platform_id"].contains(&one.field.as_str())
    };
    arguments.iter().any(is_named) && arguments.iter().all(|one| one.name() != APP)
}

/// Returns the flag for the app in which names are looked up.
fn app() -> Arg {
    Arg::new(APP)
        .long(APP)
        .value_name("APP")
        .help("The app in which the name is looked up, by its id or name")
}

/// Returns the id of the app in which names are looked up; `None` for all apps.
async fn app_of(client: &Client, matches: &ArgMatches) -> anyhow::Result<Option<String>> {
    match matches.try_get_one::<String>(APP).ok().flatten() {
        Some(text) => Ok(Some(names::app_id(client, text).await?)),
        None => Ok(None),
    }
}

/// Returns the flag for the reason of a change.
fn reason() -> Arg {
    Arg::new(REASON)
        .long("reason")
        .value_name("TEXT")
        .help("The reason, for the audit log")
}

/// Returns the flag that resets fields, which it accepts by the names of their flags.
fn clear(names: Vec<String>) -> Arg {
    let arg = Arg::new(CLEAR).long(CLEAR).value_name("FLAG");
    let arg = arg.help("Reset these flags to their defaults");
    arg.value_parser(PossibleValuesParser::new(names))
        .value_delimiter(',')
        .action(ArgAction::Append)
}

/// Adds the typed id, and the id that was probably meant, to a refusal about an unknown customer.
async fn unknown_customer(
    client: &Client,
    error: anyhow::Error,
    typed: &Map<String, Value>,
) -> anyhow::Error {
    match error.downcast::<Refused>() {
        Ok(refused) if refused.is_unknown_customer() => {
            match names::unknown_customer(client, typed).await {
                Ok(Some(why)) => refused.because(&why).into(),
                Ok(None) | Err(_) => refused.into(),
            }
        }
        Ok(refused) => refused.into(),
        Err(error) => error,
    }
}

/// Adds the typed id that the service does not know, and the command that lists the known ids, to a refusal.
fn missing(
    error: anyhow::Error,
    path: &str,
    arguments: &[Argument],
    typed: &Map<String, Value>,
) -> anyhow::Error {
    let named = arguments.iter().find(|one| one.place == Place::Path);
    let id = named.and_then(|one| {
        let what = one.field.strip_suffix("_id")?.replace('_', "-");
        Some((what, typed.get(&one.field)?.as_str()?))
    });
    match error.downcast::<Refused>() {
        Ok(refused) => match id {
            Some((what, id)) => refused.missing(&what, id, listing(path).as_deref()).into(),
            None => refused.into(),
        },
        Err(error) => error,
    }
}

/// Replaces the field names in a refusal by the names of the typed flags.
fn in_flags(error: anyhow::Error, arguments: &[Argument]) -> anyhow::Error {
    // The name of a part of a field looks like `prices[0].currency`.
    let flag = |field: &str| {
        let name = field.split(['.', '[']).next().unwrap_or_default();
        if name == REASON {
            return Some("--reason".to_owned());
        }
        arguments
            .iter()
            .find(|argument| argument.field == name)
            .map(|argument| argument.typed_part(field))
    };
    match error.downcast::<Refused>() {
        Ok(refused) => refused.rename(flag).into(),
        Err(error) => error,
    }
}
