//! The command line: the tree of commands, and the function that runs each command.
//!
//! This file only parses and dispatches. This folder is the composition root: the only place where the HTTP edge and
//! the activities are connected.

mod additions;
mod alone;
mod app;
mod check;
mod check_revenue;
mod client;
mod completions;
mod confirm;
mod countdown;
mod customer;
mod customer_shown;
mod data;
mod delivery;
mod destination;
mod destinations;
mod device;
mod drawn;
mod event;
mod explain;
mod forward;
mod healthy;
mod help;
mod history;
mod hyphens;
mod import;
mod in_front;
mod key;
mod layout;
mod listen;
mod migrate;
mod names;
mod notification;
mod open;
mod payment;
mod platform;
pub mod polls;
mod processes;
mod product;
mod progress;
mod purchase;
mod rates;
mod receiver;
mod refusals;
mod resend;
mod rows;
mod run;
mod sales;
mod sample;
mod search;
mod secret;
mod secret_urls;
mod serve;
mod settings;
mod sign_in;
mod sockets;
mod status;
mod stop;
pub mod sweeping;
mod table;
#[cfg(test)]
mod tests;
mod worker;

pub use additions::Additions;
pub use serve::{allowed, sender};

use api::router::Dashboard;
use api::stores::StoreCommand;
use api::telemetry;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Turns app-store notifications into purchase events you can trust: verified, debounced per purchase, decided once and
/// sent until they arrive.
#[derive(Debug, Parser)]
#[command(
    name = "settle",
    version,
    max_term_width = 80,
    after_help = "\
Without a command, settle runs `settle run`: everything on one machine, with a
demo app.

  settle --window 5s        start everything (Temporal, SQLite, API, worker)
  settle sample             in another terminal: send a signed notification
  settle purchase list      show the settled purchase
  settle status             check that everything works

Exit codes: 0 success, 1 failure or a negative result, 2 wrong usage.
`settle help COMMAND` explains a command, with an example and the next step."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Options),
    Serve(serve::Options),
    Worker(worker::Options),
    Migrate(migrate::Options),
    Sample(sample::Options),
    Listen(listen::Options),
    #[command(flatten)]
    Store(StoreCommand),
    #[command(flatten)]
    Drawn(drawn::Typed),
    Open(open::Options),
    Status(status::Options),
    Healthy(healthy::Options),
    Resend(resend::Options),
    Check(check::Options),
    Completions(completions::Options),
    Manual(completions::Manual),
    History(history::Options),
}

impl Cli {
    /// Parses a command line. Refuses a flag of `settle run` before another command.
    fn read<T: Into<OsString> + Clone>(
        line: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let mut command = help::unfold(Self::command());
        let line = in_front::behind_the_command(line.into_iter().map(Into::into).collect());
        let strict = command.try_get_matches_from_mut(&line);
        let lenient = |error| {
            let found = hyphens::matches(help::unfold(Self::command()), &line, &error);
            found.ok_or_else(|| help::with_tip(error, &command))
        };
        let matches = strict.or_else(lenient)?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        match (&cli.command, cli.run.own_flag()) {
            (Some(_), Some(flag)) => {
                let why = format!(
                    "{flag} belongs to `settle run`: put it after the command that it is for"
                );
                Err(command.error(ErrorKind::ArgumentConflict, why))
            }
            _ => Ok(cli),
        }
    }
}

/// Parses the command line, runs the command, and returns the exit code. `dashboard` is served by every process that
/// serves HTTP.
pub fn main(dashboard: &'static Dashboard) -> ExitCode {
    main_with(Additions::default(), dashboard)
}

/// Does the same as [`main`], for a program with additions.
pub fn main_with(additions: Additions, dashboard: &'static Dashboard) -> ExitCode {
    if let Err(error) = additions.add() {
        return failed(&error);
    }
    let _scenario = fail::FailScenario::setup();
    // An error means that a TLS provider is already installed, which in this process can only be the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("cannot start threads")),
    };
    let answer = runtime.block_on(answer(cli, dashboard));
    telemetry::stop();
    runtime.shutdown_background();
    answer.unwrap_or_else(|error| failed(&error))
}

async fn answer(cli: Cli, dashboard: &'static Dashboard) -> anyhow::Result<ExitCode> {
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(options) => run::run(options, dashboard).await,
        Command::Serve(options) => serve::serve(options, dashboard).await,
        Command::Worker(options) => worker::worker(options).await,
        Command::Migrate(options) => migrate::migrate(options).await,
        Command::Sample(options) => sample::sample(options).await,
        Command::Listen(options) => listen::listen(options).await,
        Command::Store(command) => verdict(command),
        Command::Drawn(typed) => typed.run().await,
        Command::Status(options) => status::status(options).await,
        Command::Healthy(options) => healthy::healthy(options).await,
        Command::Open(options) => open::open(options).await,
        Command::Resend(options) => resend::resend(options).await,
        Command::Check(options) => check::check(options).await,
        Command::Completions(options) => Ok(completions::completions(&options)),
        Command::Manual(options) => completions::manual(&options),
        Command::History(options) => history::history(options).await,
    }
}

/// Runs a command of a store, and prints its result.
fn verdict(command: StoreCommand) -> anyhow::Result<ExitCode> {
    let verdict = command.run()?;
    match &verdict.json {
        Some(json) => table::json(json),
        None => table::line(&verdict.line),
    }
    Ok(if verdict.is_positive {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints an error with all its causes, as one line.
fn failed(error: &anyhow::Error) -> ExitCode {
    let text = client::as_started(&format!("{error:#}"));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let line = format!("settle: {}", lines.join(" | "));
    let line = layout::harmless(&line);
    match layout::width_of_errors() {
        Some(width) => layout::wrap(&line, width, 2)
            .iter()
            .for_each(|line| eprintln!("{line}")),
        None => eprintln!("{line}"),
    }
    ExitCode::FAILURE
}
