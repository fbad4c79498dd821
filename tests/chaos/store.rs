//! The store: it shows and sends the steps of lives, late, repeated and out of order, and, like SNS, repeats each
//! message until it is accepted.

use crate::life::{Life, Lived, Step};
use crate::plan::{Plan, place, random};
use domain::PlatformId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;
use system_tests::http::post_as_sns;
use system_tests::random::Random;
use system_tests::rvs::{Receipt, Rvs};
use system_tests::sns::{Message, Rtn, Sns};
use system_tests::wait;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How long a sender waits for an answer; SNS waits as long.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Pause before a message is repeated; SNS pauses longer.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a message is repeated; after that, it counts as not accepted.
const ACCEPTED: Duration = Duration::from_secs(300);
/// Minimum pause between two bursts of one customer's purchases, and the maximum random addition, in milliseconds.
const BURST_MS: [u64; 2] = [15_000, 15_000];
/// Maximum delay of a late notification, in milliseconds.
const LATE_MS: u64 = 4000;

/// A platform from the store's point of view.
#[derive(Debug, Clone)]
pub struct Platform {
    pub id: PlatformId,
    /// Index of the platform's app.
    pub app: usize,
    pub package_name: String,
    /// Notification URLs, one for each process that accepts notifications.
    pub urls: Vec<String>,
    /// Whether purchases are verified: if so, a notification may be lost, provided that a later one follows.
    pub is_verified: bool,
}

/// A message that was answered with 200.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub message_id: String,
    pub platform_id: PlatformId,
    pub receipt_id: String,
    /// `notificationType`
    pub kind: String,
    /// When the message was first sent.
    pub sent_at: Instant,
    pub at: Instant,
}

/// The index of the platform, and the receipts, of one customer's lives.
pub type LivedAt = (usize, BTreeMap<String, Lived>);

struct Shared {
    platforms: Vec<Platform>,
    sns: Sns,
    rvs: Arc<Mutex<Rvs>>,
    accepted: Lock<Vec<Accepted>>,
    /// Messages that were not accepted in time.
    refused: Lock<Vec<String>>,
    is_over: AtomicBool,
}

/// A running store.
pub struct Store {
    shared: Arc<Shared>,
    lives: Vec<JoinHandle<LivedAt>>,
}

impl Store {
    /// Starts this number of lives, distributed over the platforms, and those of the customer with many purchases, if
    /// the plan has one.
    pub fn start(
        plan: &Plan,
        lives: usize,
        platforms: Vec<Platform>,
        sns: Sns,
        rvs: Arc<Mutex<Rvs>>,
    ) -> Self {
        let (seed, purchases) = (plan.seed, plan.loads.purchases);
        let (accepted, refused, is_over) =
            (Lock::default(), Lock::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared {
            platforms,
            sns,
            rvs,
            accepted,
            refused,
            is_over,
        });
        let own = |number: usize| random(seed, 100_000 + u64::try_from(number).unwrap_or(0));
        let single = |number: usize| {
            let platform = number % shared.platforms.len();
            let (name, is_verified) = (
                format!("life-{seed}-{number}"),
                shared.platforms[platform].is_verified,
            );
            let life = Life::new(name.clone(), name, own(number), is_verified);
            tokio::spawn(live(shared.clone(), vec![life], platform, own(number)))
        };
        let mut all: Vec<_> = (0..lives).map(single).collect();
        if let Some(purchases) = purchases {
            let mut random = own(lives);
            // Only on platforms without verification do purchases renew.
            let fitting = (0..shared.platforms.len())
                .filter(|platform| !shared.platforms[*platform].is_verified);
            let fitting: Vec<usize> = fitting.collect();
            let platform = fitting[place(&mut random, fitting.len())];
            let customer = many(seed);
            let life = |number: usize| {
                Life::new(
                    customer.clone(),
                    format!("{customer}-{number}"),
                    own(lives + 1 + number),
                    false,
                )
            };
            let lives = (0..purchases).map(life).collect();
            all.push(tokio::spawn(live(shared.clone(), lives, platform, random)));
        }
        Self { shared, lives: all }
    }

