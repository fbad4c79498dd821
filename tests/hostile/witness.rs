//! A store that sends one notification after another, while settle's memory is measured.

use super::target::{Sender, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use system_tests::http::post_as_sns;
use system_tests::sns::{Rtn, Sns};
use system_tests::wait;
use tokio::time::Instant;

/// Maximum duration of the store's requests. On a slow machine it is larger: four times that of the slowest request
/// without an attack, shortly before and after it.
pub const MAX_MS: u128 = 500;
const MAX_FACTOR: u128 = 4;
pub const MAX_MIB: f64 = 300.0;
const PAUSE: Duration = Duration::from_millis(100);
/// How long notifications are sent before and after the attack.
const CONTROL: Duration = Duration::from_secs(5);
/// Minimum number of notifications during an attack.
const ENOUGH: usize = 10;

/// Receipts of the accepted notifications, and the worst measurements.
#[derive(Debug, Default)]
pub struct Witness {
    pub receipts: Vec<String>,
    slowest_ms: u128,
    most_mib: f64,
}

impl Witness {
    /// Sends notifications for as long as the attack lasts, and some before and after it, since the machine may be slow
    /// on its own.
    pub async fn watch<T>(target: &Target, attack: impl Future<Output = T>) -> (T, Self) {
        Self::watch_counted(target, attack, &Arc::default()).await
    }

    /// Like [`Self::watch`], for an attack of at least `rounds` rounds, continued until [`ENOUGH`] notifications have
    /// been sent, however fast the machine is.
    pub async fn watch_rounds(
        target: &Target,
        rounds: usize,
        mut attack: impl AsyncFnMut(usize),
    ) -> Self {
        let sent = Arc::new(AtomicUsize::new(0));
        let all = async {
            let mut round = 0;
            while round < rounds || sent.load(Ordering::Relaxed) < ENOUGH {
                attack(round).await;
                round += 1;
            }
        };
        let ((), witness) = Self::watch_counted(target, all, &sent).await;
        witness
    }

    async fn watch_counted<T>(
        target: &Target,
        attack: impl Future<Output = T>,
        sent: &Arc<AtomicUsize>,
    ) -> (T, Self) {
        let (_, before) =
            Self::during(target, "before", wait::pass(CONTROL), &Arc::default()).await;
        println!("before the attack, {}", before.report());
        let (result, witness) = Self::during(target, "during", attack, sent).await;
        println!("during the attack, {}", witness.report());
        let (_, after) = Self::during(target, "after", wait::pass(CONTROL), &Arc::default()).await;
        println!("after the attack, {}", after.report());
        witness.check(before.slowest_ms.max(after.slowest_ms));
        (result, witness)
    }

    /// Sends notifications while `attack` lasts, in a separate thread, so that the attack's cost in this process is not
    /// measured.
    async fn during<T>(
        target: &Target,
        name: &'static str,
        attack: impl Future<Output = T>,
        sent: &Arc<AtomicUsize>,
    ) -> (T, Self) {
        let (sender, sent) = (target.sender(), sent.clone());
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let watching = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let mut witness = Self::default();
                while !seen.load(Ordering::Relaxed) {
                    witness.send(&sender, name).await;
                    sent.store(witness.receipts.len(), Ordering::Relaxed);
                    wait::pass(PAUSE).await;
                }
                witness
            })
        });
        let result = attack.await;
        is_over.store(true, Ordering::Relaxed);
        let witness = watching
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        (result, witness)
    }

    async fn send(&mut self, sender: &Sender, name: &str) {
        let receipt = format!("{name}-{}", self.receipts.len());
        let customer = format!("customer-of-{receipt}");
        let rtn = Rtn {
            app_user_id: customer,
            ..Rtn::new("SUBSCRIPTION_PURCHASED", &receipt)
        };
        let message = Sns::new().notification(&rtn);
        let began = Instant::now();
        let answer = post_as_sns(&sender.url, &message.body).await;
        let took_ms = began.elapsed().as_millis();
        let mib = sender.resident_mib();
        (self.slowest_ms, self.most_mib) = (self.slowest_ms.max(took_ms), self.most_mib.max(mib));
        assert_eq!(
            answer.map(|answer| answer.status),
            Ok(200),
            "notification {receipt} after {took_ms} ms"
        );
        self.receipts.push(receipt);
    }

    fn report(&self) -> String {
        let Self {
            receipts,
            slowest_ms,
            most_mib,
        } = self;
        format!(
            "{} notifications, the slowest in {slowest_ms} ms; at most {most_mib:.0} MiB",
            receipts.len()
        )
    }

    fn check(&self, control_ms: u128) {
        assert!(self.receipts.len() >= ENOUGH, "the attack was too short");
        let max_ms = MAX_MS.max(control_ms * MAX_FACTOR);
        assert!(
            self.slowest_ms <= max_ms,
            "{}, and {control_ms} ms without an attack",
            self.report()
        );
        assert!(self.most_mib <= MAX_MIB, "{}", self.report());
    }
}
