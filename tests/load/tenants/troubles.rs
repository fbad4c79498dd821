//! The troubles that happen to one app or the database while the other apps are measured.

use super::Options;
use super::copies;
use super::installed::Installed;
use clap::ValueEnum;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::load::{Load, Message, Pace};
use system_tests::raw::Raw;
use system_tests::wait;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Number of connections of a trouble's generator.
const CONNECTIONS: usize = 8;
/// Time limit for settling the purchase that is copied.
const SOON: Duration = Duration::from_secs(120);
/// Time limit for delivering the backlog.
const DRAINED: Duration = Duration::from_secs(1_800);
/// How often the holder of a snapshot checks whether the trouble is over.
const CHECKED_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Trouble {
    /// The endpoints of an app are down, and its deliveries wait.
    Endpoint,
    /// They are well again, and all that waits is sent.
    Backlog,
    /// Many purchases of one customer renew.
    Customer,
    /// The devices of an app log customers in.
    Launch,
    /// Unknown senders use unknown ingress keys.
    Strangers,
    /// A transaction holds a snapshot, as a dump does.
    Snapshot,
}

/// A trouble that continues until it is ended.
pub struct Running {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<String>,
}

impl Running {
    /// Ends the trouble; returns a summary for people.
    pub async fn end(self) -> String {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

impl Trouble {
    pub const ALL: [Self; 6] = [
        Self::Endpoint,
        Self::Backlog,
        Self::Customer,
        Self::Launch,
        Self::Strangers,
        Self::Snapshot,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint down",
            Self::Backlog => "backlog sent",
            Self::Customer => "one customer",
            Self::Launch => "logins",
            Self::Strangers => "strangers",
            Self::Snapshot => "snapshot",
        }
    }

    /// Begins the trouble, after preparing its data.
    pub async fn begin(self, installed: &Installed, options: &Options) -> Running {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let task = match self {
            Self::Endpoint => {
                endpoint(installed, options.pending).await;
                let message = |number| {
                    installed.message(
                        &format!("late-{number}"),
                        &format!("late customer {number}"),
                    )
                };
                let messages = (0..options.most(1.0)).map(message).collect();
                flow(installed, messages, 1.0, over)
            }
            Self::Backlog => {
                if waiting(installed, &mut installed.raw()) == 0 {
                    endpoint(installed, options.pending).await;
                }
                installed.receiver.mend();
                backlog(installed, over)
            }
            Self::Customer => {
                customer(installed, options.purchases).await;
                let count = options.most(options.renewals);
                let receipt = |number: usize| format!("mine-{}", number % options.purchases.max(1));
                let messages = (0..count)
                    .map(|number| installed.message(&receipt(number), CUSTOMER))
                    .collect();
                flow(installed, messages, options.renewals, over)
            }
            Self::Launch => {
                let devices =
                    Devices::with_key(&installed.api, &installed.troubled.publishable_key);
                let request = |number: u32| Message {
                    id: String::new(),
                    request: devices
                        .login_request(Device(number), &format!("customer {number}"))
                        .into_bytes()
                        .into(),
                };
                let count = u32::try_from(options.most(options.logins)).unwrap_or(u32::MAX);
                flow(
                    installed,
                    (0..count).map(request).collect(),
                    options.logins,
                    over,
                )
            }
            Self::Strangers => {
                let request = |number: usize| {
                    let head = format!(
                        "POST /v1/stores/amazon/unknown-{number:015} HTTP/1.1\r\nhost: localhost\r\n"
                    );
                    let request = format!("{head}content-length: 0\r\n\r\n")
                        .into_bytes()
                        .into();
                    Message {
                        id: String::new(),
                        request,
                    }
                };
                let count = options.most(options.strangers);
                flow(
                    installed,
                    (0..count).map(request).collect(),
                    options.strangers,
                    over,
                )
            }
            Self::Snapshot => snapshot(installed, over),
        };
        Running { is_over, task }
    }
}

/// The store customer with many purchases.
const CUSTOMER: &str = "amzn1.account.many";

/// Sends the messages at this rate until `over`.
fn flow(
    installed: &Installed,
    messages: Vec<Message>,
    rate: f64,
    over: Arc<AtomicBool>,
) -> JoinHandle<String> {
    let [url, _] = installed.public_urls();
    tokio::spawn(async move {
        let (mut answered, mut refused, began) = (0, 0, Instant::now());
        // In pieces, so that the end is detected.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let piece = rate.ceil().max(1.0) as usize;
        for messages in messages.chunks(piece) {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let sent = messages.len();
            let load = Load::new(&url, CONNECTIONS);
            let measured = load
                .run(
                    messages.to_vec(),
                    Pace::PerSecond(rate),
                    Duration::from_secs(60),
                )
                .await;
            answered += measured.acknowledged().len();
            refused += sent - measured.acknowledged().len();
            // The last message of a piece is sent as soon as it is due, so the pause before the next piece must be
            // added.
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let next = began + Duration::from_secs_f64((answered + refused) as f64 / rate);
            tokio::time::sleep_until(next).await;
        }
        format!("{answered} requests got 200, {refused} another answer")
    })
}

/// Settles a purchase of the troubled app; returns its key.
async fn settled(installed: &Installed, receipt: &str, customer: &str) -> String {
    let [url, _] = installed.public_urls();
    let message = installed.message(receipt, customer);
    Load::new(&url, 1)
        .run(vec![message], Pace::Saturate, SOON)
        .await
        .check();
    let (key, mut raw) = (installed.key(receipt).to_string(), installed.raw());
    wait::until(
        SOON,
        "a delivery of the purchase that is copied",
        async || {
            let count = raw.number(&format!(
                "SELECT COUNT(*) AS value FROM deliveries WHERE collapse_key = '{key}'"
            ));
            if count > 0 {
                Ok(())
            } else {
                Err("none".to_owned())
            }
        },
    )
    .await;
    key
}

/// Queues this number of deliveries for the endpoints that are down.
async fn endpoint(installed: &Installed, pending: usize) {
    let key = settled(installed, "late", "late customer").await;
    let each = installed.troubled.destinations.len().max(1);
    let mut raw = installed.raw();
    let copy = move || copies::purchase(&mut raw, &key, pending / each);
    tokio::task::spawn_blocking(copy).await.expect("copies");
}

/// Returns the number of deliveries that are pending for the troubled app's endpoints.
fn waiting(installed: &Installed, raw: &mut Raw) -> i64 {
    raw.number(&waiting_of(&installed.troubled.destinations))
}

fn waiting_of(destinations: &[String]) -> String {
    let list = destinations.join("', '");
    format!(
        "SELECT COUNT(*) AS value FROM deliveries WHERE destination_id IN ('{list}') AND status = 'pending'"
    )
}

/// Counts deliveries until `over`.
fn backlog(installed: &Installed, over: Arc<AtomicBool>) -> JoinHandle<String> {
    let (mut raw, count) = (
        installed.raw(),
        waiting_of(&installed.troubled.destinations),
    );
    tokio::spawn(async move {
        let (before, began) = (raw.number(&count), Instant::now());
        while !over.load(Ordering::Relaxed) {
            wait::pass(CHECKED_EVERY).await;
        }
        let (sent, seconds) = (before - raw.number(&count), began.elapsed().as_secs_f64());
        // The remaining deliveries would disturb the next measurement.
        while raw.number(&count) > 0 {
            assert!(began.elapsed() < DRAINED, "a backlog that is not sent");
            wait::pass(CHECKED_EVERY).await;
        }
        let all = began.elapsed().as_secs_f64();
        format!(
            "{sent} of {before} waiting deliveries were sent in {seconds:.0} s, all in {all:.0} s"
        )
    })
}

/// Gives a customer this number of purchases.
async fn customer(installed: &Installed, purchases: usize) {
    let key = settled(installed, "mine-0", CUSTOMER).await;
    let receipts = (1..purchases).map(|number| format!("mine-{number}"));
    let list: Vec<_> = receipts
        .map(|receipt| (installed.key(&receipt).to_string(), receipt))
        .collect();
    let mut raw = installed.raw();
    let copy = move || copies::of_same_user(&mut raw, &key, &list);
    tokio::task::spawn_blocking(copy).await.expect("copies");
}

/// Holds a snapshot until `over`.
fn snapshot(installed: &Installed, over: Arc<AtomicBool>) -> JoinHandle<String> {
    let mut raw = installed.raw();
    tokio::spawn(async move {
        raw.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        let read = raw.number("SELECT COUNT(*) AS value FROM deliveries");
        while !over.load(Ordering::Relaxed) {
            wait::pass(CHECKED_EVERY).await;
        }
        raw.run("ROLLBACK");
        format!("a snapshot with {read} deliveries was held")
    })
}
