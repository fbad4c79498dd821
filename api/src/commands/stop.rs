//! The request to stop: Ctrl-C or SIGTERM, passed to all running parts of the process.

use anyhow::Context;
use std::io::Write;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a process that received a second signal.
const EXIT_CODE: i32 = 1;

/// A flag that becomes true when the process must stop. Clones share it.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for signals from now on. Prints a line at the first signal; the second ends the process immediately.
    pub fn on_signals() -> anyhow::Result<Self> {
        let (mut interrupt, mut terminate) = (
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
        );
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            // Without a receiver, the process is already ending.
            let _ = sender.send(true);
            print(
                "settle: stopping: finishing running work, for at most 30 s; press Ctrl-C again to stop at once",
            );
            either(&mut interrupt, &mut terminate).await;
            print(
                "settle: stopped at once; everything accepted is safe, and work continues at the next start",
            );
            std::process::exit(EXIT_CODE);
        });
        Ok(Self(receiver))
    }

    /// Returns a stop that its sender requests, for a part that must end later than the others.
    pub fn by_hand() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Completes when a stop is requested.
    pub async fn requested(mut self) {
        // A dropped sender also means a stop.
        let _ = self.0.wait_for(|is_requested| *is_requested).await;
    }

    /// Returns whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

/// Prints a line. Errors are ignored, because the same Ctrl-C may have ended the reader of the output.
fn print(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot receive signals")
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
