//! `settle completions`: completions for a shell, and `settle manual`: the manual pages. Both are made from the tree of
//! commands, so that they are of this very program.

use super::{Cli, help};
use anyhow::Context;
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the completions of commands and flags for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle completions bash > ~/.local/share/bash-completion/completions/settle
  settle completions zsh > ~/.zfunc/_settle   # with ~/.zfunc in fpath
  settle completions fish > ~/.config/fish/completions/settle.fish
Packages contain these files.
Next: open a new shell, type `settle ` and press Tab.")]
pub struct Options {
    /// The shell whose completions are printed.
    shell: Shell,
}

/// Write the manual pages, one of each command, into a folder. For packages, which contain them.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct Manual {
    /// The folder, created if it is missing.
    pub folder: PathBuf,
}

/// Prints the completions.
pub fn completions(options: &Options) -> ExitCode {
    let mut script = Vec::new();
    generate(options.shell, &mut Cli::command(), "settle", &mut script);
    // A closed pipe (`| head`) is no error.
    let _ = std::io::stdout().write_all(&script);
    ExitCode::SUCCESS
}

/// Writes the manual pages.
pub fn manual(options: &Manual) -> anyhow::Result<ExitCode> {
    let folder = &options.folder;
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(help::unfold(Cli::command()), folder));
    written.with_context(|| format!("cannot write the manual to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
