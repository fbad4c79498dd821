//! The arguments of a command, derived from the description of its route.

use super::pairs::{self, Pair};
use crate::secret::Source;
use api::clock;
use api::extract::shape::{admits_null, choices, is_required, present, type_of};
use api::flags;
use api::operation::{Operation, Schemas};
use api::routes::routes;
use api::times;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use domain::Timestamp;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// Converts a typed value to the value that is sent. An error says what was expected.
pub type Parse = fn(&str) -> Result<Value, String>;
/// Returns the displayed names of a choice, which can also be typed.
pub type Shown = fn(&str) -> Vec<&str>;

/// What a verb's hooks define for a field.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stated {
    pub parse: Option<Parse>,
    pub shown: Option<Shown>,
}

/// How the flag of a field differs from the derived one. By default, a flag is named like its field, without `_id`,
/// `_at` or `_seconds`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flag {
    name: Option<String>,
    /// Alternative name of the flag.
    alias: Option<String>,
    /// Placeholder for the value in the help.
    value: Option<String>,
    help: Option<String>,
    /// Value that is sent if nothing is typed.
    default: Option<String>,
    /// Whether the value is typed without the flag's name.
    positional: bool,
    /// Whether the flag is required, though the API does not require the field.
    required: bool,
    /// Whether the flag is optional, though the API requires the field.
    optional: bool,
    /// Whether the flag does not exist on the command line.
    hidden: bool,
    /// The field whose flag must be typed too.
    requires: Option<String>,
}

impl Flag {
    /// Returns a flag with this name. `typed` is its placeholder and its help; without it, those of the API.
    pub fn named(name: String, typed: Option<(&str, &str)>) -> Self {
        let (value, help) = typed
            .map(|(value, help)| (value.to_owned(), help.to_owned()))
            .unzip();
        Self {
            name: Some(name),
            value,
            help,
            ..Self::default()
        }
    }
}

/// The part of the request that contains an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Body,
}

/// One argument: a field of the API, and how it is typed.
#[derive(Debug)]
pub struct Argument {
    pub field: String,
    pub place: Place,
    flag: Flag,
    stated: Stated,
    help: String,
    is_required: bool,
    /// Whether null resets the field to its default.
    is_nullable: bool,
    kind: ArgumentKind,
}

/// How an argument is typed.
#[derive(Debug)]
enum ArgumentKind {
    Text,
    Number {
        least: Option<i64>,
        most: Option<i64>,
    },
    /// Flag without a value.
    Switch,
    Bool,
    Choice(Vec<String>),
    /// A time. A duration is converted to a time that far from now, in the future if `is_ahead`, else in the past.
    Time {
        is_ahead: bool,
    },
    /// A duration, sent in seconds.
    Seconds {
        least: Option<i64>,
        most: Option<i64>,
    },
    /// A secret that is read from a file or from standard input.
    Secret,
    /// A list of texts.
    Many,
    /// An object with arbitrary field names.
    Pairs,
}

/// Marks the schema of a field that null resets.
const NULLABLE: &str = "x-nullable";
/// The value to type to reset a choice.
const DEFAULT: &str = "default";

/// The parameters of a route's query, and the schema of its body, both with references resolved.
struct RouteFields {
    query: Vec<Value>,
    body: Value,
    /// Whether a header carries the reason of a change.
    has_reason: bool,
}

/// The API's routes, by method and path.
static ROUTES: LazyLock<BTreeMap<(&'static str, &'static str), RouteFields>> =
    LazyLock::new(|| {
        let mut all = Vec::new();
        let mut schemas = Schemas::default();
        for route in routes() {
            let mut operation = Operation::default();
            (route.describe)(&mut operation, &mut schemas);
            all.push(((route.method, route.path), operation));
        }
        let definitions = schemas.requests.take_definitions(true);
        let described = all.into_iter().map(|(call, operation)| {
            let (headers, mut query): (Vec<_>, Vec<_>) = operation
                .query
                .into_iter()
                .partition(|parameter| parameter["in"] == "header");
            for parameter in &mut query {
                let mut schema = resolved(&parameter["schema"], &definitions);
                schema["description"] = parameter["description"].take();
                parameter["schema"] = schema;
            }
            let body = operation.body.unwrap_or_default();
            let mut body = resolved(&body["content"]["application/json"]["schema"], &definitions);
            let is_patch = call.0 == "PATCH";
            for schema in body
                .get_mut("properties")
                .and_then(Value::as_object_mut)
                .into_iter()
                .flat_map(Map::values_mut)
            {
                let is_nullable =
                    is_patch && admits_null(schema) && schema["x-nullIsAbsent"] != true;
                *schema = resolved(schema, &definitions);
                schema[NULLABLE] = is_nullable.into();
            }
            (
                call,
                RouteFields {
                    query,
                    body,
                    has_reason: !headers.is_empty(),
                },
            )
        });
        described.collect()
    });

