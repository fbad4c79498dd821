//! Names of command-line flags. The tables of the command line's verbs contain those that differ from the rule, so that
//! pages name flags in the same way as the command line.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Tables of verbs by resource, in the order of the help text.
pub const TABLES: [(&str, &str); 20] = [
    ("app", include_str!("commands/verbs/app.toml")),
    ("platform", include_str!("commands/verbs/platform.toml")),
    (
        "destination",
        include_str!("commands/verbs/destination.toml"),
    ),
    ("customer", include_str!("commands/verbs/customer.toml")),
    ("product", include_str!("commands/verbs/product.toml")),
    (
        "entitlement",
        include_str!("commands/verbs/entitlement.toml"),
    ),
    ("purchase", include_str!("commands/verbs/purchase.toml")),
    ("payment", include_str!("commands/verbs/payment.toml")),
    (
        "notification",
        include_str!("commands/verbs/notification.toml"),
    ),
    ("event", include_str!("commands/verbs/event.toml")),
    ("delivery", include_str!("commands/verbs/delivery.toml")),
    ("device", include_str!("commands/verbs/device.toml")),
    ("alarm", include_str!("commands/verbs/alarm.toml")),
    ("duty", include_str!("commands/verbs/duty.toml")),
    ("key", include_str!("commands/verbs/key.toml")),
    ("sign-in", include_str!("commands/verbs/sign_in.toml")),
    ("search", include_str!("commands/verbs/search.toml")),
    ("audit-log", include_str!("commands/verbs/audit_log.toml")),
    ("explain", include_str!("commands/verbs/explain.toml")),
    ("feed", include_str!("commands/verbs/feed.toml")),
];

/// Suffixes of field names that are omitted in the names of flags.
const ENDS: [&str; 3] = ["_id", "_at", "_seconds"];
/// Fields whose flag has the whole name, because their ids are not settle's own.
const WHOLE: [&str; 4] = [
    "app_user_id",
    "external_id",
    "client_id",
    "analytics_device_id",
];

/// The part of a table that is used here.
#[derive(Deserialize)]
struct Table {
    verbs: Vec<Verb>,
}

#[derive(Deserialize)]
struct Verb {
    name: String,
    #[serde(default)]
    flags: BTreeMap<String, Flag>,
}

#[derive(Deserialize)]
struct Flag {
    name: Option<String>,
}

/// Flags whose name differs from the rule, by command and field.
static NAMED: LazyLock<BTreeMap<(String, String), String>> = LazyLock::new(|| {
    let mut found = BTreeMap::new();
    for (resource, table) in TABLES {
        let table: Table = toml::from_str(table)
            .unwrap_or_else(|error| panic!("the table of {resource}: {error}"));
        let is_alone = table.verbs.len() == 1;
        for verb in table.verbs {
            let command = if is_alone {
                resource.to_owned()
            } else {
                format!("{resource} {}", verb.name)
            };
            let named = verb
                .flags
                .into_iter()
                .filter_map(|(field, flag)| Some((field, flag.name?)));
            found.extend(named.map(|(field, name)| ((command.clone(), field), name)));
        }
    }
    found
});

/// Returns the name of a field's flag according to the rule, without dashes.
pub fn of_field(field: &str) -> String {
    let end = ENDS
        .iter()
        .find(|end| !WHOLE.contains(&field) && field.ends_with(*end));
    end.and_then(|end| field.strip_suffix(end))
        .unwrap_or(field)
        .replace('_', "-")
}

/// Returns the name of a field's flag in a command such as `settle purchase list`, without dashes.
pub fn of(command: &str, field: &str) -> String {
    let command = command.strip_prefix("settle ").unwrap_or(command);
    NAMED
        .get(&(command.to_owned(), field.to_owned()))
        .cloned()
        .unwrap_or_else(|| of_field(field))
}
