//! `verify`: asks the store once what is true of a purchase.
//!
//! It never waits for the store to come back: it says when to ask again, so that the workflow hears signals meanwhile.
//! What is said of a failure, here and in the Temporal UI, holds no secret, no customer and no URL.

use crate::Doing;
use crate::http::{Http, Rules};
use crate::pace::{Pace, Turn};
use crate::stores::{Again, Answer, Receipt, Settings, Store};
use domain::{CollapseKey, Parked, PlatformId, Reading, Timestamp, UnknownReceipts};
use std::time::Duration;
use storage::{Error, StoreQuery, Unanswered};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use workflows::asks::Verified;

/// How many requests to stores are in flight at once, so that a store that hangs leaves slots for other activities.
const IN_FLIGHT: usize = 20;
/// For how long one of these is waited for: with the wait for a turn and the request it fits into one run.
const WAIT: Duration = Duration::from_millis(500);
/// The wait after the first failure; it doubles with each.
const FIRST_MS: i64 = 2_000;
/// The longest wait between two attempts.
const LONGEST_MS: i64 = 60_000;
/// About when whoever found no turn comes again.
const TURN_MS: i64 = 4_000;

/// How stores are asked by this process.
#[derive(Debug)]
pub struct Asking {
    settings: Settings,
    pace: Pace,
    in_flight: Semaphore,
    /// For addresses that the operator chose.
    open: Option<Http>,
}

impl Asking {
    /// Asks under these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            pace: Pace::new(settings.per_second()),
            in_flight: Semaphore::new(IN_FLIGHT),
            open: settings.has_chosen_address().then(|| Http::new(Rules::open())),
            settings,
        }
    }
}

/// Asks once, and says what came of it or when to ask again.
pub async fn verify(doing: &Doing, key: CollapseKey) -> Result<Verified, Error> {
    let Some(known) = doing.store.store_query(key).await? else { return Ok(read(Reading::Unverifiable)) };
    let Some(store) = doing.asking.settings.of(&known.store, known.platform_id) else {
        return Ok(read(Reading::Unverifiable));
    };
    let platform = known.platform_id;
    let answer = match attempt(doing, store, &known).await? {
        Attempt::Answer(answer) => answer,
        Attempt::NoTurn => {
            count("no_turn");
            let again_ms = spread(TURN_MS, (doing.random)());
            return later(doing, (key, again_ms), "others of this platform are asked about first").await;
        }
    };
    let word = word(&answer);
    count(word);
    tracing::info!(collapse_key = %key, platform.id = %platform, answer = word, "asked the store about a purchase");
    match answer {
        Answer::Read(reading) => {
            let reading = match (reading, known.unknown_receipts) {
                (Reading::Parked(Parked::UnknownReceipt), UnknownReceipts::Believe) => {
                    Reading::Parked(Parked::Believable)
                }
                (reading, _) => reading,
            };
            if matches!(reading, Reading::Parked(_)) {
                doing.store.verify_answered(key).await?;
            }
            Ok(read(reading))
        }
        Answer::Refused => refused(doing, (key, &known)).await,
        Answer::Again(again) => failed(doing, (key, platform, store), &again).await,
    }
}

enum Attempt {
    Answer(Answer),
    /// The store was not asked, and that is not its fault.
    NoTurn,
}