/// Returns the arguments of a route: those of the path, of the query and of the body, in this order.
///
/// # Panics
/// Panics if there is no such route. A test derives the arguments of every route.
pub fn of_route(
    method: &str,
    path: &str,
    flags: &BTreeMap<String, Flag>,
    stated: &dyn Fn(&str) -> Stated,
) -> Vec<Argument> {
    let RouteFields { query, body, .. } = fields_of(method, path);
    let drawn = |name: &str, place: Place, schema: &Value, is_required: bool| {
        let flag = flags.get(name).cloned().unwrap_or_default();
        Argument {
            flag,
            stated: stated(name),
            ..Argument::new(name, place, schema, is_required)
        }
    };
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let of_path = names.map(|name| drawn(name, Place::Path, &json!({ "type": "string" }), true));
    let of_query = query.iter().map(|parameter| {
        let name = parameter["name"].as_str().unwrap_or_default();
        drawn(
            name,
            Place::Query,
            &parameter["schema"],
            parameter["required"] == true,
        )
    });
    let of_body = body["properties"].as_object().into_iter().flatten();
    let of_body =
        of_body.map(|(name, schema)| drawn(name, Place::Body, schema, is_required(body, name)));
    of_path.chain(of_query).chain(of_body).collect()
}

/// Returns whether a change by this route carries its reason in a header, and not in its body.
pub fn takes_reason(method: &str, path: &str) -> bool {
    let RouteFields {
        body, has_reason, ..
    } = fields_of(method, path);
    *has_reason && body["properties"].get("reason").is_none()
}

fn fields_of<'a>(method: &'a str, path: &'a str) -> &'a RouteFields {
    ROUTES
        .get(&(method, path))
        .unwrap_or_else(|| panic!("no route {method} {path}"))
}

/// Resolves a schema that is a reference.
fn resolved(schema: &Value, definitions: &Map<String, Value>) -> Value {
    let inner = present(schema);
    let name = inner["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    let mut found = name
        .and_then(|name| definitions.get(name))
        .unwrap_or(inner)
        .clone();
    for outer in ["description", "writeOnly"] {
        if let Some(value) = schema.get(outer) {
            found[outer] = value.clone();
        }
    }
    found
}

/// Returns the help for a path parameter. The API describes it only through its route.
fn of_path(field: &str) -> Option<&'static str> {
    Some(match field {
        "alarm_id" => "The alarm's id",
        "app_id" => "The app's id or name",
        "collapse_key" => "The collapse key, or the store's id of the purchase",
        "delivery_id" => "The delivery's id, which receivers see as `webhook-id`",
        "destination_id" => "The destination's id or name",
        "duty_id" => "The duty's id",
        "erasure_id" => "The report's id",
        "event_id" => "The event's id: `event_id` in a receiver's body",
        "key_id" => "The key's id",
        "message_id" => "The store's id for the message",
        "platform_id" => "The platform's id or name",
        "ref" => "The entitlement's reference id, which you choose",
        "review_id" => "The review's id, as in the alarm",
        "sign_in_id" => "The sign-in's id",
        "sku" => "The product's SKU at the store",
        "topic_id" => "The topic's id",
        "transfer_id" => "The transfer's id, as in its events",
        _ => return None,
    })
}

