//! The flags of a destination, derived from the forms of its kinds, and the request body that is built from them. The
//! API validates the body.

use super::kinds;
use crate::client::{Client, Refused};
use crate::drawn::{Argument, Flag, Parse};
use crate::names::{self, Text};
use crate::secret::Source;
use crate::table;
use anyhow::bail;
use api::resources::forms::{Field, Form, of_destinations, property};
use api::times;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use domain::Environment;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The fields with flags of another form: `--disabled`, and `--header` with `--remove-header`.
const BY_HAND: [&str; 2] = ["enabled", HEADERS];
const PLATFORMS: &str = "filter.platforms";
const HEADERS: &str = "headers";
const REMOVED: &str = "remove-header";

/// The flags whose placeholder and help differ from the API's description: field, placeholder and help. The kinds
/// append to the help.
const TYPED: [(&str, &str, &str); 5] = [
    (
        "events",
        "TYPE",
        "Events to send: `*`, `user.*`, or one type. Repeatable",
    ),
    (
        PLATFORMS,
        "ID",
        "Only events of this platform, by id or name. Repeatable",
    ),
    (
        "filter.environments",
        "NAME",
        "Only events of this environment: `production` or `sandbox`. Repeatable",
    ),
    (
        "rate",
        "N",
        "Maximum number of requests per second, over all processes",
    ),
    (
        "schedule",
        "WAITS",
        "Waits between attempts, such as `5s,5m,1h`: at most 100, and 8 days in total",
    ),
];

/// A flag for a field of a destination.
struct FieldFlag {
    /// Name of the field in the request; a dot separates an object from its field.
    field: &'static str,
    /// The label of the only kind that has the field; `None` if several kinds have it.
    kind: Option<&'static str>,
    argument: Argument,
}

/// Returns the label of the kind that has a field exclusively; `None` if several have it.
fn only_kind(forms: &[Form], name: &str) -> Option<&'static str> {
    let has = |form: &&Form| form.fields.iter().any(|field| field.name == name);
    let mut having = forms.iter().filter(has);
    let only = having.next()?;
    having.next().is_none().then_some(only.label)
}

/// The flags, starting with those that several kinds have.
static FLAGS: LazyLock<Vec<FieldFlag>> = LazyLock::new(|| {
    let forms = of_destinations();
    let mut all: Vec<FieldFlag> = Vec::new();
    for form in &forms {
        for field in form
            .fields
            .iter()
            .filter(|field| !BY_HAND.contains(&field.name))
        {
            if all.iter().all(|known| known.field != field.name) {
                let kind = only_kind(&forms, field.name);
                let argument = Argument::of_property(
                    field.name,
                    &property(form.name, field.name),
                    flag(field),
                );
                let argument = argument.parsed(parse(field.input));
                all.push(FieldFlag {
                    field: field.name,
                    kind,
                    argument,
                });
            }
        }
    }
    all.sort_by_key(|one| one.kind.is_some());
    all
});

/// Returns a field's flag. If the flag can be repeated, its name is in the singular.
fn flag(field: &Field) -> Flag {
    let name = field
        .name
        .rsplit('.')
        .next()
        .unwrap_or(field.name)
        .replace('_', "-");
    let name = match field.input {
        "events" | "platforms" | "environments" => name.trim_end_matches('s').to_owned(),
        _ => name,
    };
    let typed = TYPED.iter().find(|(known, ..)| *known == field.name);
    let typed = typed.map(|(_, value, help)| (*value, kinds::with_notes(field.name, help)));
    let typed = typed.as_ref();
    Flag::named(name, typed.map(|(value, help)| (*value, help.as_str())))
}

/// Returns the parser of a value that is sent in another form than it is typed; `None` if it is sent unchanged.
fn parse(input: &str) -> Option<Parse> {
    match input {
        "waits" => Some(wait),
        "environments" => Some(environment),
        _ => None,
    }
}

/// The flags of a destination, as typed.
#[derive(Debug)]
pub struct TypedFields(ArgMatches);