async fn attempt(doing: &Doing, store: Store<'_>, known: &StoreQuery) -> Result<Attempt, Error> {
    let (asking, platform) = (&doing.asking, known.platform_id);
    let receipt = Receipt {
        environment: known.environment,
        app_user_id: known.app_user_id.clone(),
        receipt_id: known.receipt_id.clone(),
        secret: known.secret.clone(),
    };
    let request = match store.request(&receipt) {
        Ok(request) => request,
        Err(answer) => return Ok(Attempt::Answer(answer)),
    };
    let Ok(Ok(_slot)) = tokio::time::timeout(WAIT, asking.in_flight.acquire()).await else {
        return Ok(Attempt::NoTurn);
    };
    match asking.pace.turn(platform, Instant::now()) {
        Turn::At(at) => tokio::time::sleep_until(at).await,
        Turn::Later => return Ok(Attempt::NoTurn),
        Turn::Paused(until) => return Ok(Attempt::Answer(Answer::Again(paused(until)))),
    }
    // By the clock that stamps rows: it is compared with nothing else.
    let at = doing.store.now().await?;
    let http = asking.open.as_ref().filter(|_| store.is_at_chosen_address()).unwrap_or(&doing.http);
    let began = Instant::now();
    let reply = http.send(request).await;
    metrics::histogram!("settle_verification_seconds").record(began.elapsed());
    let answer = store.answer(&reply, &receipt, at);
    Ok(Attempt::Answer(match answer {
        Answer::Again(again) if again.is_throttled => {
            let until = asking.pace.pause(platform, (Instant::now(), again.retry_after), (doing.random)());
            Answer::Again(Again { retry_after: Some(until.duration_since(Instant::now())), ..again })
        }
        Answer::Again(again) => Answer::Again(again),
        other => {
            asking.pace.answered(platform);
            other
        }
    }))
}

/// What the others of a platform are told while the store wants to be left alone. It counts as a failure: patience
/// must end for them too.
fn paused(until: Instant) -> Again {
    let retry_after = Some(until.duration_since(Instant::now()));
    Again { retry_after, ..Again::new("paused", "the store asked us to slow down a moment ago") }
}

async fn refused(doing: &Doing, (key, asked): (CollapseKey, &StoreQuery)) -> Result<Verified, Error> {
    let platform = asked.platform_id;
    if doing.store.refuse_secret(asked).await? {
        metrics::counter!("settle_alarms_total", "kind" => "secret_refused").increment(1);
        tracing::warn!(platform.id = %platform, "the store refuses the platform's shared secret; it is not used again");
    } else if doing.store.store_query(key).await?.is_some() {
        let again_ms = spread(FIRST_MS, (doing.random)());
        return later(doing, (key, again_ms), "another shared secret was set meanwhile").await;
    }
    Ok(read(Reading::Unverifiable))
}

/// Counts the failure: while patience lasts it is asked again, then it has to go without the store.
async fn failed(
    doing: &Doing,
    (key, platform, store): (CollapseKey, PlatformId, Store<'_>),
    again: &Again,
) -> Result<Verified, Error> {
    if again.is_strange {
        alarm(doing, platform, "verification_strange", &again.why).await;
    }
    let unanswered = doing.store.verify_failed(key).await?;
    let failures = Failures { unanswered, now: doing.store.now().await? };
    let Some(again_ms) = again_ms(failures, (store.patience(), again.retry_after), (doing.random)()) else {
        return Ok(Verified { why: Some(again.why.clone()), ..read(Reading::Unreachable { since: unanswered.since }) });
    };
    later(doing, (key, again_ms), &format!("{} (attempt {})", again.why, unanswered.attempts)).await
}

/// For how long and how often the store did not answer.
#[derive(Debug, Clone, Copy)]
struct Failures {
    unanswered: Unanswered,
    now: Timestamp,
}

/// When to ask again; `None` when patience is over. The last attempt is made at its end.
fn again_ms(failures: Failures, (patience, asked_for): (Duration, Option<Duration>), jitter: f64) -> Option<i64> {
    let patience_ms = millis(patience);
    let left = patience_ms.saturating_sub(failures.now.millis_since(failures.unanswered.since).max(0));
    let doublings = u32::try_from(failures.unanswered.attempts.saturating_sub(1).clamp(0, 10)).unwrap_or(0);
    let wait = spread(FIRST_MS.saturating_mul(1 << doublings).min(LONGEST_MS), jitter);
    // A little later than asked for, so that not all come at once.
    let asked_for = asked_for.map_or(0, |asked| millis(asked).saturating_add(wait / 4));
    (left > 0).then(|| wait.max(asked_for).min(left).max(1))
}

/// Keeps an alarm; the asking goes on without it.
async fn alarm(doing: &Doing, platform: PlatformId, kind: &'static str, detail: &str) {
    metrics::counter!("settle_alarms_total", "kind" => kind).increment(1);
    tracing::warn!(platform.id = %platform, kind, "{detail}");
    if let Err(error) = doing.store.alarm(Some(platform), kind, detail).await {
        tracing::warn!(platform.id = %platform, kind, %error, "an alarm was not kept");
    }
}

const fn read(reading: Reading) -> Verified {
    Verified { reading: Some(reading), again_ms: 0, why: None }
}

/// It is asked again: by the run that waits for it, or by the sweep should that be lost.
async fn later(doing: &Doing, (key, again_ms): (CollapseKey, i64), why: &str) -> Result<Verified, Error> {
    doing.store.schedule_query(key, again_ms).await?;
    Ok(Verified { reading: None, again_ms, why: Some(why.to_owned()) })
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Read(Reading::Verified(_)) => "verified",
        Answer::Read(Reading::Gone) => "gone",
        Answer::Read(Reading::Parked(Parked::UnknownReceipt | Parked::Believable)) => "unknown_receipt",
        Answer::Read(Reading::Parked(Parked::WrongCustomer)) => "wrong_customer",
        Answer::Read(Reading::Unverifiable | Reading::Unreachable { .. }) => "unverifiable",
        Answer::Refused => "secret_refused",
        Answer::Again(again) => again.class,
    }
}

