//! Secrets for commands, read from standard input (`-`) or a file (`@FILE`): on the command line itself, a secret would
//! be visible in the process list.

use anyhow::{Context, bail};
use domain::text::trimmed;
use secrecy::SecretString;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

/// The place from which a secret is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Input,
    /// A file.
    File(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    /// Parses `@FILE` or `-`. An error never contains the text, which may be the secret itself.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some("") => Err("no file name after `@`".to_owned()),
            Some(path) => Ok(Self::File(PathBuf::from(path))),
            None if text == "-" => Ok(Self::Input),
            None => {
                Err("secrets cannot be typed on the command line: use `@FILE`, or `-` for standard input".to_owned())
            }
        }
    }
}

impl Source {
    /// Reads the secret, without spaces, line breaks and invisible characters at its ends: editors add line breaks and
    /// a byte order mark. An error names `what`, the purpose of the secret, such as the flag.
    pub fn read(&self, what: &str) -> anyhow::Result<SecretString> {
        let mut text = String::new();
        match self {
            Self::Input => {
                std::io::stdin()
                    .read_to_string(&mut text)
                    .with_context(|| format!("cannot read {what} from standard input"))?;
            }
            Self::File(path) => {
                text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {what} from {}", path.display()))?;
            }
        }
        let secret = trimmed(&text);
        if secret.is_empty() {
            bail!("{what} is empty");
        }
        Ok(SecretString::from(secret))
    }
}