impl Argument {
    fn new(field: &str, place: Place, schema: &Value, is_required: bool) -> Self {
        let description = schema["description"]
            .as_str()
            .or(of_path(field))
            .unwrap_or_default()
            .replace('\n', " ");
        Self {
            field: field.to_owned(),
            place,
            flag: Flag::default(),
            stated: Stated::default(),
            help: description
                .strip_suffix('.')
                .unwrap_or(&description)
                .to_owned(),
            is_required,
            is_nullable: schema[NULLABLE] == true,
            kind: ArgumentKind::of(field, place, schema),
        }
    }

    /// Returns an optional argument for a field of the body, with this flag.
    pub fn of_property(field: &str, schema: &Value, flag: Flag) -> Self {
        Self {
            flag,
            ..Self::new(field, Place::Body, schema, false)
        }
    }

    /// Makes the argument optional.
    pub fn optional(self) -> Self {
        Self {
            is_required: false,
            ..self
        }
    }

    /// Sets the parser of a value that is sent in another form than it is typed.
    pub fn parsed(self, parse: Option<Parse>) -> Self {
        Self {
            stated: Stated {
                parse,
                ..self.stated
            },
            ..self
        }
    }

    /// Returns whether the argument is typed without a name.
    pub fn is_positional(&self) -> bool {
        self.flag.positional
            || self.place == Place::Path && self.field != "app_id" && self.flag.name.is_none()
    }

    /// Returns whether the argument can be reset to its default.
    pub fn is_resettable(&self) -> bool {
        self.is_nullable && !self.flag.required && !self.flag.hidden
    }

    /// Returns the flag's name without dashes.
    pub fn name(&self) -> String {
        self.flag
            .name
            .clone()
            .unwrap_or_else(|| flags::of_field(&self.field))
    }

    /// Returns the flag as it is typed, with dashes.
    pub fn typed(&self) -> String {
        if self.is_positional() {
            self.value_name()
        } else {
            format!("--{}", self.name())
        }
    }

    fn value_name(&self) -> String {
        let of_kind = match &self.kind {
            ArgumentKind::Time { .. } => "TIME",
            ArgumentKind::Number { .. } => "N",
            ArgumentKind::Seconds { .. } => "DURATION",
            ArgumentKind::Secret => "@FILE|-",
            _ if self.field == "app_id" => "APP",
            _ if self.field.ends_with("_id") => "ID",
            _ => "",
        };
        let own = || {
            if of_kind.is_empty() {
                self.name().to_uppercase().replace('-', "_")
            } else {
                of_kind.to_owned()
            }
        };
        self.flag.value.clone().unwrap_or_else(own)
    }

    /// Returns the command line argument; `None` if it cannot be typed.
    pub fn drawn(&self) -> Option<Arg> {
        if self.flag.hidden {
            return None;
        }
        let help = format!(
            "{}{}",
            self.flag.help.as_ref().unwrap_or(&self.help),
            self.kind.grammar()
        );
        let arg = Arg::new(self.field.clone())
            .help(help)
            .value_name(self.value_name());
        let parse = self.stated.parse.unwrap_or(|text| Ok(text.into()));
        let arg = match &self.kind {
            ArgumentKind::Bool => arg
                .value_parser(value_parser!(bool))
                .num_args(0..=1)
                .default_missing_value("true")
                .value_name("true|false"),
            ArgumentKind::Switch => arg.action(ArgAction::SetTrue),
            ArgumentKind::Choice(known) => {
                let reset = self.is_resettable().then(|| DEFAULT.to_owned());
                let known = known
                    .iter()
                    .cloned()
                    .chain(reset)
                    .map(|choice| choice_of(choice, self.stated.shown));
                let known: Vec<PossibleValue> = known.collect();
                let parser = PossibleValuesParser::new(known.clone());
                arg.ignore_case(true)
                    .value_parser(parser.map(move |typed| name_of(&known, typed)))
            }
            ArgumentKind::Number { least, most } => {
                let (least, most) = (*least, *most);
                arg.value_parser(move |text: &str| whole_number(text, least, most))
            }
            ArgumentKind::Time { is_ahead: true } => {
                arg.value_parser(|text: &str| times::instant(text, clock::now()))
            }
            ArgumentKind::Time { is_ahead: false } => {
                arg.value_parser(|text: &str| times::past(text, clock::now()))
            }
            ArgumentKind::Seconds { least, most } => {
                let (least, most) = (*least, *most);
                arg.value_parser(move |text: &str| whole_seconds(text, least, most))
            }
            ArgumentKind::Secret => arg.value_parser(value_parser!(Source)),
            ArgumentKind::Many => arg
                .value_parser(parse)
                .value_delimiter(',')
                .action(ArgAction::Append),
            ArgumentKind::Pairs => arg.value_parser(pairs::parse).action(ArgAction::Append),
            ArgumentKind::Text => arg.value_parser(parse),
        };
        let arg = match &self.flag.requires {
            Some(other) => arg.requires(other.clone()),
            None => arg,
        };
        let arg = match &self.flag.default {
            Some(default) => arg.default_value(default.clone()),
            None => arg,
        };
        let is_typed =
            self.is_required && !matches!(self.kind, ArgumentKind::Many) || self.flag.required;
        let is_required = is_typed && self.flag.default.is_none() && !self.flag.optional;
        let arg = arg.required(is_required);
        let arg = match &self.flag.alias {
            Some(alias) => arg.visible_alias(alias.clone()),
            None => arg,
        };
        Some(if self.is_positional() {
            arg
        } else {
            arg.long(self.name())
        })
    }

