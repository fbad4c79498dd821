//! Formats the text at the end of each command's help. Sentences that are wrapped in the source become one line, which
//! clap wraps again. Long example commands are broken with backslashes.

use super::client::as_started;
use super::in_front;
use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Maximum length of a line of an example command, in characters.
const MAX_CHARS: usize = 80;
/// Indentation of the continuation lines of a broken command.
const INDENT: &str = "      ";

/// Formats the end of the help of a command and of all its subcommands.
pub fn unfold(command: Command) -> Command {
    let end = command
        .get_after_help()
        .map(|help| unfolded(&help.to_string()));
    let command = match end {
        Some(end) => command.after_help(end),
        None => command,
    };
    command.mut_subcommands(unfold)
}

/// Adds a tip to an error: the command that lists the apps if `--app` is missing, or where a misplaced option or
/// command belongs. Removes a typed secret from the error.
pub fn with_tip(mut error: Error, command: &Command) -> Error {
    let is_secret = |name: &str| name.contains("@FILE");
    if matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(name)) if is_secret(name))
    {
        error.insert(
            ContextKind::InvalidValue,
            ContextValue::String("…".to_owned()),
        );
    }
    let is_app = |name: &String| name.starts_with("--app ");
    let lacks_app = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) => names.iter().any(is_app),
        Some(ContextValue::String(name)) => is_app(name),
        _ => false,
    };
    let is_of_service = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) => {
            in_front::is_behind(name.split(['=', ' ']).next().unwrap_or_default())
        }
        _ => false,
    };
    if error.kind() == ErrorKind::UnknownArgument && is_of_service {
        let tip = "options of the service belong behind a command: `settle status --service URL`";
        let tip = StyledStr::from(as_started(tip));
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    if error.kind() == ErrorKind::MissingRequiredArgument && lacks_app {
        let tip = StyledStr::from(as_started("`settle app list` shows the apps and their ids"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    let elsewhere = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) => elsewhere(command, name),
        _ => None,
    };
    if let Some(place) = elsewhere {
        error.remove(ContextKind::SuggestedSubcommand);
        let tip = StyledStr::from(as_started(&format!("`settle {place}` is the command")));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Returns how to type the only command with this name below another command; `None` unless there is exactly one.
fn elsewhere(command: &Command, name: &str) -> Option<String> {
    let all = command
        .get_subcommands()
        .flat_map(|above| above.get_subcommands().map(move |below| (above, below)));
    let mut found = all.filter(|found| found.1.get_name() == name);
    let (above, below) = found.next()?;
    found
        .next()
        .is_none()
        .then(|| format!("{} {}", above.get_name(), below.get_name()))
}

fn unfolded(help: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in help.lines() {
        match lines.last_mut() {
            Some(last) if is_sentence(last) && is_sentence(line) && !line.starts_with("Next:") => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
        .iter()
        .map(|line| fold(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_sentence(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':')
}

/// Breaks an example command before its flags if it is too long. Any other line is unchanged.
fn fold(line: &str) -> String {
    if line.chars().count() <= MAX_CHARS
        || !line.starts_with("  ")
        || line.contains("   ")
        || line.ends_with('\\')
    {
        return line.to_owned();
    }
    let mut parts = line.split(" --");
    let mut folded = parts.next().unwrap_or_default().to_owned();
    let mut width = folded.chars().count();
    for part in parts {
        // Two characters for `--`, one for the space before it, and two for ` \` at the line's end.
        if width + part.chars().count() + 5 > MAX_CHARS {
            folded.push_str(" \\\n");
            folded.push_str(INDENT);
            width = INDENT.len();
        } else {
            folded.push(' ');
            width += 1;
        }
        folded.push_str("--");
        folded.push_str(part);
        width += part.chars().count() + 2;
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::unfolded;

    #[test]
    fn sentences_are_joined_and_long_commands_folded() {
        let help = "\
One sentence that is\nfolded here.\n\nExample:\n  settle app list\n  settle destination create --app ID --name backend \
--url https://example.com/hooks --event purchase.updated\nNext: another\nsentence.";
        let expected = "\
One sentence that is folded here.\n\nExample:\n  settle app list\n  settle destination create --app ID --name backend \
\\\n      --url https://example.com/hooks --event purchase.updated\nNext: another sentence.";
        assert_eq!(unfolded(help), expected);
    }
}
