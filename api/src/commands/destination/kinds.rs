//! The parts of the help of `settle destination` that the kinds of destination provide.

use protocols::destinations::{self, HelpText, Kind};

/// Returns the table of the verbs, with its placeholders replaced by the kinds' texts.
pub fn fill(table: &str) -> String {
    let helps = || destinations::kinds().map(Kind::help_text);
    let first = helps().filter_map(|help| help.examples.first().copied());
    let all = helps().flat_map(|help| help.examples.iter().copied());
    let samples: Vec<&str> = helps().filter_map(|help| help.sample).collect();
    table
        .replace("[first examples]", &lines(first))
        .replace("[examples]", &lines(all))
        .replace("[samples]", &samples.join(", "))
}

/// Returns the help of a flag, with the notes of the kinds that have the field.
pub fn with_notes(field: &str, help: &str) -> String {
    let note = |kind: &dyn Kind| {
        let HelpText { flags, .. } = kind.help_text();
        let (_, text) = flags.iter().find(|(known, _)| *known == field)?;
        Some(format!(". {}: {text}", kind.form().label))
    };
    let notes = destinations::kinds().filter_map(note);
    notes.fold(help.to_owned(), |help, note| help + &note)
}

/// Returns the help of `--kind`.
pub fn help() -> String {
    format!("The kind of destination: {}", destinations::names())
}

/// Returns the default kind of a destination: the first one.
pub fn usual() -> &'static str {
    destinations::kinds().next().map_or("", |kind| kind.name())
}

fn lines(commands: impl Iterator<Item = &'static str>) -> String {
    let lines: Vec<String> = commands.map(|command| format!("  {command}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{fill, usual, with_notes};
    use protocols::destinations::{Kind, kinds};

    #[test]
    fn the_help_has_the_text_of_each_kind() {
        let table = include_str!("../verbs/destination.toml");
        let filled = fill(table);
        for kind in kinds() {
            let help = kind.help_text();
            for example in help.examples {
                assert!(filled.contains(&format!("\n  {example}\n")), "{example}");
            }
            assert!(help.sample.is_none_or(|sample| filled.contains(sample)));
            let noted = with_notes("rate", "How fast");
            for (_, text) in help.flags.iter().filter(|(field, _)| *field == "rate") {
                let note = format!(". {}: {text}", kind.form().label);
                assert!(noted.contains(&note), "{noted}");
            }
        }
        for mark in ["[first examples]", "[examples]", "[samples]"] {
            assert!(table.contains(mark) && !filled.contains(mark), "{mark}");
        }
        assert_eq!(with_notes("schedule", "Waits"), "Waits");
        assert!(kinds().map(Kind::name).any(|name| name == usual()));
    }
}
