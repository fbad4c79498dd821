use super::verb::{Hook, Verb};
use super::{HOOKS, RESOURCES, argument, listing};
use crate::Cli;
use api::flags;
use api::operation::{Operation, Schemas};
use api::routes::routes;
use std::collections::BTreeMap;

/// Returns the verbs that make a single call, each with its resource and its arguments.
fn calls() -> Vec<(&'static str, &'static Verb, Vec<argument::Argument>)> {
    let all = RESOURCES
        .iter()
        .flat_map(|resource| resource.verbs.iter().map(|verb| (resource.name, verb)));
    let calls = all.filter(|(_, verb)| verb.call().is_some());
    calls
        .map(|(resource, verb)| (resource, verb, verb.arguments()))
        .collect()
}

#[test]
fn every_entry_of_a_flag_is_about_a_field_of_its_route() {
    for (resource, verb, arguments) in calls() {
        for field in verb.flags.keys() {
            let is_known = arguments.iter().any(|argument| argument.field == *field);
            assert!(is_known, "{resource} {}: no field {field}", verb.name);
        }
    }
}

#[test]
fn every_verb_has_either_a_call_or_a_hook_that_runs_it() {
    for resource in RESOURCES.iter() {
        for verb in &resource.verbs {
            let is_own = verb.hooks.iter().any(|hook| matches!(hook, Hook::Own(..)));
            assert!(
                is_own != verb.call.is_some(),
                "{} {}",
                resource.name,
                verb.name
            );
        }
    }
    let of_verbs: usize = RESOURCES
        .iter()
        .flat_map(|resource| &resource.verbs)
        .map(|verb| verb.hooks.len())
        .sum();
    let all: usize = HOOKS.iter().map(|(_, hooks)| hooks.len()).sum();
    assert_eq!(of_verbs, all, "each hook is with one verb");
    for (name, hooks) in HOOKS {
        let resource = RESOURCES
            .iter()
            .find(|resource| resource.name == *name)
            .expect("a resource");
        for (verb, _) in *hooks {
            assert!(
                resource.verbs.iter().any(|known| known.name == *verb),
                "a hook of {name} {verb}, which there is not"
            );
        }
    }
}

#[test]
fn every_command_that_changes_something_takes_a_reason() {
    let is_query = |call| {
        routes()
            .iter()
            .any(|route| route.is_query && (route.method, route.path) == call)
    };
    let mut without = Vec::new();
    for resource in RESOURCES.iter() {
        for verb in &resource.verbs {
            let changes = verb
                .call()
                .is_none_or(|call| call.0 != "GET" && !is_query(call));
            let command = verb.command(&verb.name);
            if changes
                && command
                    .get_arguments()
                    .all(|arg| arg.get_long() != Some("reason"))
            {
                without.push(format!("{} {}", resource.name, verb.name));
            }
        }
    }
    assert_eq!(without, ["product export"], "that one only reads");
}

#[test]
fn every_command_that_takes_a_name_takes_its_app() {
    let (mut without, mut with) = (Vec::new(), 0);
    for resource in RESOURCES.iter() {
        for verb in &resource.verbs {
            let command = verb.command(&verb.name);
            let help =
                |arg: &clap::Arg| arg.get_help().map(ToString::to_string).unwrap_or_default();
            let is_named = |arg: &clap::Arg| {
                arg.is_positional()
                    && ["The destination's id or name", "The platform's id or name"]
                        .contains(&help(arg).as_str())
            };
            let has_name = command.get_arguments().any(is_named);
            let has_app = command
                .get_arguments()
                .any(|arg| arg.get_long() == Some("app"));
            with += usize::from(has_name && has_app);
            if has_name && !has_app {
                without.push(format!("{} {}", resource.name, verb.name));
            }
        }
    }
    assert_eq!(without, [""; 0]);
    assert!(with > 10, "only {with} commands");
}

#[test]
fn the_command_that_lists_what_an_id_names_exists() {
    for (path, command) in [
        ("/v1/platforms/{platform_id}", Some("settle platform list")),
        (
            "/v1/notifications/{message_id}",
            Some("settle notification list"),
        ),
        (
            "/v1/transfer-reviews/{review_id}/approve",
            Some("settle customer reviews"),
        ),
        (
            "/v1/transfers/{transfer_id}/undo",
            Some("settle customer transfers"),
        ),
        ("/v1/device-events/{event_id}", Some("settle device events")),
        ("/v1/events/{event_id}", Some("settle event list")),
        (
            "/v1/explain/notifications/{message_id}",
            Some("settle notification list"),
        ),
        ("/v1/explain/events/{event_id}", None),
        ("/v1/things/{thing_id}", None),
        ("/v1/events", None),
    ] {
        assert_eq!(listing(path).as_deref(), command, "{path}");
    }
    for (resource, verb, _) in calls() {
        let Some((_, path)) = verb.call().filter(|(_, path)| path.contains("_id}")) else {
            continue;
        };
        let is_known = listing(path).is_some() || path.starts_with("/v1/explain/events/");
        assert!(
            is_known,
            "{resource} {}: no command lists what {path} names",
            verb.name
        );
    }
}

