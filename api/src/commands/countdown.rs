//! A countdown on the terminal until a purchase is settled.

use super::client::{Client, read_as};
use super::table;
use api::{clock, times};
use domain::{CollapseKey, Timestamp};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use std::time::Duration;

/// Time between two updates.
const TICK: Duration = Duration::from_millis(500);
/// Maximum number of times that the revision is read after the window's end.
const MAX_CHECKS: u32 = 30;

/// A countdown until a purchase is settled. Ctrl-C ends only the countdown: the purchase is settled anyway.
pub struct Countdown<'a> {
    /// The service's client.
    pub client: &'a Client,
    /// The collapse key of the purchase.
    pub key: CollapseKey,
    /// The revision before the notification was sent.
    pub revision: i64,
    /// When the window ends.
    pub due: Timestamp,
}

impl Countdown<'_> {
    /// Shows the countdown until the purchase is settled, or until about 15 s after the window's end.
    pub async fn show(&self) {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        loop {
            let left_ms = self.due.millis_since(clock::now());
            if left_ms <= 0 {
                break;
            }
            let left = Duration::from_millis(left_ms.unsigned_abs());
            bar.set_message(format!(
                "settles in {}  (Ctrl-C stops only this clock)",
                times::countdown(left)
            ));
            tokio::time::sleep(TICK.min(left)).await;
        }
        bar.set_message("settling");
        let mut checks = MAX_CHECKS;
        let mut settled = self.revision;
        while settled == self.revision && checks > 0 {
            tokio::time::sleep(TICK).await;
            settled = revision(self.client, self.key).await;
            checks -= 1;
        }
        bar.finish_and_clear();
        table::line(&if settled > self.revision {
            format!("settled in revision {settled}.")
        } else {
            "no new revision yet.".to_owned()
        });
    }
}

/// The revision in a response about a purchase.
#[derive(Debug, Default, Deserialize)]
struct Settled {
    revision: i64,
}

/// Returns the revision of a purchase; 0 if it is not settled yet, or if the service does not respond.
pub async fn revision(client: &Client, key: CollapseKey) -> i64 {
    let purchase = client.get(&format!("/v1/purchases/{key}"), &[]).await;
    let settled = purchase.and_then(|purchase| read_as::<Settled>(&purchase));
    settled.unwrap_or_default().revision
}
