//! Moves flags that were typed before the command behind it: `settle --json app list`. Each command declares which of
//! these flags it accepts, and refuses the others.

use std::ffi::{OsStr, OsString};

/// The flags that are moved, each with whether a value follows.
const MOVED: [(&str, bool); 3] = [("--json", false), ("--service", true), ("--token", true)];
/// The flags that every command accepts in both places. A value follows each.
const TAKEN: [&str; 2] = ["--config", "--data"];

/// The flags that request help or the version.
const HELP: [&str; 4] = ["--help", "-h", "--version", "-V"];

/// Returns whether a flag belongs behind the command.
pub fn is_behind(flag: &str) -> bool {
    MOVED.iter().any(|(name, _)| *name == flag)
}

/// Returns the command line with these flags behind the command. A command line without a command is unchanged.
pub fn behind_the_command(line: Vec<OsString>) -> Vec<OsString> {
    let (mut staying, mut moved, mut at) = (Vec::new(), Vec::new(), 1);
    while let Some(text) = line.get(at) {
        let (flag, has_value) = flag(text);
        if HELP.contains(&flag.as_str()) && !moved.is_empty() {
            // General help needs no service.
            return [line[..1].to_vec(), staying, vec![text.clone()]].concat();
        }
        let moves = MOVED.iter().find(|(name, _)| *name == flag);
        let takes_value = match moves {
            Some((_, takes_value)) => *takes_value,
            None if TAKEN.contains(&flag.as_str()) => true,
            None if flag.starts_with('-') => return line,
            None => {
                return [
                    line[..1].to_vec(),
                    staying,
                    vec![text.clone()],
                    moved,
                    line[at + 1..].to_vec(),
                ]
                .concat();
            }
        };
        let length = if takes_value && !has_value { 2 } else { 1 };
        let whole = line.iter().skip(at).take(length).cloned();
        if moves.is_some() {
            moved.extend(whole)
        } else {
            staying.extend(whole)
        }
        at += length;
    }
    line
}

/// Returns the name of a flag, and whether its value is in the same text.
fn flag(typed: &OsStr) -> (String, bool) {
    let text = typed.to_string_lossy();
    match text.split_once('=') {
        Some((name, _)) if name.starts_with("--") => (name.to_owned(), true),
        _ => (text.into_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::behind_the_command;
    use std::ffi::OsString;

    fn moved(line: &str) -> String {
        let moved = behind_the_command(line.split(' ').map(OsString::from).collect());
        moved
            .iter()
            .map(|part| part.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn flags_of_the_service_move_behind_the_command() {
        for (typed, expected) in [
            ("settle --json app list", "settle app --json list"),
            (
                "settle --data d --json --service=u app list",
                "settle --data d app --json --service=u list",
            ),
            (
                "settle --token @f --service u app list -x",
                "settle app --token @f --service u list -x",
            ),
        ] {
            assert_eq!(moved(typed), expected);
        }
        for (typed, expected) in [
            ("settle --service u --help", "settle --help"),
            ("settle --json --data d -h", "settle --data d -h"),
        ] {
            assert_eq!(moved(typed), expected, "help needs no service");
        }
        for same in [
            "settle app list --json",
            "settle --json",
            "settle --window 5s --json run",
            "settle",
            "settle --data",
        ] {
            assert_eq!(moved(same), same);
        }
    }
}
