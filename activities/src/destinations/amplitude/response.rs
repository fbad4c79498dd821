//! What an answer means: Amplitude's table (<https://amplitude.com/docs/apis/analytics/http-v2>), row by row, and the
//! traps that its own programs fell into.
//!
//! Sending an event again is always safe within seven days, since it is counted once: so whatever is not plainly taken
//! or plainly refused is sent again.

use super::answer::{Answer, is_search};
use super::body::{Frozen, together};
use super::keys::Key;
use super::{Config, GIVES_UP_AFTER_MS};
use crate::destinations::schedule::{Step, retry_after_ms};
use crate::http::Reply;
use crate::outcome::{EndpointSignal, Judged, Outcome, Tried, Verdict};
use domain::Timestamp;
use std::cmp::Ordering;

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// For how long a user, or the project, that sends too much is left alone.
const THROTTLE_MS: i64 = 30 * 1000;
/// After a refusal that may concern all of us there, no attempt comes sooner.
const REFUSED_MS: i64 = 15 * MINUTE_MS;
/// How long before the time is up the last attempt is made, at the latest.
const MARGIN_MS: i64 = 10 * MINUTE_MS;
/// An event that is refused alone so often, for a reason that no table lists, lets the next one pass.
const REFUSALS: i64 = 5;
/// So many attempts with too few events counted are made. A repetition may not be counted, so from then on the event is
/// taken as delivered.
const COUNTS: i64 = 3;

/// What a reply means for each event that was to be told, and for the project. `jitter` is a random number from 0 to 1,
/// `at` is now. No word of the other side is repeated.
#[must_use]
pub fn outcome(config: &Config, reply: &Reply, tried: &[Tried<'_>], (jitter, at): (f64, Timestamp)) -> Outcome {
    let (sent, left) = tried.split_at_checked(together(tried.iter().map(|one| one.body))).unwrap_or((tried, &[]));
    let retry_after = match reply {
        Reply::Answer { retry_after, .. } => retry_after.as_deref().and_then(|text| retry_after_ms(text, at)),
        Reply::Failure { .. } => None,
    };
    let case = Case { config, sent, jitter, at, retry_after };
    let mut outcome = match reply {
        Reply::Answer { status, body, .. } => case.answered(*status, Answer::read(body)),
        Reply::Failure { class, message } => case.ill(class, message, None),
    }
    .asked(retry_after);
    outcome.events.extend(left.iter().map(|_| at_once("postponed", "its project is another one: it goes out alone")));
    outcome
}

/// What the reply to a test shows.
///
/// # Errors
/// What does not work, in words for a person.
pub fn tested(config: &Config, reply: &Reply) -> Result<String, String> {
    let key = config.keys.tested();
    let wrong = match reply {
        Reply::Answer { status: 200, body, .. } if is_search(body) => {
            let is_all = key == Key::Sandbox || config.keys.get(Key::Sandbox).is_none();
            let rest = if is_all { "" } else { "; the `sandbox_api_key` was not tried" };
            return Ok(format!("Amplitude knows the `{}` and the `secret_key`{rest}", key.name()));
        }
        Reply::Answer { status: 200, .. } => {
            "200 was answered to a search for a user, but not in Amplitude's words: is something in the way?".to_owned()
        }
        Reply::Answer { status: 401, .. } => "Amplitude does not know the key with this `secret_key`".to_owned(),
        Reply::Answer { status: 403, .. } => "Amplitude does not let us in: the keys lack the right, or a firewall or \
                                              region is in the way"
            .to_owned(),
        Reply::Answer { status: 429, .. } => "Amplitude was asked too often: try again in a minute".to_owned(),
        Reply::Answer { status, .. } => format!("Amplitude answered {status} to a search for a user"),
        Reply::Failure { message, .. } => message.clone(),
    };
    Err(format!("{wrong} (the `{}` was tried)", key.name()))
}

/// One reply, and what it is judged by.
struct Case<'a> {
    config: &'a Config,
    /// The events that the request held, in its order.
    sent: &'a [Tried<'a>],
    jitter: f64,
    at: Timestamp,
    retry_after: Option<i64>,
}

