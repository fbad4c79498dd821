//! A simulated store that sends at a fixed rate to several processes in turn, and repeats a message until it is
//! accepted, as SNS does; and a table of the results per phase.

use super::{Pace, quantile};
use crate::http::post_as_sns;
use crate::receiver::Receiver;
use crate::sns::{Rtn, Sns};
use crate::wait;
use domain::{CollapseKey, PlatformId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Types of the notifications of one change of a purchase, sent one after the other.
const KINDS: [&str; 3] = [
    "SUBSCRIPTION_AUTO_RENEWAL_OFF",
    "SUBSCRIPTION_AUTO_RENEWAL_ON",
    "SUBSCRIPTION_RENEWED",
];
/// How long a sender waits for an answer, as SNS does.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Time limit for deliveries to resume after a disturbance. An interrupted attempt is retried after half a minute.
pub const RECOVERED: Duration = Duration::from_secs(180);
/// Number of messages, and of webhooks, that show that deliveries have resumed.
const ENOUGH: usize = 20;
/// Time limit for a message to be accepted, with all repetitions.
const ACCEPTED: Duration = Duration::from_secs(300);
/// Pause before a message is repeated: shorter than that of SNS, so that an outage affects more requests.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
pub struct Accepted {
    /// `MessageId` of the message.
    pub message_id: String,
    pub receipt_id: String,
    /// When the message was due to be sent.
    pub due: Instant,
    /// When the message was answered with 200.
    pub accepted_at: Instant,
    /// Reason for each repetition, in order.
    pub failures: Vec<String>,
}

struct Shared {
    urls: Vec<String>,
    sns: Sns,
    purchases: usize,
    accepted: Mutex<Vec<Accepted>>,
    begun: AtomicUsize,
    is_over: AtomicBool,
}

/// A running store.
pub struct Store {
    shared: Arc<Shared>,
    sending: tokio::task::JoinHandle<()>,
}

impl Store {
    /// Starts to send `per_second` messages to these notification URLs, about `purchases` purchases in rotation:
    /// `receipt-0` and up.
    pub fn start(urls: Vec<String>, sns: Sns, per_second: f64, purchases: usize) -> Self {
        let (accepted, begun, is_over) = (
            Mutex::default(),
            AtomicUsize::new(0),
            AtomicBool::new(false),
        );
        let shared = Arc::new(Shared {
            urls,
            sns,
            purchases,
            accepted,
            begun,
            is_over,
        });
        let sending = tokio::spawn(send_all(shared.clone(), Pace::PerSecond(per_second)));
        Self { shared, sending }
    }

    /// Returns the number of messages accepted so far.
    pub fn count(&self) -> usize {
        self.shared
            .accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Waits until messages are accepted and webhooks arrive at their receiver.
    ///
    /// # Panics
    /// If they do not within [`RECOVERED`].
    pub async fn flows(&self, receiver: &Receiver) {
        let began = Instant::now();
        let (accepted, received) = (self.count() + ENOUGH, receiver.count() + ENOUGH);
        wait::until(RECOVERED, "messages and webhooks", async || {
            let (now_accepted, now_received) = (self.count(), receiver.count());
            let flows = now_accepted >= accepted && now_received >= received;
            if flows {
                Ok(())
            } else {
                Err(format!(
                    "{now_accepted} of {accepted}, {now_received} of {received}"
                ))
            }
        })
        .await;
        println!(
            "{ENOUGH} messages and {ENOUGH} webhooks came within {:.1?}",
            began.elapsed()
        );
    }

    /// Sends no new messages, and waits until every message sent so far is accepted.
    ///
    /// # Panics
    /// If a message is not accepted.
    pub async fn finish(self) -> Vec<Accepted> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.sending.await.expect("the senders");
        let accepted = self
            .shared
            .accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        assert_eq!(
            accepted.len(),
            self.shared.begun.load(Ordering::Relaxed),
            "every message that was sent is accepted"
        );
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
    let receipt_id = format!("receipt-{}", number / KINDS.len() % shared.purchases);
    let mut rtn = Rtn::new(KINDS[number % KINDS.len()], &receipt_id)
        .later(i64::try_from(number).unwrap_or(0));
    rtn.app_user_id = format!("amzn1.account.{receipt_id}");
    let message = shared.sns.notification(&rtn);
    let mut failures = Vec::new();
    loop {
        let url = &shared.urls[(number + failures.len()) % shared.urls.len()];
        failures.push(
            match tokio::time::timeout(TIMEOUT, post_as_sns(url, &message.body)).await {
                Ok(Ok(answer)) if answer.status == 200 => break,
                Ok(Ok(answer)) => answer.status.to_string(),
                Ok(Err(_)) => "no connection".to_owned(),
                Err(_) => "no answer".to_owned(),
            },
        );
        assert!(
            due.elapsed() < ACCEPTED,
            "{receipt_id} is not accepted: {failures:?}"
        );
        wait::pass(PAUSE).await;
    }
    let one = Accepted {
        message_id: message.id,
        receipt_id,
        due,
        accepted_at: Instant::now(),
        failures,
    };
    shared
        .accepted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(one);
}

/// A phase of a story: its name, when it began and how long it took.
pub type Phase = (String, Instant, Duration);

/// Figures of the messages that were due in one phase.
struct Figures {
    count: usize,
    repeated: usize,
    /// Times from when a message was due until it was accepted, shortest first.
    latencies: Vec<Duration>,
    /// Times from the end of a quiet window until the webhook arrived, shortest first.
    lags: Vec<Duration>,
}

impl Figures {
    /// Formats the figures as one line of a table.
    fn line(&self, name: &str, length: Duration) -> String {
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

const HEADING: &str = "| | s | accepted | /s | p50 ms | p99 ms | worst ms | repeated | lag p50 s | lag worst s |\n\
                           |---|---|---|---|---|---|---|---|---|---|";

/// For the last message of each quiet window: when it was due, and the time from the end of that window until the
/// next webhook about its purchase.
fn arrivals(accepted: &[Accepted], input: Arrivals<'_>) -> Vec<(Instant, Duration)> {
    let Arrivals {
        receiver,
        platform_id,
        window,
    } = input;
    let mut webhooks = BTreeMap::<String, Vec<Instant>>::new();
    for request in receiver.all().iter().filter(|request| request.is_acked()) {
        webhooks
            .entry(request.collapse_key().to_owned())
            .or_default()
            .push(request.began);
    }
    let mut messages = BTreeMap::<&str, Vec<&Accepted>>::new();
    for message in accepted {
        messages
            .entry(&message.receipt_id)
            .or_default()
            .push(message);
    }
    let mut found = Vec::new();
    for (receipt_id, mut of_purchase) in messages {
        let key = CollapseKey::of(platform_id, receipt_id).to_string();
        of_purchase.sort_unstable_by_key(|message| message.accepted_at);
        for (at, message) in of_purchase.iter().enumerate() {
            let quiet_at = message.accepted_at + window;
            if of_purchase
                .get(at + 1)
                .is_some_and(|next| next.accepted_at < quiet_at)
            {
                continue;
            }
            // A webhook that arrives earlier belongs to the previous window.
            let earliest = message.accepted_at + window / 2;
            let next = webhooks
                .get(&key)
                .into_iter()
                .flatten()
                .find(|arrived| **arrived >= earliest);
            let lag = next.map(|arrived| arrived.saturating_duration_since(quiet_at));
            found.extend(lag.map(|lag| (message.due, lag)));
        }
    }
    found
}

/// Input for finding when webhooks about accepted messages arrived.
#[derive(Clone, Copy)]
pub struct Arrivals<'a> {
    pub receiver: &'a Receiver,
    pub platform_id: PlatformId,
    pub window: Duration,
}

/// Prints a table with a line for each phase.
pub fn print_figures(phases: &[Phase], accepted: &[Accepted], input: Arrivals<'_>) {
    let lags = arrivals(accepted, input);
    println!("{HEADING}");
    let figures = |began: Instant, length: Duration| {
        let is_in = |due: Instant| due >= began && due < began + length;
        let messages: Vec<&Accepted> = accepted
            .iter()
            .filter(|message| is_in(message.due))
            .collect();
        let latency =
            |message: &&Accepted| message.accepted_at.saturating_duration_since(message.due);
        let mut latencies: Vec<Duration> = messages.iter().map(latency).collect();
        let mut lags: Vec<Duration> = lags
            .iter()
            .filter(|(due, _)| is_in(*due))
            .map(|(_, lag)| *lag)
            .collect();
        latencies.sort_unstable();
        lags.sort_unstable();
        let repeated = messages.iter().map(|message| message.failures.len()).sum();
        Figures {
            count: messages.len(),
            repeated,
            latencies,
            lags,
        }
    };
    for (name, began, length) in phases {
        println!("{}", figures(*began, *length).line(name, *length));
    }
    let began = phases
        .first()
        .map_or_else(Instant::now, |(_, began, _)| *began);
    println!(
        "{}",
        figures(began, began.elapsed())
            .line("all", phases.iter().map(|(.., length)| *length).sum())
    );
    let mut reasons = BTreeMap::<&str, usize>::new();
    for failure in accepted.iter().flat_map(|message| &message.failures) {
        *reasons.entry(failure).or_default() += 1;
    }
    println!("repeated because of: {reasons:?}");
}
