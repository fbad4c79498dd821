//! Asks for confirmation before something is deleted, if standard input and error are a terminal.

use anyhow::{Context, bail};
use std::io::{BufRead, IsTerminal, Write};

/// How a deletion is confirmed.
#[derive(Debug, Clone, clap::Args)]
pub struct Confirm {
    /// Do not ask first. A script, without a terminal, is not asked.
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Asks for confirmation.
    ///
    /// # Errors
    /// When the answer is not yes.
    pub fn prompt(&self, what: &str) -> anyhow::Result<()> {
        let (input, mut output) = (std::io::stdin(), std::io::stderr());
        if self.yes || !input.is_terminal() || !output.is_terminal() {
            return Ok(());
        }
        require_yes(&mut input.lock(), &mut output, what)
    }
}

fn require_yes(input: &mut impl BufRead, output: &mut impl Write, what: &str) -> anyhow::Result<()> {
    write!(output, "{what} Go on? [y/N] ")
        .and_then(|()| output.flush())
        .context("the question cannot be shown: give --yes")?;
    let mut answer = String::new();
    input.read_line(&mut answer).context("the answer could not be read: give --yes")?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was deleted: the answer was not `y` (--yes goes on without a question)"),
    }
}

#[cfg(test)]
mod tests {
    use super::require_yes;

    #[test]
    fn only_yes_is_yes() {
        for (answer, goes_on) in [
            ("y\n", true),
            ("Yes\n", true),
            (" y \n", true),
            ("\n", false),
            ("n\n", false),
            ("", false),
            ("yep\n", false),
        ] {
            let mut output = Vec::new();
            let result = require_yes(&mut answer.as_bytes(), &mut output, "App a is deleted.");
            assert_eq!(result.is_ok(), goes_on, "{answer:?}");
            assert_eq!(output, b"App a is deleted. Go on? [y/N] ");
        }
    }
}
