//! The end of each command's help: sentences that are folded in the source become one line, which clap wraps, and long
//! example commands are folded with backslashes.

use clap::Command;

/// Longest line of a command to copy.
const LONGEST: usize = 80;
/// Indentation of the rest of a folded command.
const INDENT: &str = "      ";

/// The command with the ends of all helps below it unfolded.
pub fn unfold(command: Command) -> Command {
    let end = command.get_after_help().map(|help| unfolded(&help.to_string()));
    let command = match end {
        Some(end) => command.after_help(end),
        None => command,
    };
    command.mut_subcommands(unfold)
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
    lines.iter().map(|line| fold(line)).collect::<Vec<_>>().join("\n")
}

fn is_sentence(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':')
}

/// A command that is too long, folded before its flags; any other line as it is.
fn fold(line: &str) -> String {
    if line.chars().count() <= LONGEST || !line.starts_with("  ") || line.contains("   ") || line.ends_with('\\') {
        return line.to_owned();
    }
    let mut parts = line.split(" --");
    let mut folded = parts.next().unwrap_or_default().to_owned();
    let mut width = folded.chars().count();
    for part in parts {
        // Two for the flag, one for the space before it and two for the sign that it goes on.
        if width + part.chars().count() + 5 > LONGEST {
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
