//! Asks for confirmation before something is deleted, if standard input and error are a terminal.

use anyhow::{Context, bail};
use std::io::{BufRead, IsTerminal, Write};

/// How a deletion is confirmed.
#[derive(Debug, Clone, clap::Args)]
pub struct Confirm {
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

/// A question that must be confirmed before a change that is costly to undo.
pub struct Question {
    /// The question, which names what it affects.
    pub text: String,
    /// Text that must be typed to confirm.
    pub answer: String,
    /// The flag that a script passes instead of an answer.
    pub flag: &'static str,
}

impl Confirm {
    /// Asks for confirmation, but only on a terminal.
    ///
    /// # Errors
    /// Fails if the answer is not yes.
    pub fn prompt(&self, what: &str) -> anyhow::Result<()> {
        if self.yes || !is_terminal() {
            return Ok(());
        }
        let yes = Question {
            text: format!("{what} Continue? [y/N]"),
            answer: YES.to_owned(),
            flag: "--yes",
        };
        yes.on(&mut std::io::stdin().lock(), &mut std::io::stderr())
    }
}

/// The answer for yes; `yes` is accepted too.
pub const YES: &str = "y";

impl Question {
    /// Asks the question on a terminal. Without a terminal, the flag must be passed instead.
    ///
    /// # Errors
    /// Fails if the answer differs, or if there is no terminal.
    pub fn require(&self) -> anyhow::Result<()> {
        if !is_terminal() {
            bail!(
                "nothing was changed: {} Without a terminal, confirm with {}",
                self.text,
                self.flag
            );
        }
        self.on(&mut std::io::stdin().lock(), &mut std::io::stderr())
    }

    fn on(&self, input: &mut impl BufRead, output: &mut impl Write) -> anyhow::Result<()> {
        let Self { text, answer, flag } = self;
        write!(output, "{text} ")
            .and_then(|()| output.flush())
            .with_context(|| format!("cannot show the question: confirm with {flag}"))?;
        let mut typed = String::new();
        input
            .read_line(&mut typed)
            .with_context(|| format!("cannot read the answer: confirm with {flag}"))?;
        let typed = typed.trim();
        let is_yes = answer == YES && ["y", "yes"].contains(&typed.to_lowercase().as_str());
        if is_yes || (answer != YES && typed == answer) {
            return Ok(());
        }
        bail!(
            "nothing was changed: the answer was not `{answer}` ({flag} confirms without a question)"
        )
    }
}

fn is_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::{Question, YES};

    fn is_confirmed(answer: &str, typed: &str) -> bool {
        let question = Question {
            text: "Delete it?".to_owned(),
            answer: answer.to_owned(),
            flag: "--yes",
        };
        let mut output = Vec::new();
        let result = question.on(&mut typed.as_bytes(), &mut output);
        assert_eq!(output, b"Delete it? ");
        result.is_ok()
    }

    #[test]
    fn only_yes_is_yes() {
        for (typed, goes_on) in [
            ("y\n", true),
            ("Yes\n", true),
            (" y \n", true),
            ("\n", false),
            ("n\n", false),
            ("n\ny\n", false),
            ("", false),
            ("yep\n", false),
        ] {
            assert_eq!(is_confirmed(YES, typed), goes_on, "{typed:?}");
        }
    }

    #[test]
    fn an_id_is_typed_whole() {
        for (typed, goes_on) in [
            ("max@example.com\n", true),
            ("y\n", false),
            ("max\n", false),
            ("", false),
        ] {
            assert_eq!(is_confirmed("max@example.com", typed), goes_on, "{typed:?}");
        }
    }
}
