//! The wish to end: Ctrl-C or SIGTERM, heard once and told to everything that runs.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a process that was told twice.
const AT_ONCE: i32 = 1;

/// Becomes true when we are asked to end. Clones hear the same.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens for signals from now on. Whoever asks a second time does not want to wait.
    pub fn on_signals() -> anyhow::Result<Self> {
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            // Nobody listens any more: then we are ending already.
            let _ = sender.send(true);
            either(&mut interrupt, &mut terminate).await;
            eprintln!("settle: stopped at once; what was accepted is safe and goes on at the next start");
            std::process::exit(AT_ONCE);
        });
        Ok(Self(receiver))
    }

    /// A wish of our own, beside that of the signals: for what must end later than the rest.
    pub fn by_hand() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Ends when we are asked to.
    pub async fn requested(mut self) {
        // The teller is gone: that is an end too.
        let _ = self.0.wait_for(|is_requested| *is_requested).await;
    }

    /// Whether we were asked already.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("signals cannot be heard")
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