impl Args for TypedFields {
    fn augment_args(command: Command) -> Command {
        let drawn = FLAGS
            .iter()
            .filter_map(|one| Some(one.argument.drawn()?.help_heading(one.kind)));
        let header = Arg::new(HEADERS).long("header").value_name("NAME=@FILE|-").value_parser(header).help(
            "A header to send with every request; its value comes from a file or standard input and is stored as a \
             secret. Repeatable; other headers stay unchanged",
        );
        let removed = Arg::new(REMOVED)
            .long(REMOVED)
            .value_name("NAME")
            .value_delimiter(',');
        let removed = removed.help("Remove this header. Repeatable");
        let kind = only_kind(&of_destinations(), HEADERS);
        let headers = [header, removed].map(|arg| arg.action(ArgAction::Append).help_heading(kind));
        command.args(drawn).args(headers)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for TypedFields {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(matches.clone()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl TypedFields {
    /// Returns the body of a request, without the fields that were not typed. Names of platforms are looked up in the
    /// app or, without one, in all apps.
    pub async fn body(&self, client: &Client, app: Option<&str>) -> anyhow::Result<Value> {
        self.check_input()?;
        let mut body = json!({});
        for FieldFlag {
            field, argument, ..
        } in FLAGS.iter()
        {
            let Some(mut value) = argument.value(&self.0)? else {
                continue;
            };
            if *field == PLATFORMS {
                for one in value.as_array_mut().into_iter().flatten() {
                    *one = names::id_of(
                        client,
                        "platform_id",
                        Text {
                            text: &table::raw(one),
                            app,
                        },
                    )
                    .await?
                    .into();
                }
            }
            match field.split_once('.') {
                None => body[*field] = value,
                Some((outer, inner)) => body[outer][inner] = value,
            }
        }
        // Headers to remove are null.
        let removed = self.0.get_many::<String>(REMOVED).into_iter().flatten();
        let mut headers: Map<_, _> = removed.map(|name| (name.clone(), Value::Null)).collect();
        for (name, source) in self.headers() {
            headers.insert(
                name.clone(),
                source
                    .read(&format!("--header {name}"))?
                    .expose_secret()
                    .into(),
            );
        }
        if !headers.is_empty() {
            body[HEADERS] = headers.into();
        }
        Ok(body)
    }

    fn headers(&self) -> impl Iterator<Item = &(String, Source)> {
        self.0
            .get_many::<(String, Source)>(HEADERS)
            .into_iter()
            .flatten()
    }

    /// Refuses to read more than one secret from standard input, which can be read only once.
    fn check_input(&self) -> anyhow::Result<()> {
        let secrets = FLAGS.iter().filter(|one| one.argument.is_secret());
        let secrets = secrets.filter_map(|one| self.0.get_one::<Source>(one.field));
        let headers = self.headers().map(|(_, source)| source);
        if secrets
            .chain(headers)
            .filter(|source| **source == Source::Input)
            .count()
            > 1
        {
            bail!("only one secret can come from standard input: use `@FILE` for the others");
        }
        Ok(())
    }
}

/// Sets the fields of these flags to null in the body, which resets them to their defaults.
pub fn clear(body: &mut Value, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let flag = format!("--{}", name.replace('_', "-"));
        let known = FLAGS
            .iter()
            .find(|one| one.argument.typed() == flag)
            .map(|one| one.field);
        match known.unwrap_or(&name.replace('-', "_")) {
            "events" => bail!(
                "--clear {name}: a destination has no default of its events; `--event '*'` sends all"
            ),
            field => match field.split_once('.') {
                None => body[field] = Value::Null,
                Some((outer, inner)) => body[outer][inner] = Value::Null,
            },
        }
    }
    Ok(())
}

/// Replaces the field names in a refusal by the names of their flags.
pub fn in_flags(error: anyhow::Error) -> anyhow::Error {
    let flag = |field: &str| {
        let name = field.split('[').next().unwrap_or_default();
        FLAGS
            .iter()
            .find(|one| one.field == name)
            .map(|one| one.argument.typed())
    };
    match error.downcast::<Refused>() {
        Ok(refused) => refused.rename(flag).into(),
        Err(error) => error,
    }
}

/// Parses a wait between attempts. The value is in seconds.
fn wait(text: &str) -> Result<Value, String> {
    let wait = times::duration(text.trim())?;
    if wait.subsec_nanos() == 0 {
        Ok(json!(wait.as_secs()))
    } else {
        Err(format!("`{text}` is not a whole number of seconds"))
    }
}

fn environment(text: &str) -> Result<Value, String> {
    let known: Result<Environment, _> = serde_json::from_value(text.into());
    known
        .map(|known| json!(known))
        .map_err(|_| "expected `production` or `sandbox`".to_owned())
}

/// Parses `NAME=@FILE` or `NAME=-`. An error never contains the value, which may be the secret itself.
fn header(text: &str) -> Result<(String, Source), String> {
    let (name, source) = text
        .split_once('=')
        .ok_or("expected NAME=@FILE, or NAME=- for standard input")?;
    Ok((name.to_owned(), source.parse()?))
}

#[cfg(test)]
mod tests {
    use super::{TypedFields, header, wait};
    use clap::{Args, Command};
    use serde_json::json;

    #[test]
    fn every_kind_has_its_flags_under_its_name() {
        let command = TypedFields::augment_args(Command::new("create"));
        let heading = |name: &str| {
            let arg = command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(name));
            arg.unwrap_or_else(|| panic!("no --{name}"))
                .get_help_heading()
        };
        let common = [
            "name",
            "event",
            "platform",
            "environment",
            "rate",
            "schedule",
            "without-external-id",
        ];
        assert!(common.into_iter().all(|name| heading(name).is_none()));
        let webhook = [
            "url",
            "body",
            "header",
            "remove-header",
            "signature",
            "secret",
            "private-key",
            "device-batch",
        ];
        assert!(
            webhook
                .into_iter()
                .all(|name| heading(name) == Some("Webhook"))
        );
        let amplitude = [
            "endpoint",
            "api-key",
            "secret-key",
            "user-id",
            "min-id-length",
            "prefix",
            "partner-id",
        ];
        assert!(
            amplitude
                .into_iter()
                .all(|name| heading(name) == Some("Amplitude"))
        );
        assert!(
            ["to", "subject-prefix"]
                .into_iter()
                .all(|name| heading(name) == Some("Email"))
        );
    }

    #[test]
    fn the_help_states_what_is_typed() {
        let command = TypedFields::augment_args(Command::new("create"));
        let body = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some("body"))
            .expect("a flag");
        let choices: Vec<String> = body
            .get_possible_values()
            .iter()
            .map(|one| one.get_name().to_owned())
            .collect();
        assert_eq!(choices, ["event", "slack"]);
        for (name, part) in [
            ("schedule", "`5s,5m,1h`"),
            ("environment", "`sandbox`"),
            ("rate", "at most 90"),
        ] {
            let arg = command
                .get_arguments()
                .find(|arg| arg.get_long() == Some(name))
                .expect("a flag");
            let help = arg.get_help().expect("a help").to_string();
            assert!(help.contains(part) && !help.contains("null"), "{help}");
        }
    }

    #[test]
    fn a_wait_is_read_as_people_write_durations() {
        for (text, seconds) in [("5s", 5), (" 5m", 300), ("1h 30m", 5400)] {
            assert_eq!(wait(text), Ok(json!(seconds)));
        }
        for wrong in ["", "5", "1500ms", "soon"] {
            assert!(wait(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_headers_value_is_never_repeated() {
        assert_eq!(
            header("Authorization=@token").expect("a header").0,
            "Authorization"
        );
        for wrong in ["Authorization=Bearer hunter2", "hunter2"] {
            let error = header(wrong).expect_err("the value is on the command line");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
