//! A clock on the terminal that counts down to the settling of a purchase.

use super::client::Client;
use super::table;
use crate::{clock, times};
use domain::{CollapseKey, Timestamp};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Time between two updates.
const TICK: Duration = Duration::from_millis(500);
/// Maximum number of checks whether the purchase is settled.
const CHECKS: u32 = 30;

/// A clock on the terminal until a purchase is settled. Ctrl-C ends the clock and nothing else.
pub struct Countdown<'a> {
    /// The client of the service.
    pub client: &'a Client,
    /// The purchase.
    pub key: CollapseKey,
    /// The revision before.
    pub revision: i64,
    /// When its window ends.
    pub due: Timestamp,
}

impl Countdown<'_> {
    /// Shows the clock until the purchase is settled, or until some seconds after it is due.
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
            bar.set_message(format!("settles in {}  (Ctrl-C ends this clock alone)", times::countdown(left)));
            tokio::time::sleep(TICK.min(left)).await;
        }
        bar.set_message("settling");
        let mut checks = CHECKS;
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
            "nothing new was settled so far.".to_owned()
        });
    }
}

/// The revision of a purchase; 0 when it is not settled yet, or when the service does not answer.
pub async fn revision(client: &Client, key: CollapseKey) -> i64 {
    let purchase = client.get(&format!("/v1/purchases/{key}"), &[]).await.unwrap_or_default();
    purchase["revision"].as_i64().unwrap_or_default()
}