    /// Returns the value for a list that was not typed: an empty list if the list is required, since it is then
    /// replaced as a whole.
    fn nothing(&self) -> Option<Value> {
        self.is_required.then(|| json!([]))
    }

    /// Returns whether the argument's value is a secret.
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, ArgumentKind::Secret)
    }

    /// Returns whether the argument's value may be shown again: it neither is nor contains a secret.
    pub const fn is_open(&self) -> bool {
        !matches!(self.kind, ArgumentKind::Secret | ArgumentKind::Pairs)
    }

    /// Returns how to type a field of the API that is this argument or a part of it: `--flag`, or `--flag NAME`.
    pub fn typed_part(&self, field: &str) -> String {
        let part = field
            .strip_prefix(&self.field)
            .and_then(|rest| rest.strip_prefix('.'))
            .filter(|_| matches!(self.kind, ArgumentKind::Pairs));
        match part {
            Some(name) => format!("{} {name}", self.typed()),
            None => self.typed(),
        }
    }

    /// Returns whether the argument's value can be a name that stands for an id.
    pub const fn is_text(&self) -> bool {
        matches!(self.kind, ArgumentKind::Text)
    }

    /// Returns the API's value for what was typed; `None` if nothing was typed. Names are not resolved to ids.
    pub fn value(&self, matches: &ArgMatches) -> anyhow::Result<Option<Value>> {
        if self.flag.hidden {
            return Ok(None);
        }
        let id = self.field.as_str();
        Ok(match &self.kind {
            ArgumentKind::Switch => matches.get_flag(id).then_some(json!(true)),
            ArgumentKind::Bool => matches.get_one::<bool>(id).map(|is_set| json!(is_set)),
            ArgumentKind::Number { .. } => matches.get_one::<i64>(id).map(|number| json!(number)),
            ArgumentKind::Time { .. } => matches.get_one::<Timestamp>(id).map(|at| json!(at)),
            ArgumentKind::Seconds { .. } => {
                matches.get_one::<u64>(id).map(|seconds| json!(seconds))
            }
            ArgumentKind::Secret => match matches.get_one::<Source>(id) {
                Some(source) => Some(source.read(&self.typed())?.expose_secret().into()),
                None => None,
            },
            ArgumentKind::Many => matches
                .get_many::<Value>(id)
                .map(|values| values.cloned().collect())
                .or(self.nothing()),
            ArgumentKind::Choice(_) => {
                matches
                    .get_one::<String>(id)
                    .map(|text| match text.as_str() {
                        DEFAULT if self.is_resettable() => Value::Null,
                        text => text.into(),
                    })
            }
            ArgumentKind::Pairs => match matches.get_many::<Pair>(id) {
                Some(typed) => Some(pairs::fields(&self.typed(), typed)?.into()),
                None => None,
            },
            ArgumentKind::Text => matches.get_one::<Value>(id).cloned(),
        })
    }
}