#[test]
fn every_argument_has_a_description_on_one_line() {
    for (resource, verb, arguments) in calls() {
        for drawn in arguments.iter().filter_map(|argument| argument.drawn()) {
            let help = drawn
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let text = help.split('(').next().unwrap_or_default().trim();
            assert!(
                !text.is_empty() && !help.contains('\n'),
                "settle {resource} {} {}: {help:?}",
                verb.name,
                drawn.get_id()
            );
        }
    }
}

#[test]
fn what_the_api_never_shows_is_typed_as_a_file() {
    for route in routes() {
        let (mut operation, mut schemas) = (Operation::default(), Schemas::default());
        (route.describe)(&mut operation, &mut schemas);
        let Some(body) = operation.body else { continue };
        let definitions = schemas.requests.take_definitions(true);
        let schema = &body["content"]["application/json"]["schema"];
        let name = schema["$ref"]
            .as_str()
            .and_then(|path| path.rsplit('/').next())
            .unwrap_or_default();
        let Some(properties) = definitions
            .get(name)
            .and_then(|schema| schema["properties"].as_object())
        else {
            continue;
        };
        let arguments = argument::of_route(route.method, route.path, &BTreeMap::new(), &|_| {
            argument::Stated::default()
        });
        for (field, _) in properties
            .iter()
            .filter(|(_, schema)| schema["writeOnly"] == true)
        {
            let argument = arguments
                .iter()
                .find(|argument| argument.field == *field)
                .expect("an argument");
            assert!(
                argument.is_secret() || schema["type"] == "object",
                "{} {}: {field}",
                route.method,
                route.path
            );
        }
    }
}

#[test]
fn a_key_that_a_call_does_not_take_is_refused_at_once() {
    for line in [
        "settle customer erase --app a --receipt r --reason x --by y",
        "settle customer move --app a --user-id u --to b --reason x",
        "settle customer name --app a --external-id e",
        "settle customer name --app a --external-id e --receipt r --app-user-id u",
        "settle platform update p --window 2h",
        "settle platform update p --clear topic-arn",
        "settle purchase list --state nonsense",
        "settle payment --app a",
        "settle platform list --limit 5",
        "settle platform list --cursor c",
        "settle destination list --limit 5",
        "settle destination list --cursor c",
    ] {
        assert!(Cli::read(line.split(' ')).is_err(), "{line}");
    }
    for line in [
        "settle alarm list --open false --app Radio",
        "settle purchase list --held --platform TV",
        "settle platform update p --clear max-wait,shared-secret --transfers default",
        "settle product set sku --app a --dry-run",
        "settle product create sku --app a",
        "settle customer merge --app a --external-id e --receipt r",
        "settle customer name --app a --external-id e --app-user-id u --store s",
        "settle customer show --app a --app-user-id u --store s",
        "settle customer move --app a --app-user-id u --store s --to b --reason x",
        "settle customer state --app a --app-user-id u --store s",
        "settle customer erase --app a --app-user-id u --store s --reason x --by y",
        "settle payment --app a --external-id e",
        "settle platform list --app a --limit 5 --cursor c",
        "settle destination list --app a --limit 5 --cursor c",
    ] {
        assert!(Cli::read(line.split(' ')).is_ok(), "{line}");
    }
}

#[test]
fn a_change_without_a_field_is_refused_with_the_fields() {
    for (line, flags) in [
        (
            "settle destination update d",
            ["--url", "--rate", "--header", "--clear"].as_slice(),
        ),
        ("settle destination update d --reason why", &["--url"]),
        ("settle platform update p", &["--name", "--clear"]),
        (
            "settle platform update p --app Radio --reason why",
            &["--name"],
        ),
    ] {
        let error = Cli::read(line.split(' ')).expect_err("nothing to change");
        let text = error.to_string();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(
            text.contains("nothing to change: add at least one of --"),
            "{line}: {text}"
        );
        assert!(
            flags.iter().all(|flag| text.contains(flag)),
            "{line}: {text}"
        );
        assert!(!text.contains("--reason"), "{line}: {text}");
    }
    for field in ["--rate 20", "--clear schedule", "--remove-header X-One"] {
        let line = format!("settle destination update d {field}");
        assert!(Cli::read(line.split(' ')).is_ok(), "{line}");
    }
}

#[test]
fn a_screen_names_each_flag_as_the_command_line_does() {
    for (resource, verb, arguments) in calls() {
        let is_alone = RESOURCES
            .iter()
            .any(|one| one.name == resource && one.verbs.len() == 1);
        let command = if is_alone {
            format!("settle {resource}")
        } else {
            format!("settle {resource} {}", verb.name)
        };
        for argument in arguments {
            assert_eq!(
                flags::of(&command, &argument.field),
                argument.name(),
                "{command}"
            );
        }
    }
}
