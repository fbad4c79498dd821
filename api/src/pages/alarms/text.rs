//! The detail of an alarm, with the operator's instructions separated. This module is pure.

use crate::parts::Sentence;

/// The beginning of a command in a detail.
const COMMAND: &str = "`settle ";

/// A detail in two parts: what happened, and the commands that an operator may run.
pub struct AlarmText {
    pub what: Sentence,
    /// Instructions for operators on the command line; `None` if the detail names no command.
    pub for_operator: Option<Sentence>,
}

impl AlarmText {
    pub fn of(text: &str) -> Self {
        let (what, commands) = parts(text);
        Self {
            what: Sentence::new(what),
            for_operator: commands.map(Sentence::new),
        }
    }
}

/// Splits a detail into the description of the problem and the operator's part, which begins with the clause that
/// contains the first command.
fn parts(text: &str) -> (&str, Option<&str>) {
    let before = text
        .find(COMMAND)
        .and_then(|at| text.get(..at))
        .unwrap_or_default();
    let end = [": ", "; "]
        .iter()
        .filter_map(|sign| before.rfind(sign))
        .max();
    match end.and_then(|end| text.split_at_checked(end)) {
        Some((what, commands)) => (what, commands.get(2..)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn commands_are_a_part_for_the_operator() {
        for (text, what, commands) in [
            (
                "it failed; `settle explain x` shows why",
                "it failed",
                Some("`settle explain x` shows why"),
            ),
            (
                "x (7): lost: if known, use `settle a`; or wait",
                "x (7): lost",
                Some("if known, use `settle a`; or wait"),
            ),
            (
                "the store rejects the credentials: set them",
                "the store rejects the credentials: set them",
                None,
            ),
            ("`settle check` found it", "`settle check` found it", None),
        ] {
            assert_eq!(parts(text), (what, commands), "{text}");
        }
    }
}
