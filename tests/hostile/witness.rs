//! A store that sends one notification after another, and the memory of settle meanwhile.

use super::target::{Sender, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use system_tests::http::post_as_sns;
use system_tests::sns::{Rtn, Sns};
use system_tests::wait;
use tokio::time::Instant;

/// Maximum duration of a request of the store.
pub const MAX_MS: u128 = 500;
/// Maximum resident memory of settle.
pub const MAX_MIB: f64 = 300.0;
/// Time between two notifications.
const PAUSE: Duration = Duration::from_millis(100);
/// How long notifications are sent before the attack.
const CONTROL: Duration = Duration::from_secs(5);
/// Minimum number of notifications during an attack.
const ENOUGH: usize = 10;

/// The receipts of the notifications that were accepted, and what was seen at worst.
#[derive(Debug, Default)]
pub struct Witness {
    pub receipts: Vec<String>,
    slowest_ms: u128,
    most_mib: f64,
}

impl Witness {
    /// Sends notifications for as long as the attack lasts. Some are sent before it: the machine may be slow by itself.
    pub async fn watch<T>(target: &Target, attack: impl Future<Output = T>) -> (T, Self) {
        let (_, before) = Self::during(target, "before", wait::pass(CONTROL)).await;
        println!("before the attack, {}", before.report());
        let (result, witness) = Self::during(target, "during", attack).await;
        println!("during the attack, {}", witness.report());
        witness.check();
        (result, witness)
    }

    /// Sends notifications for as long as something lasts, in a thread of its own: what the crowd costs this process is
    /// not measured.
    async fn during<T>(target: &Target, name: &'static str, attack: impl Future<Output = T>) -> (T, Self) {
        let sender = target.sender();
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let watching = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut witness = Self::default();
                while !seen.load(Ordering::Relaxed) {
                    witness.send(&sender, name).await;
                    wait::pass(PAUSE).await;
                }
                witness
            })
        });
        let result = attack.await;
        is_over.store(true, Ordering::Relaxed);
        let witness = watching.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        (result, witness)
    }

    async fn send(&mut self, sender: &Sender, name: &str) {
        let receipt = format!("{name}-{}", self.receipts.len());
        let customer = format!("customer-of-{receipt}");
        let rtn = Rtn { app_user_id: customer, ..Rtn::new("SUBSCRIPTION_PURCHASED", &receipt) };
        let message = Sns::new().notification(&rtn);
        let began = Instant::now();
        let answer = post_as_sns(&sender.url, &message.body).await;
        let took_ms = began.elapsed().as_millis();
        let mib = sender.resident_mib();
        (self.slowest_ms, self.most_mib) = (self.slowest_ms.max(took_ms), self.most_mib.max(mib));
        assert_eq!(answer.map(|answer| answer.status), Ok(200), "notification {receipt} after {took_ms} ms");
        self.receipts.push(receipt);
    }

    fn report(&self) -> String {
        let Self { receipts, slowest_ms, most_mib } = self;
        format!("{} notifications, the slowest in {slowest_ms} ms; at most {most_mib:.0} MiB", receipts.len())
    }

    fn check(&self) {
        assert!(self.receipts.len() >= ENOUGH, "the attack was too short");
        assert!(self.slowest_ms <= MAX_MS, "{}", self.report());
        assert!(self.most_mib <= MAX_MIB, "{}", self.report());
    }
}