fn count(answer: &'static str) {
    metrics::counter!("settle_verifications_total", "answer" => answer).increment(1);
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Half of it to half more, by `jitter` from 0 to 1.
fn spread(ms: i64, jitter: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "from 0 to 1000, and a float cast saturates")]
    let thousandths = (jitter.clamp(0.0, 1.0) * 1000.0) as i64;
    ms.saturating_mul(thousandths.saturating_add(500)) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    const PATIENCE: Duration = Duration::from_secs(900);

    fn failures(attempts: i64, elapsed_ms: i64) -> Failures {
        let since = Timestamp::from_millis(1_700_000_000_000);
        Failures { unanswered: Unanswered { since, attempts }, now: since.plus_millis(elapsed_ms) }
    }

    #[test]
    fn waits_double_from_two_seconds_to_a_minute() {
        let wait = |attempts| again_ms(failures(attempts, 0), (PATIENCE, None), 0.5);
        let expected = [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000].map(Some);
        assert_eq!([1, 2, 3, 4, 5, 6, i64::MAX].map(wait), expected);
    }

    #[test]
    fn the_last_attempt_is_at_the_end_of_patience_and_there_is_none_after_it() {
        let wait = |elapsed_ms| again_ms(failures(9, elapsed_ms), (PATIENCE, None), 0.5);
        assert_eq!(wait(899_000), Some(1_000));
        assert_eq!(wait(899_999), Some(1));
        assert_eq!(wait(900_000), None);
        assert_eq!(wait(9_000_000), None);
        assert_eq!(wait(-60_000), Some(60_000), "a clock that went back gives no more than patience");
    }

    #[test]
    fn what_the_store_asks_for_is_waited_for_but_not_beyond_patience() {
        let wait = |asked| again_ms(failures(1, 0), (PATIENCE, Some(Duration::from_secs(asked))), 0.5);
        assert_eq!(wait(10), Some(10_500));
        assert_eq!(wait(3_600), Some(900_000));
        assert_eq!(wait(0), Some(2_000));
    }

    #[test]
    fn waits_are_spread_by_half_either_way() {
        assert_eq!([0.0, 0.5, 1.0, 7.0].map(|jitter| spread(2_000, jitter)), [1_000, 2_000, 3_000, 3_000]);
    }
}
