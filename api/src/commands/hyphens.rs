//! Values that begin with a hyphen, as one in 64 store ids does: `settle explain purchase -3kd…`, `--receipt -x`.
//!
//! A command line is first parsed strictly, so that such a text counts as a flag. Only if that fails, it is parsed
//! again with values that may begin with a hyphen. A text that looks like a mistyped flag is still not accepted as a
//! value unless it follows `--` or `=`.

use clap::error::{Error, ErrorKind};
use clap::{ArgMatches, Command};
use std::ffi::{OsStr, OsString};

/// Returns the matches of a command line that the strict parser refused with this error; `None` if the lenient parser
/// refuses it too.
pub fn matches(command: Command, line: &[OsString], refused: &Error) -> Option<ArgMatches> {
    let is_help = |token: &OsString| HELP.iter().any(|help| token == help);
    if matches!(
        refused.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) && line.iter().any(is_help)
    {
        return None;
    }
    let found = lenient(command).try_get_matches_from(line).ok()?;
    let typed: Vec<&OsStr> = line
        .iter()
        .map(OsString::as_os_str)
        .take_while(|token| *token != "--")
        .collect();
    (!takes_a_flag(&found, &typed)).then_some(found)
}

/// Arguments that request help or the version. A value such as `-hK3…` can begin like one of them.
const HELP: [&str; 5] = ["-h", "--help", "help", "-V", "--version"];

/// Returns the command with values that may begin with a hyphen, except for flags whose value is optional.
fn lenient(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let is_optional = arg
            .get_num_args()
            .is_some_and(|range| range.min_values() == 0);
        let takes_values = arg.get_action().takes_values() && !is_optional;
        if takes_values {
            arg.allow_hyphen_values(true)
        } else {
            arg
        }
    });
    command.mut_subcommands(lenient)
}

/// Returns whether one of these tokens was parsed as a value, though it looks like a flag.
fn takes_a_flag(matches: &ArgMatches, typed: &[&OsStr]) -> bool {
    let of_ids = matches
        .ids()
        .filter_map(|id| matches.try_get_raw(id.as_str()).ok().flatten());
    of_ids
        .flatten()
        .any(|value| is_like_a_flag(value) && typed.contains(&value))
        || matches
            .subcommand()
            .is_some_and(|(_, below)| takes_a_flag(below, typed))
}

/// Returns whether a text looks like a flag: two hyphens, then lower-case letters and hyphens, and perhaps a value.
fn is_like_a_flag(text: &OsStr) -> bool {
    let text = text.to_string_lossy();
    let name = text
        .strip_prefix("--")
        .map(|rest| rest.split('=').next().unwrap_or_default());
    name.is_some_and(|name| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .chars()
                .all(|char| char.is_ascii_lowercase() || char == '-')
    })
}

#[cfg(test)]
mod tests {
    use crate::Cli;

    #[test]
    fn a_value_may_begin_with_a_hyphen_in_every_command() {
        for line in [
            "settle explain purchase -3kd_9-=:3:11",
            "settle explain purchase -3kd_9-=:3:11 --json",
            "settle explain purchase --json -hKd",
            "settle explain purchase -- --json",
            "settle purchase show -3kd_9-=:3:11",
            "settle purchase show -Vkd",
            "settle purchase hold -3kd --reason -why",
            "settle sample --receipt -x --user -KbQ=",
            "settle resend purchase -x",
            "settle customer show --external-id -KbQ --app a",
            "settle customer erase --external-id -KbQ --app -a --yes --reason -r --by -b",
            "settle customer name --external-id --KbQ= --app-user-id -u --app a",
            "settle app create -name",
            "settle app rename -3 -4 --reason -5",
            "settle product set -sku --name -name --entitlement -gold --app a",
        ] {
            let read = Cli::read(line.split(' ')).map(drop);
            assert_eq!(read.map_err(|error| error.to_string()), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_mistyped_flag_stays_an_error_and_help_is_help() {
        for (line, part) in [
            (
                "settle explain purchase --jsn",
                "unexpected argument '--jsn'",
            ),
            (
                "settle explain purchase r1 --jsn",
                "unexpected argument '--jsn'",
            ),
            (
                "settle app rename a b --reason --json",
                "a value is required for '--reason",
            ),
            ("settle purchase list -x", "unexpected argument '-x'"),
            ("settle explain purchase -h", "Usage:"),
            ("settle --version", "settle "),
        ] {
            let refused = Cli::read(line.split(' '))
                .map(drop)
                .map_err(|error| error.to_string());
            assert!(
                refused.as_ref().is_err_and(|text| text.contains(part)),
                "{line}: {refused:?}"
            );
        }
    }
}
