//! `settle completions` prints shell completions, and `settle manual` writes the manual pages. Both are generated from
//! this program's commands.

use super::{Cli, help};
use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::io::Write;
use std::path::{Path, PathBuf};
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

/// Prints the completions for the shell.
pub fn completions(options: &Options) -> ExitCode {
    let mut script = Vec::new();
    generate(options.shell, &mut Cli::command(), "settle", &mut script);
    // A closed pipe (as with `| head`) is not an error.
    let _ = std::io::stdout().write_all(&script);
    ExitCode::SUCCESS
}

/// Writes the manual pages.
pub fn manual(options: &Manual) -> anyhow::Result<ExitCode> {
    let folder = &options.folder;
    let mut command = help::unfold(Cli::command()).disable_help_subcommand(true);
    command.build();
    let written = std::fs::create_dir_all(folder).and_then(|()| write_pages(&command, folder));
    written.with_context(|| format!("cannot write the manual to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and those of its subcommands.
fn write_pages(command: &Command, folder: &Path) -> std::io::Result<()> {
    for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        write_pages(subcommand, folder)?;
    }
    let notes = command.get_after_help().map(ToString::to_string);
    let page = Man::new(command.clone().after_help(None::<&'static str>));
    let mut text = Vec::new();
    page.render(&mut text)?;
    if let Some(notes) = notes {
        text.extend(rendered(&notes).render().bytes());
    }
    std::fs::write(folder.join(page.get_filename()), text)
}

/// Renders the text at the end of a command's help as a section of a manual page: sentences are filled, and lines of
/// examples are unchanged.
fn rendered(notes: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    let mut is_example = false;
    for line in notes.lines() {
        if line.starts_with(' ') != is_example {
            is_example = !is_example;
            roff.control(if is_example { "nf" } else { "fi" }, []);
        }
        match line {
            "" => roff.control("PP", []),
            line => roff.text([roman(line)]),
        };
    }
    if is_example {
        roff.control("fi", []);
    }
    roff
}