    pub fn accepted(&self) -> Vec<Accepted> {
        self.shared
            .accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes every life take its last step. [`Self::are_over`] says when all have.
    pub fn conclude(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }

    /// Returns whether all lives have ended and all their messages were accepted or given up.
    pub fn are_over(&self) -> bool {
        self.lives.iter().all(JoinHandle::is_finished)
    }

    /// Returns the lives after they are over.
    ///
    /// # Errors
    /// The messages that were not accepted.
    pub async fn lived(&mut self) -> Result<Vec<LivedAt>, String> {
        let mut all = Vec::new();
        for life in self.lives.drain(..) {
            all.push(life.await.map_err(|error| format!("a life: {error}"))?);
        }
        let refused = self
            .shared
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if refused.is_empty() {
            Ok(all)
        } else {
            Err(format!("not accepted: {refused:?}"))
        }
    }
}

impl Drop for Store {
    /// Aborts the lives, even if a round panics.
    fn drop(&mut self) {
        self.lives.iter().for_each(JoinHandle::abort);
    }
}

/// Returns the id of the customer with many purchases.
pub fn many(seed: u64) -> String {
    format!("many-{seed}")
}

/// Executes lives until the store concludes; several lives take each step together.
async fn live(
    shared: Arc<Shared>,
    mut lives: Vec<Life>,
    platform: usize,
    mut random: Random,
) -> LivedAt {
    let (mut sending, mut begun) = (JoinSet::new(), BTreeSet::new());
    let mut send = |step: Step, is_last: bool, random: &mut Random| {
        for rtn in step.notifications {
            let is_first = begun.insert(rtn.receipt_id.clone());
            // Notifications that end a receipt are never lost, since nothing follows them.
            let may_be_lost = shared.platforms[platform].is_verified && !rtn.kind.ends_with("ED");
            let (times, late_ms) = match random.below(100) {
                _ if is_first || is_last => (1, 0),
                0..8 if may_be_lost => (0, 0),
                8..20 => (1, random.below(LATE_MS)),
                20..32 => (2, 0),
                _ => (1, 0),
            };
            for _ in 0..times {
                let late = Duration::from_millis(late_ms);
                let first = usize::try_from(random.below(2)).unwrap_or(0);
                sending.spawn(deliver(
                    shared.clone(),
                    rtn.clone(),
                    Sending {
                        platform,
                        late,
                        first,
                    },
                ));
            }
        }
    };
    loop {
        let is_last = shared.is_over.load(Ordering::Relaxed);
        let now = api::clock::now();
        for life in &mut lives {
            let step = if is_last {
                life.conclude(now)
            } else {
                life.go_on(now)
            };
            show(&shared, &step).await;
            send(step, is_last, &mut random);
        }
        if is_last {
            break;
        }
        let pause_ms = match &mut lives[..] {
            [life] => life.pause_ms(),
            _ => BURST_MS[0] + random.below(BURST_MS[1]),
        };
        pause(&shared, pause_ms).await;
    }
    sending.join_all().await;
    (
        platform,
        lives.into_iter().flat_map(|life| life.lived).collect(),
    )
}

async fn pause(shared: &Shared, millis: u64) {
    let until = Instant::now() + Duration::from_millis(millis);
    while Instant::now() < until && !shared.is_over.load(Ordering::Relaxed) {
        wait::pass(Duration::from_millis(50)).await;
    }
}

async fn show(shared: &Shared, step: &Step) {
    let rvs = shared.rvs.lock().await;
    for one in &step.shown {
        let environment = "sandbox".parse().expect("an environment");
        let receipt = Receipt {
            environment,
            app_user_id: one.app_user_id.clone(),
            fields: one.shown.clone(),
        };
        rvs.know(&one.receipt_id, receipt);
    }
}

/// How a notification is sent.
struct Sending {
    platform: usize,
    late: Duration,
    /// The process that receives the notification first.
    first: usize,
}

async fn deliver(shared: Arc<Shared>, rtn: Rtn, how: Sending) {
    wait::pass(how.late).await;
    let platform = &shared.platforms[how.platform];
    let rtn = Rtn {
        package_name: platform.package_name.clone(),
        ..rtn
    };
    let message: Message = shared.sns.notification(&rtn);
    let due = Instant::now();
    let mut failures = 0;
    loop {
        let url = &platform.urls[(how.first + failures) % platform.urls.len()];
        let status = match tokio::time::timeout(TIMEOUT, post_as_sns(url, &message.body)).await {
            Ok(Ok(answer)) => Ok(answer.status),
            Ok(Err(_)) => Err("no connection"),
            Err(_) => Err("no answer"),
        };
        if status == Ok(200) {
            break;
        }
        // After a 4xx the notification is permanently lost.
        let is_refused = status.is_ok_and(|status| (400..500).contains(&status) && status != 429);
        if is_refused || due.elapsed() > ACCEPTED {
            let refused = format!("{} of {}: {status:?}", rtn.kind, rtn.receipt_id);
            shared
                .refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(refused);
            return;
        }
        failures += 1;
        wait::pass(PAUSE).await;
    }
    let one = Accepted {
        message_id: message.id,
        platform_id: platform.id,
        receipt_id: rtn.receipt_id,
        kind: rtn.kind,
        sent_at: due,
        at: Instant::now(),
    };
    shared
        .accepted
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(one);
}
