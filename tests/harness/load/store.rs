//! A store that sends at a fixed rate to both `serve` processes in turn, and repeats a message until it is accepted, as
//! SNS does; and the figures of a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use system_tests::http::post_as_sns;
use system_tests::load::{Pace, quantile};
use system_tests::sns::{Rtn, Sns};
use system_tests::wait;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The notifications of one change of a purchase, which come together.
const KINDS: [&str; 3] = ["SUBSCRIPTION_AUTO_RENEWAL_OFF", "SUBSCRIPTION_AUTO_RENEWAL_ON", "SUBSCRIPTION_RENEWED"];
/// Number of purchases, whose turns come again and again.
const PURCHASES: usize = 300;
/// How long a sender waits for an answer, as SNS does.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The pause before a message is repeated. SNS pauses longer; then fewer would be sent in an outage.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its `MessageId`.
    pub message_id: String,
    pub receipt_id: String,
    /// When it was to be sent.
    pub due: Instant,
    /// When it was answered with 200.
    pub accepted_at: Instant,
    /// Why it was repeated, once for each time.
    pub failures: Vec<String>,
}

struct Shared {
    urls: [String; 2],
    sns: Sns,
    accepted: Mutex<Vec<Accepted>>,
    begun: AtomicUsize,
    is_over: AtomicBool,
}

pub struct Load {
    shared: Arc<Shared>,
    sending: tokio::task::JoinHandle<()>,
}

impl Load {
    pub fn start(urls: [String; 2], sns: Sns, per_second: f64) -> Self {
        let (accepted, begun, is_over) = (Mutex::default(), AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { urls, sns, accepted, begun, is_over });
        let sending = tokio::spawn(send_all(shared.clone(), Pace::PerSecond(per_second)));
        Self { shared, sending }
    }

    /// Number of messages that were accepted so far.
    pub fn count(&self) -> usize {
        self.shared.accepted.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends the sending; every message that was begun is repeated until it is accepted.
    pub async fn finish(self) -> Vec<Accepted> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.sending.await.expect("the senders");
        let accepted = self.shared.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(accepted.len(), self.shared.begun.load(Ordering::Relaxed), "all that was sent is accepted");
        accepted
    }
}

async fn send_all(shared: Arc<Shared>, pace: Pace) {
    let (began, mut senders) = (Instant::now(), JoinSet::new());
    for number in 0.. {
        let due = pace.due(began, number);
        tokio::time::sleep_until(due).await;
        if shared.is_over.load(Ordering::Relaxed) {
            break;
        }
        shared.begun.fetch_add(1, Ordering::Relaxed);
        senders.spawn(send(shared.clone(), number, due));
    }
    senders.join_all().await;
}

async fn send(shared: Arc<Shared>, number: usize, due: Instant) {
    let receipt_id = format!("receipt-{}", number / KINDS.len() % PURCHASES);
    let mut rtn = Rtn::new(KINDS[number % KINDS.len()], &receipt_id).later(i64::try_from(number).unwrap_or(0));
    rtn.app_user_id = format!("amzn1.account.{receipt_id}");
    let message = shared.sns.notification(&rtn);
    let mut failures = Vec::new();
    loop {
        let url = &shared.urls[(number + failures.len()) % shared.urls.len()];
        failures.push(match tokio::time::timeout(TIMEOUT, post_as_sns(url, &message.body)).await {
            Ok(Ok(answer)) if answer.status == 200 => break,
            Ok(Ok(answer)) => answer.status.to_string(),
            Ok(Err(_)) => "no connection".to_owned(),
            Err(_) => "no answer".to_owned(),
        });
        wait::pass(PAUSE).await;
    }
    let one = Accepted { message_id: message.id, receipt_id, due, accepted_at: Instant::now(), failures };
    shared.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(one);
}

/// The figures of the messages that were due in a time.
pub struct Figures {
    pub count: usize,
    pub repeated: usize,
    /// Time from when a message was due until it was accepted, the shortest first.
    pub latencies: Vec<Duration>,
    /// Time from the end of a quiet window until the webhook arrived, the shortest first.
    pub lags: Vec<Duration>,
}

impl Figures {
    /// As one line of a table.
    pub fn line(&self, name: &str, length: Duration) -> String {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 messages")]
        let rate = self.count as f64 / length.as_secs_f64();
        let of = |sorted: &[Duration], part| quantile(sorted, part).copied().unwrap_or_default();
        let millis = |part| of(&self.latencies, part).as_secs_f64() * 1000.0;
        let lag = |part| of(&self.lags, part).as_secs_f64();
        format!(
            "| {name} | {:.0} | {} | {rate:.1} | {:.1} | {:.0} | {:.0} | {} | {:.1} | {:.1} |",
            length.as_secs_f64(),
            self.count,
            millis(0.5),
            millis(0.99),
            millis(1.0),
            self.repeated,
            lag(0.5),
            lag(1.0),
        )
    }
}

pub const HEADING: &str = "| | s | accepted | /s | p50 ms | p99 ms | worst ms | repeated | lag p50 s | lag worst s |\n\
                           |---|---|---|---|---|---|---|---|---|---|";
