//! The progress of a long command. It is written to standard error, so that standard output contains only the result.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const BAR: &str = "{msg} [{bar:30}] {pos}/{len}, {per_sec}, {eta} left";
const COUNT: &str = "{pos} {msg}, {per_sec}";

/// Returns a progress bar, or a counter if the total is unknown.
pub fn bar(what: &'static str, count: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(count, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(if count.is_some() { BAR } else { COUNT });
    bar.set_style(
        style
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar.set_message(what);
    bar
}

/// Writes a line to standard error without disturbing the bar.
pub fn complain(bar: &ProgressBar, line: &str) {
    bar.suspend(|| eprintln!("{}", super::layout::harmless(line)));
}

/// A rate limit in items per second, counted from the start.
pub struct Pace {
    began: Instant,
    per_second: u32,
    done: u64,
}

impl Pace {
    /// Creates the limit and starts counting.
    pub fn new(per_second: u32) -> Self {
        Self {
            began: Instant::now(),
            per_second: per_second.max(1),
            done: 0,
        }
    }

    /// Counts finished items, and waits until the next one may start.
    pub async fn did(&mut self, count: u64) {
        self.done = self.done.saturating_add(count);
        let millis = self.done.saturating_mul(1000) / u64::from(self.per_second);
        sleep_until(self.began + Duration::from_millis(millis)).await;
    }
}
