//! How far a long command is, on the terminal's error stream; nowhere else, so that output stays clean.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const BAR: &str = "{msg} [{bar:30}] {pos}/{len}, {per_sec}, {eta} left";
const COUNT: &str = "{pos} {msg}, {per_sec}";

/// A bar, or a count where nobody knows how many there will be.
pub fn bar(what: &'static str, count: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(count, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(if count.is_some() { BAR } else { COUNT });
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.set_message(what);
    bar
}

/// Writes a line to standard error without tearing the bar.
pub fn complain(bar: &ProgressBar, line: &str) {
    bar.suspend(|| eprintln!("{line}"));
}

/// A bounded rate: so many per second, counted from the beginning.
pub struct Pace {
    began: Instant,
    per_second: u32,
    done: u64,
}

impl Pace {
    /// Begins now.
    pub fn new(per_second: u32) -> Self {
        Self { began: Instant::now(), per_second: per_second.max(1), done: 0 }
    }

    /// So many more were done; returns when the next may be.
    pub async fn did(&mut self, count: u64) {
        self.done = self.done.saturating_add(count);
        let millis = self.done.saturating_mul(1000) / u64::from(self.per_second);
        sleep_until(self.began + Duration::from_millis(millis)).await;
    }
}
