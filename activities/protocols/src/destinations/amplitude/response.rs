//! Judges an answer by Amplitude's table (<https://amplitude.com/docs/apis/analytics/http-v2>), row by row, and by known
//! pitfalls of its own SDKs.
//!
//! A retry is always safe within seven days, since an event is counted once: so everything that is neither clearly accepted
//! nor clearly refused is retried.

use super::answer::{Answer, is_search};
use super::body::{Frozen, together};
use super::keys::Key;
use super::{Config, GIVES_UP_AFTER_MS};
use crate::destinations::schedule::{Step, retry_after_ms};
use crate::http::Reply;
use domain::Timestamp;
use std::cmp::Ordering;
use storage::{Attempt, DeliveryResult, EndpointSignal, EventResult, Verdict};

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// How long a throttled user or project pauses.
const THROTTLE_MS: i64 = 30 * 1000;
/// The shortest wait after a refusal that may concern all our requests.
const REFUSED_MS: i64 = 15 * MINUTE_MS;
/// How long before the time limit the last attempt is, at the latest.
const MARGIN_MS: i64 = 10 * MINUTE_MS;
/// The number of undocumented refusals of an event alone at which it dies, so that the next one follows.
const REFUSALS: i64 = 5;
/// Number of attempts whose events are counted as too few. A repetition may not be counted, so after that the event counts
/// as delivered.
const COUNTS: i64 = 3;

/// Judges a reply for each event and for the project. `jitter` is a random number from 0 to 1, `at` is now. No text of
/// Amplitude is repeated.
#[must_use]
pub fn judge(config: &Config, reply: &Reply, events: &[Attempt], (jitter, at): (f64, Timestamp)) -> DeliveryResult {
    let (sent, left) =
        events.split_at_checked(together(events.iter().map(|one| one.body.as_str()))).unwrap_or((events, &[]));
    let retry_after = match reply {
        Reply::Answer { retry_after, .. } => retry_after.as_deref().and_then(|text| retry_after_ms(text, at)),
        Reply::Failure { .. } => None,
    };
    let case = Case { config, sent, jitter, at, retry_after };
    let mut result = match reply {
        Reply::Answer { status, body, .. } => case.answered(*status, Answer::read(body)),
        Reply::Failure { class, message } => case.failure(class, message, None),
    }
    .with_retry_after(retry_after);
    result
        .events
        .extend(left.iter().map(|one| at_once(one, "postponed", "its project is another one: it is sent separately")));
    result
}

/// Describes the reply to a test.
///
/// # Errors
/// What does not work, as a sentence for people.
pub fn tested(config: &Config, reply: &Reply) -> Result<String, String> {
    let key = config.keys.tested();
    let wrong = match reply {
        Reply::Answer { status: 200, body, .. } if is_search(body) => {
            let is_all = key == Key::Sandbox || config.keys.get(Key::Sandbox).is_none();
            let rest = if is_all { "" } else { "; the `sandbox_api_key` was not tried" };
            return Ok(format!("Amplitude knows the `{}` and the `secret_key`{rest}", key.name()));
        }
        Reply::Answer { status: 200, .. } => {
            "the search for a user was answered 200, but not by Amplitude: is a proxy in the way?".to_owned()
        }
        Reply::Answer { status: 401, .. } => "Amplitude does not know the key with this `secret_key`".to_owned(),
        Reply::Answer { status: 403, .. } => "Amplitude does not let us in: the keys lack the right, or a firewall or \
                                              region is in the way"
            .to_owned(),
        Reply::Answer { status: 429, .. } => "Amplitude throttles us: try again in a minute".to_owned(),
        Reply::Answer { status, .. } => format!("Amplitude answered {status} to a search for a user"),
        Reply::Failure { message, .. } => message.clone(),
    };
    Err(format!("{wrong} (the `{}` was tried)", key.name()))
}

/// One reply, and what it is judged by.
struct Case<'a> {
    config: &'a Config,
    /// The events that the request held, in its order.
    sent: &'a [Attempt],
    jitter: f64,
    at: Timestamp,
    retry_after: Option<i64>,
}