/// Returns a choice that can be typed by its API name or by its displayed names.
fn choice_of(name: String, shown: Option<Shown>) -> PossibleValue {
    let others: Vec<String> = shown.map_or_else(Vec::new, |shown| {
        shown(&name).into_iter().map(str::to_owned).collect()
    });
    let others: Vec<String> = others.into_iter().filter(|other| *other != name).collect();
    PossibleValue::new(name).aliases(others)
}

/// Returns the API name of the choice that was typed.
fn name_of(known: &[PossibleValue], typed: String) -> String {
    let found = known.iter().find(|choice| choice.matches(&typed, true));
    found.map_or(typed, |choice| choice.get_name().to_owned())
}

/// Parses a whole number within limits.
fn whole_number(text: &str, least: Option<i64>, most: Option<i64>) -> Result<i64, String> {
    let is_within = |number: &i64| {
        least.is_none_or(|least| *number >= least) && most.is_none_or(|most| *number <= most)
    };
    text.parse()
        .ok()
        .filter(is_within)
        .ok_or_else(|| match (least, most) {
            (least, Some(most)) => format!(
                "expected a whole number from {} to {most}",
                least.unwrap_or_default()
            ),
            (Some(least), None) => format!("expected a whole number, at least {least}"),
            (None, None) => "expected a whole number".to_owned(),
        })
}

/// Parses a duration of whole seconds within limits.
fn whole_seconds(text: &str, least: Option<i64>, most: Option<i64>) -> Result<u64, String> {
    let duration = times::duration(text)?;
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let is_within =
        least.is_none_or(|least| seconds >= least) && most.is_none_or(|most| seconds <= most);
    if duration.subsec_nanos() == 0 && is_within {
        return Ok(duration.as_secs());
    }
    Err(match (least, most) {
        (least, Some(most)) => {
            let least = seconds_as_typed(least.unwrap_or_default());
            format!(
                "expected {least} to {}, in whole seconds",
                seconds_as_typed(most)
            )
        }
        _ => "expected a duration of whole seconds, such as 90s".to_owned(),
    })
}

fn seconds_as_typed(seconds: i64) -> String {
    times::compact(Duration::from_secs(seconds.unsigned_abs()))
}

/// Returns the limits of a number in parentheses; empty if there is no upper limit.
fn between(least: Option<i64>, most: Option<i64>, shown: fn(i64) -> String) -> String {
    match (least, most) {
        (least, Some(most)) => {
            format!(" ({} to {})", shown(least.unwrap_or_default()), shown(most))
        }
        _ => String::new(),
    }
}

impl ArgumentKind {
    /// Returns how a value is typed, to be appended to the description.
    fn grammar(&self) -> String {
        match self {
            Self::Time { is_ahead: true } => {
                " (a time, a day, or `2h` for two hours from now)".to_owned()
            }
            Self::Time { is_ahead: false } => {
                " (a time, a day, `yesterday`, or `2h` for two hours ago)".to_owned()
            }
            Self::Secret => " (`@FILE`, or `-` for standard input)".to_owned(),
            Self::Number { least, most } => between(*least, *most, |number| number.to_string()),
            Self::Seconds { least, most } => between(*least, *most, seconds_as_typed),
            _ => String::new(),
        }
    }

    fn of(field: &str, place: Place, schema: &Value) -> Self {
        let choices = choices(schema);
        let is_format = |format: &str| schema["format"] == format;
        let (least, most) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
        match type_of(schema) {
            _ if !choices.is_empty() => {
                Self::Choice(choices.into_iter().map(str::to_owned).collect())
            }
            _ if is_format("date-time") => Self::Time {
                is_ahead: place == Place::Body,
            },
            _ if schema["writeOnly"] == true => Self::Secret,
            "integer" if field.ends_with("_seconds") => Self::Seconds { least, most },
            "integer" => Self::Number { least, most },
            "boolean" if field == "dry_run" => Self::Switch,
            "boolean" => Self::Bool,
            "array" => Self::Many,
            "object" if schema["additionalProperties"] == true => Self::Pairs,
            _ => Self::Text,
        }
    }
}
