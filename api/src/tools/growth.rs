//! Shows the progress of a download by the size of its folder.

use super::progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(200);
/// Time between two progress lines if there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// Shows the size of a folder until the sender of `stopped` is dropped.
pub fn show(folder: &Path, stopped: &Receiver<()>) {
    let (bar, began, mut largest) = (bar(), Instant::now(), 0);
    let mut line_at = began + LINE;
    while stopped.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
        largest = grown(largest, folder);
        let so_far = so_far(largest, began.elapsed());
        if !std::io::stderr().is_terminal() && Instant::now() >= line_at {
            progress(&so_far);
            line_at += LINE;
        }
        bar.set_message(so_far);
    }
    bar.finish_and_clear();
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("settle: {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

#[expect(clippy::cast_precision_loss, reason = "megabytes for eyes")]
fn so_far(bytes: u64, elapsed: Duration) -> String {
    format!(
        "{:.1} MB so far, {} s",
        bytes as f64 / 1_000_000.0,
        elapsed.as_secs()
    )
}

/// Returns the largest size of a folder so far, in bytes, so that progress does not decrease when a downloaded file is
/// moved.
fn grown(largest: u64, folder: &Path) -> u64 {
    largest.max(size(folder))
}

/// Returns the total size of the files below a folder, in bytes. A file that is removed meanwhile counts as 0.
fn size(folder: &Path) -> u64 {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{grown, size, so_far};
    use std::time::Duration;

    #[test]
    fn what_is_there_is_counted_in_all_folders() {
        let folder = std::env::temp_dir().join(format!("settle-growth-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("below")).expect("a folder");
        std::fs::write(folder.join("one"), [0; 1_000_000]).expect("a file");
        std::fs::write(folder.join("below/two"), [0; 500_000]).expect("a file");
        let found = size(&folder);
        std::fs::remove_dir_all(&folder).expect("no folder");
        assert_eq!(
            so_far(found, Duration::from_millis(2500)),
            "1.5 MB so far, 2 s"
        );
        assert_eq!(
            (size(&folder), grown(found, &folder)),
            (0, found),
            "progress does not go back"
        );
    }
}