impl Case<'_> {
    fn answered(&self, status: u16, answer: Option<Answer>) -> DeliveryResult {
        match (status, answer) {
            (200, Some(answer)) if answer.code.is_none_or(|code| code == 200) && answer.error.is_empty() => {
                self.accepted(&answer)
            }
            (200, _) => self.failure("unreadable", "the answer was 200, but its body is not Amplitude's", None),
            (400 | 401 | 403, Some(answer)) if answer.refuses_key() => self.key_refused(),
            (400, Some(answer)) if answer.finds_no_request() => self.misdirected(),
            (400, Some(answer)) if answer.finds_defect() => self.defect(),
            (400 | 429, Some(answer)) if self.blames(&answer) => self.sort(status, &answer),
            (400, Some(_)) => self.refused(),
            (403, _) => self.forbidden(),
            (413, _) => self.too_large(),
            (429, _) => self.throttled(),
            (502..=504, _) => self.failure("server_error", &describe(status), Some(self.pause_ms())),
            _ => self.failure(class(status), &describe(status), self.retry_after.map(|_| self.pause_ms())),
        }
    }

    fn accepted(&self, answer: &Answer) -> DeliveryResult {
        let sent = i64::try_from(self.sent.len()).unwrap_or(i64::MAX);
        let ingested = answer.ingested.unwrap_or(sent);
        let result = self.all(EndpointSignal::Success, |one| match (ingested < sent, one.number < COUNTS) {
            (true, true) => self.by_schedule(one, "too_few", "Amplitude counted fewer events than the request held"),
            _ => EventResult {
                delivery_id: one.delivery_id,
                verdict: Verdict::Delivered,
                class: "success",
                error: None,
                counts: true,
            },
        });
        let comes_again = result.events.iter().any(|one| one.class == "too_few");
        let alarm = match ingested.cmp(&sent) {
            Ordering::Less if comes_again => "Amplitude counted fewer events than a request held: they are sent again",
            Ordering::Less => "Amplitude counted fewer events than a request held, and they are taken as delivered",
            Ordering::Greater => "Amplitude counted more events than a request held",
            Ordering::Equal => return result,
        };
        DeliveryResult { alarm: Some(alarm.to_owned()), ..result }
    }

    /// An unknown key of the only project, or of production, disables the integration, so that nothing is sent in vain; events
    /// of an unknown sandbox key beside another one only wait.
    fn key_refused(&self) -> DeliveryResult {
        let sandbox = self.sent.first().and_then(|one| Frozen::read(&one.body)).is_some_and(|frozen| frozen.sandbox);
        let why = format!("Amplitude does not know the key `{}`", Key::of_world(sandbox).name());
        let goes_on = sandbox && self.config.keys.get(Key::Production).is_some();
        let (endpoint_signal, alarm) = if goes_on {
            (EndpointSignal::Neutral, Some(why.clone()))
        } else {
            (EndpointSignal::Gone { reason: why.clone() }, None)
        };
        let result = self.all(endpoint_signal, |one| self.later(one, HOUR_MS, ("invalid_api_key", &why, false)));
        DeliveryResult { alarm, ..result }
    }

    /// A wrong URL, or a proxy that drops bodies: an operator can correct it while the events wait.
    fn misdirected(&self) -> DeliveryResult {
        let why = "Amplitude got no request of ours: the path is another, or the body was lost on the way";
        let alarm = format!("{why}. Check the endpoint's URL, and proxies");
        DeliveryResult { alarm: Some(alarm), ..self.failure("misdirected", why, None) }
    }

    /// Only a new version of settle can correct it.
    fn defect(&self) -> DeliveryResult {
        let why = "Amplitude cannot read our request";
        let result = self.all(EndpointSignal::Failure { pause_ms: None }, |one| dead(one, "defect", why));
        DeliveryResult { alarm: Some(format!("{why}: this is a defect of settle")), ..result }
    }

    /// Whether it names an event of ours, or throttles its user.
    fn blames(&self, answer: &Answer) -> bool {
        let is_named = |place: usize| self.verdict(answer, place).is_some();
        answer.is_throttled || answer.is_over_quota || (0..self.sent.len()).any(is_named)
    }

    /// The verdict on an event that the answer names. The lists name only the first invalid event: the others are retried at
    /// once, and each round removes at least one.
    fn verdict(&self, answer: &Answer, place: usize) -> Option<EventResult> {
        let one = self.sent.get(place)?;
        if let Some((_, field)) = answer.wrong.iter().find(|(wrong, _)| *wrong == place) {
            let field = field.map_or("one of its fields".to_owned(), |field| format!("its `{field}`"));
            return Some(dead(one, "refused", &format!("Amplitude refused the event for {field}")));
        }
        let device = || Frozen::read(&one.body)?.event.get("device_id")?.as_str().map(str::to_owned);
        let is_silenced = answer.silenced.contains(&place)
            || (!answer.silenced_devices.is_empty()
                && device().is_some_and(|device| answer.silenced_devices.contains(&device)));
        is_silenced.then(|| dead(one, "silenced", "Amplitude has silenced the customer: it takes none of their events"))
    }

    fn sort(&self, status: u16, answer: &Answer) -> DeliveryResult {
        let (class, why, pause_ms) = match (answer.is_over_quota, answer.is_throttled) {
            (true, _) => ("quota", "the customer has used up a day's events at Amplitude", Some(HOUR_MS)),
            (false, true) => ("throttled", "the customer has too many events at Amplitude just now", Some(THROTTLE_MS)),
            (false, false) => ("not_taken", "another event of the same request was refused", None),
        };
        let others = |one: &Attempt| match pause_ms {
            Some(pause_ms) => self.later(one, pause_ms, (class, why, false)),
            None => at_once(one, class, why),
        };
        let verdict_of = |(place, one): (usize, &Attempt)| self.verdict(answer, place).unwrap_or_else(|| others(one));
        let events: Vec<_> = self.sent.iter().enumerate().map(verdict_of).collect();
        let is_silenced = events.iter().any(|one| one.class == "silenced");
        // The project works; but a throttled user shows nothing about the project.
        let endpoint_signal =
            if status == 400 && pause_ms.is_none() { EndpointSignal::Success } else { EndpointSignal::Neutral };
        let alarm = is_silenced.then(|| "Amplitude has silenced a customer".to_owned());
        DeliveryResult { events, endpoint_signal, lane_pause_ms: None, user_pause_ms: pause_ms, at_most: None, alarm }
    }

    /// An undocumented refusal: halving the request finds the refused event, and that one is retried a few times.
    fn refused(&self) -> DeliveryResult {
        let why = "Amplitude refused the event for a reason that it does not document";
        if let [one] = self.sent {
            // Alone, for the fifth time: refusals of a larger request are not its own, nor are attempts that were not refused.
            let is_last = one.refusals.min(one.number.saturating_sub(1)).saturating_add(1) >= REFUSALS;
            let verdict = if is_last { dead(one, "refused", why) } else { self.by_schedule(one, "refused", why) };
            return self.all(EndpointSignal::Failure { pause_ms: None }, |_| verdict.clone());
        }
        DeliveryResult {
            at_most: Some(self.half()),
            ..self.all(EndpointSignal::Neutral, |one| at_once(one, "refused", why))
        }
    }

    /// The firewall refuses us, or the region is not served.
    fn forbidden(&self) -> DeliveryResult {
        let why = "Amplitude's firewall refuses us, or it does not serve the region (403)";
        let slow = |one: &Attempt| match self.wait_ms(one) {
            Some(wait_ms) => self.later(one, wait_ms.max(REFUSED_MS), ("forbidden", why, true)),
            None => dead(one, "forbidden", why),
        };
        DeliveryResult { alarm: Some(why.to_owned()), ..self.all(EndpointSignal::Failure { pause_ms: None }, slow) }
    }

    fn too_large(&self) -> DeliveryResult {
        if self.sent.len() > 1 {
            let why = "the request was too large, and is sent in halves";
            return DeliveryResult {
                at_most: Some(self.half()),
                ..self.all(EndpointSignal::Neutral, |one| at_once(one, "too_large", why))
            };
        }
        let why = "Amplitude finds a single event too large";
        DeliveryResult {
            alarm: Some(why.to_owned()),
            ..self.all(EndpointSignal::Neutral, |one| dead(one, "too_large", why))
        }
    }

    /// No user is named: the project as a whole sends too much. The attempt does not count as a step of the schedule, since
    /// pauses and recoveries can follow one another fast.
    fn throttled(&self) -> DeliveryResult {
        let pause_ms = self.retry_after.unwrap_or_default().clamp(THROTTLE_MS, HOUR_MS);
        let why = "Amplitude takes no more events of the project just now (429)";
        self.all(EndpointSignal::Failure { pause_ms: Some(pause_ms) }, |one| {
            self.later(one, pause_ms, ("throttled", why, false))
        })
    }

    /// Nothing is known about the events, and the project, or the way to it, fails.
    fn failure(&self, class: &'static str, why: &str, pause_ms: Option<i64>) -> DeliveryResult {
        self.all(EndpointSignal::Failure { pause_ms }, |one| self.by_schedule(one, class, why))
    }

    fn all(&self, endpoint_signal: EndpointSignal, judge: impl Fn(&Attempt) -> EventResult) -> DeliveryResult {
        let events = self.sent.iter().map(judge).collect();
        DeliveryResult { events, endpoint_signal, lane_pause_ms: None, user_pause_ms: None, at_most: None, alarm: None }
    }

    fn by_schedule(&self, one: &Attempt, class: &'static str, why: &str) -> EventResult {
        match self.wait_ms(one) {
            Some(wait_ms) => self.later(one, wait_ms, (class, why, true)),
            None => dead(one, class, why),
        }
    }

    /// A retry after a wait, the last one shortly before the seven days are over.
    fn later(&self, one: &Attempt, wait_ms: i64, (class, why, counts): (&'static str, &str, bool)) -> EventResult {
        let passed_ms = one.first_tried_at.map_or(0, |first| self.at.millis_since(first).max(0));
        let left_ms = GIVES_UP_AFTER_MS.saturating_sub(MARGIN_MS).saturating_sub(passed_ms);
        if left_ms <= 0 {
            return dead(one, class, &format!("{why}; and after seven days Amplitude would count it twice"));
        }
        retry(one, wait_ms.min(left_ms), (class, why, counts))
    }

    fn wait_ms(&self, one: &Attempt) -> Option<i64> {
        self.config.wait_ms(self.step(one), self.retry_after, self.jitter)
    }

    fn pause_ms(&self) -> i64 {
        self.config.schedule.pause_ms(self.retry_after)
    }

    const fn step(&self, one: &Attempt) -> Step {
        Step { number: one.number, first_tried_at: one.first_tried_at, at: self.at }
    }

    fn half(&self) -> i64 {
        i64::try_from(self.sent.len() / 2).unwrap_or(1).max(1)
    }
}

/// A retry without a wait: the failure is not this event's.
fn at_once(one: &Attempt, class: &'static str, why: &str) -> EventResult {
    retry(one, 0, (class, why, false))
}

fn retry(one: &Attempt, delay_ms: i64, (class, why, counts): (&'static str, &str, bool)) -> EventResult {
    let verdict = Verdict::Retry { delay_ms };
    EventResult { delivery_id: one.delivery_id, verdict, class, error: Some(why.to_owned()), counts }
}

fn dead(one: &Attempt, class: &'static str, why: &str) -> EventResult {
    EventResult { verdict: Verdict::Dead, ..retry(one, 0, (class, why, true)) }
}

fn describe(status: u16) -> String {
    format!("Amplitude answered {status}")
}

const fn class(status: u16) -> &'static str {
    match status {
        300..=399 => "redirect",
        400..=499 => "client_error",
        500..=599 => "server_error",
        _ => "unexpected_status",
    }
}