impl Case<'_> {
    fn answered(&self, status: u16, answer: Option<Answer>) -> Outcome {
        match (status, answer) {
            (200, Some(answer)) if answer.code.is_none_or(|code| code == 200) && answer.error.is_empty() => {
                self.taken(&answer)
            }
            (200, _) => self.ill("unreadable", "Amplitude answered 200, but not in its own words", None),
            (400 | 401 | 403, Some(answer)) if answer.refuses_key() => self.key_refused(),
            (400, Some(answer)) if answer.finds_no_request() => self.misdirected(),
            (400, Some(answer)) if answer.finds_defect() => self.defect(),
            (400 | 429, Some(answer)) if self.blames(&answer) => self.sorted(status, &answer),
            (400, Some(_)) => self.refused(),
            (403, _) => self.forbidden(),
            (413, _) => self.too_large(),
            (429, _) => self.throttled(),
            (502..=504, _) => self.ill("server_error", &said(status), Some(self.pause_ms())),
            _ => self.ill(class(status), &said(status), self.retry_after.map(|_| self.pause_ms())),
        }
    }

    fn taken(&self, answer: &Answer) -> Outcome {
        let sent = i64::try_from(self.sent.len()).unwrap_or(i64::MAX);
        let ingested = answer.ingested.unwrap_or(sent);
        let outcome = self.all(EndpointSignal::Success, |one| match (ingested < sent, one.number < COUNTS) {
            (true, true) => self.by_schedule(one, "too_few", "Amplitude counted fewer events than the request held"),
            _ => Judged { verdict: Verdict::Delivered, class: "success", message: None, counts: true },
        });
        let comes_again = outcome.events.iter().any(|one| one.class == "too_few");
        let alarm = match ingested.cmp(&sent) {
            Ordering::Less if comes_again => "Amplitude counted fewer events than a request held: they are sent again",
            Ordering::Less => "Amplitude counted fewer events than a request held, and they are taken as delivered",
            Ordering::Greater => "Amplitude counted more events than a request held",
            Ordering::Equal => return outcome,
        };
        Outcome { alarm: Some(alarm.to_owned()), ..outcome }
    }

    /// The only project's key, or the production one's, ends all sending, so that nothing is tried in vain; that of the
    /// sandbox beside another only waits.
    fn key_refused(&self) -> Outcome {
        let sandbox = self.sent.first().and_then(|one| Frozen::read(one.body)).is_some_and(|frozen| frozen.sandbox);
        let why = format!("Amplitude does not know the key `{}`", Key::of_world(sandbox).name());
        let goes_on = sandbox && self.config.keys.get(Key::Production).is_some();
        let (endpoint_signal, alarm) = if goes_on {
            (EndpointSignal::Neutral, Some(why.clone()))
        } else {
            (EndpointSignal::Gone { reason: why.clone() }, None)
        };
        let outcome = self.all(endpoint_signal, |one| self.later(one, HOUR_MS, ("invalid_api_key", &why, false)));
        Outcome { alarm, ..outcome }
    }

    /// A wrong URL, or a proxy that drops bodies: a person can mend it while the events wait.
    fn misdirected(&self) -> Outcome {
        let why = "Amplitude got no request of ours: the path is another, or the body was lost on the way";
        let alarm = format!("{why}. Look at the endpoint's URL, and at proxies");
        Outcome { alarm: Some(alarm), ..self.ill("misdirected", why, None) }
    }

    /// Only a change of our program can mend it.
    fn defect(&self) -> Outcome {
        let why = "Amplitude cannot read our request";
        let outcome = self.all(EndpointSignal::Failure { pause_ms: None }, |_| dead("defect", why));
        Outcome { alarm: Some(format!("{why}: this is a defect of settle")), ..outcome }
    }

    /// Whether it says of an event of ours, or of its user, what is wrong.
    fn blames(&self, answer: &Answer) -> bool {
        let is_named = |place: usize| self.verdict(answer, place).is_some();
        answer.is_throttled || answer.is_over_quota || (0..self.sent.len()).any(is_named)
    }

    /// Why an event can never be sent, if it is named so. The lists name only the first event that is wrong in a way:
    /// the others come again at once, and each round ends at least one.
    fn verdict(&self, answer: &Answer, place: usize) -> Option<Judged> {
        if let Some((_, field)) = answer.wrong.iter().find(|(wrong, _)| *wrong == place) {
            let field = field.map_or("one of its fields".to_owned(), |field| format!("its `{field}`"));
            return Some(dead("refused", &format!("Amplitude refused the event for {field}")));
        }
        let device = || Frozen::read(self.sent.get(place)?.body)?.event.get("device_id")?.as_str().map(str::to_owned);
        let is_silenced = answer.silenced.contains(&place)
            || (!answer.silenced_devices.is_empty()
                && device().is_some_and(|device| answer.silenced_devices.contains(&device)));
        is_silenced.then(|| dead("silenced", "Amplitude has silenced the customer: it takes none of their events"))
    }

    fn sorted(&self, status: u16, answer: &Answer) -> Outcome {
        let (class, why, pause_ms) = match (answer.is_over_quota, answer.is_throttled) {
            (true, _) => ("quota", "the customer has used up a day's events at Amplitude", Some(HOUR_MS)),
            (false, true) => ("throttled", "the customer has too many events at Amplitude just now", Some(THROTTLE_MS)),
            (false, false) => ("not_taken", "another event of the same request was refused", None),
        };
        let others = |one: &Tried<'_>| match pause_ms {
            Some(pause_ms) => self.later(one, pause_ms, (class, why, false)),
            None => at_once(class, why),
        };
        let judged = |(place, one): (usize, &Tried<'_>)| self.verdict(answer, place).unwrap_or_else(|| others(one));
        let events: Vec<_> = self.sent.iter().enumerate().map(judged).collect();
        let is_silenced = events.iter().any(|one| one.class == "silenced");
        // It answers as it should; but that one user is throttled says nothing of the project.
        let endpoint_signal =
            if status == 400 && pause_ms.is_none() { EndpointSignal::Success } else { EndpointSignal::Neutral };
        let alarm = is_silenced.then(|| "Amplitude has silenced a customer".to_owned());
        Outcome { events, endpoint_signal, lane_pause_ms: None, user_pause_ms: pause_ms, at_most: None, alarm }
    }

    /// Refused for a reason that no table lists: by halves it is found which event it is, and that one is tried a few
    /// times more.
    fn refused(&self) -> Outcome {
        let why = "Amplitude refused the event for a reason that it does not document";
        if let [one] = self.sent {
            // Alone, for the fifth time: refusals in company are not its own, nor are attempts that were not refused.
            let is_last = one.refusals.min(one.number.saturating_sub(1)).saturating_add(1) >= REFUSALS;
            let judged = if is_last { dead("refused", why) } else { self.by_schedule(one, "refused", why) };
            return self.all(EndpointSignal::Failure { pause_ms: None }, |_| judged.clone());
        }
        Outcome { at_most: Some(self.half()), ..self.all(EndpointSignal::Neutral, |_| at_once("refused", why)) }
    }

    /// A firewall, or a region that is not served.
    fn forbidden(&self) -> Outcome {
        let why = "Amplitude's firewall refuses us, or it does not serve the region (403)";
        let slow = |one: &Tried<'_>| match self.wait_ms(one) {
            Some(wait_ms) => self.later(one, wait_ms.max(REFUSED_MS), ("forbidden", why, true)),
            None => dead("forbidden", why),
        };
        Outcome { alarm: Some(why.to_owned()), ..self.all(EndpointSignal::Failure { pause_ms: None }, slow) }
    }

    fn too_large(&self) -> Outcome {
        if self.sent.len() > 1 {
            let why = "the request was too large, and goes out in halves";
            return Outcome {
                at_most: Some(self.half()),
                ..self.all(EndpointSignal::Neutral, |_| at_once("too_large", why))
            };
        }
        let why = "Amplitude finds a single event too large";
        Outcome { alarm: Some(why.to_owned()), ..self.all(EndpointSignal::Neutral, |_| dead("too_large", why)) }
    }

    /// Nobody in particular is blamed: the project as a whole sends too much. No step of the schedule is used up, since
    /// pauses and recoveries can follow one another fast.
    fn throttled(&self) -> Outcome {
        let pause_ms = self.retry_after.unwrap_or_default().clamp(THROTTLE_MS, HOUR_MS);
        let why = "Amplitude takes no more events of the project just now (429)";
        self.all(EndpointSignal::Failure { pause_ms: Some(pause_ms) }, |one| {
            self.later(one, pause_ms, ("throttled", why, false))
        })
    }

    /// Nothing is known of the events, and the project, or the way to it, is in trouble.
    fn ill(&self, class: &'static str, why: &str, pause_ms: Option<i64>) -> Outcome {
        self.all(EndpointSignal::Failure { pause_ms }, |one| self.by_schedule(one, class, why))
    }

    fn all(&self, endpoint_signal: EndpointSignal, judge: impl Fn(&Tried<'_>) -> Judged) -> Outcome {
        let events = self.sent.iter().map(judge).collect();
        Outcome { events, endpoint_signal, lane_pause_ms: None, user_pause_ms: None, at_most: None, alarm: None }
    }

    fn by_schedule(&self, one: &Tried<'_>, class: &'static str, why: &str) -> Judged {
        match self.wait_ms(one) {
            Some(wait_ms) => self.later(one, wait_ms, (class, why, true)),
            None => dead(class, why),
        }
    }

    /// Again after a while, and for the last time shortly before the seven days are over.
    fn later(&self, one: &Tried<'_>, wait_ms: i64, (class, why, counts): (&'static str, &str, bool)) -> Judged {
        let passed_ms = one.first_tried_at.map_or(0, |first| self.at.millis_since(first).max(0));
        let left_ms = GIVES_UP_AFTER_MS.saturating_sub(MARGIN_MS).saturating_sub(passed_ms);
        if left_ms <= 0 {
            return dead(class, &format!("{why}; and after seven days Amplitude would count it twice"));
        }
        let verdict = Verdict::Retry { delay_ms: wait_ms.min(left_ms) };
        Judged { verdict, class, message: Some(why.to_owned()), counts }
    }

    fn wait_ms(&self, one: &Tried<'_>) -> Option<i64> {
        self.config.wait_ms(self.step(one), self.retry_after, self.jitter)
    }

    fn pause_ms(&self) -> i64 {
        self.config.schedule.pause_ms(self.retry_after)
    }

    const fn step(&self, one: &Tried<'_>) -> Step {
        Step { number: one.number, first_tried_at: one.first_tried_at, at: self.at }
    }

    fn half(&self) -> i64 {
        i64::try_from(self.sent.len() / 2).unwrap_or(1).max(1)
    }
}

/// Again without a wait: it was not this event's fault.
fn at_once(class: &'static str, why: &str) -> Judged {
    let verdict = Verdict::Retry { delay_ms: 0 };
    Judged { verdict, class, message: Some(why.to_owned()), counts: false }
}

fn dead(class: &'static str, why: &str) -> Judged {
    Judged { verdict: Verdict::Dead, class, message: Some(why.to_owned()), counts: true }
}

fn said(status: u16) -> String {
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
