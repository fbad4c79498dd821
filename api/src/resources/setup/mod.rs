//! `/v1/platforms/{platform_id}/steps`: the setup steps of a platform at its store, each with what was last seen of it
//! and what to do next. The store's form names the facts that show a step; [`steps`] judges them and is pure.

use super::signals::Nothing;
use crate::answer::{Accepted, NoContent};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Body, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::Timestamp;
use protocols::form::{Remedy, SetupEvidence, Step};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use storage::{ArrivalView, Paged, Platform, SetupFacts, StoreTest};

/// Next action after a message was refused for a reason that another step names.
const CORRECT: &str = "Correct the step that is a problem. If none is, the message was not sent by the store as set up here.";

/// A setup step at the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetupStep {
    /// Short instruction.
    pub title: &'static str,
    /// Detailed instruction.
    pub text: &'static str,
    /// Where to do the step: `settle`, or the name of the other system.
    pub place: &'static str,
    /// Whether the step is done.
    pub state: SetupState,
    /// What was last seen of the step; null if settle cannot see it.
    pub last_seen: Option<String>,
    /// When that happened; null if it has no time.
    pub last_seen_at: Option<Timestamp>,
    /// What to do next, in one sentence; null if nothing has to be done.
    pub next: Option<String>,
    /// Whether a query of the store shows the step, and the store can be queried on request.
    #[serde(skip)]
    pub can_query: bool,
    /// Whether a test notification shows the step, and can be requested.
    #[serde(skip)]
    pub can_test: bool,
    /// Whether the step is done in the platform's settings.
    #[serde(skip)]
    pub is_in_settings: bool,
}

/// Whether a setup step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetupState {
    /// The step is done.
    Done,
    /// Nothing shows yet that it is done.
    Open,
    /// Done wrongly, or not any more.
    Problem,
    /// settle cannot see whether it is done.
    Unknown,
}

/// A request for a test notification.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RequestedTest {
    /// What happens next.
    pub next: &'static str,
}

/// `GET /v1/platforms/{platform_id}/steps`. Sends no request to the store: settle queries it when the credentials are
/// set, and then at intervals.
pub async fn list(
    State(edge): State<Shared>,
    Stored(platform): Stored<Platform>,
) -> Result<Json<Paged<SetupStep>>, Error> {
    Ok(Json(Paged {
        items: of_platform(&edge, &platform).await?,
        next_cursor: None,
    }))
}

/// `POST /v1/platforms/{platform_id}/try-access`: has the store queried with the platform's credentials, even if it
/// refused them. The steps show the result.
pub async fn try_access(
    edge: Acting,
    Stored(platform): Stored<Platform>,
    _: Body<Nothing>,
) -> Result<NoContent, Error> {
    let guide = guide(&edge, &platform);
    let mut evidence = guide.iter().filter_map(|step| step.evidence);
    if !evidence.any(|one| matches!(one, SetupEvidence::Query(_))) {
        return Err(Error::Unsuitable(
            "settle queries this store about purchases only: `settle platform retry-parked` retries those that the store \
             did not accept"
                .to_owned(),
        ));
    }
    if !platform.has_credential() {
        return Err(Error::Conflict(
            "the platform has no credentials: enter them in its settings first".to_owned(),
        ));
    }
    edge.test_quota.count_query(platform.id)?;
    edge.store.try_access(platform.id).await?;
    // The run that verifies claims sends the query. Without it, the sweep does.
    edge.dispatch.engine().verify_claims(platform.id);
    Ok(NoContent)
}

/// `POST /v1/platforms/{platform_id}/test`: requests a test notification of the store. The steps show it arriving.
pub async fn request_test(
    edge: Acting,
    Stored(platform): Stored<Platform>,
    _: Body<Nothing>,
) -> Result<Accepted<RequestedTest>, Error> {
    let guide = guide(&edge, &platform);
    let mut evidence = guide.iter().filter_map(|step| step.evidence);
    if !evidence.any(|one| matches!(one, SetupEvidence::RequestedTest(..))) {
        return Err(Error::Unsuitable(
            "settle cannot request a test notification of this store: `settle platform steps` lists what to do there"
                .to_owned(),
        ));
    }
    if !platform.has_credential() {
        return Err(Error::Conflict(
            "the platform has no credentials: enter them in its settings first".to_owned(),
        ));
    }
    if platform.secret_refused_at.is_some() {
        return Err(Error::Conflict(
            "the store refuses the platform's credentials: correct them first, or try them with `settle platform \
             try-access`"
                .to_owned(),
        ));
    }
    edge.test_quota.count_query(platform.id)?;
    edge.store.request_test(platform.id).await?;
    // The run that verifies claims sends the request. Without it, the sweep does.
    edge.dispatch.engine().verify_claims(platform.id);
    Ok(Accepted(RequestedTest {
        next: "The store is queried within seconds, and then sends the test notification: `settle platform steps` shows \
               it arriving, or why it was not sent.",
    }))
}

/// Returns the steps of a platform's store; none if this program does not know the store.
fn guide(edge: &Edge, platform: &Platform) -> Vec<Step> {
    let entry = edge.known.iter().find(|one| one.name == platform.store);
    entry.map_or_else(Vec::new, |entry| (entry.form)().guide)
}

/// Returns the setup steps of a platform at its store; none if this program does not know the store.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_platform(edge: &Edge, platform: &Platform) -> Result<Vec<SetupStep>, Error> {
    let guide = guide(edge, platform);
    let test = guide.iter().find_map(|step| match step.evidence {
        Some(SetupEvidence::Test(store_type) | SetupEvidence::RequestedTest(store_type, _)) => {
            Some(store_type)
        }
        _ => None,
    });
    let facts = if guide.iter().any(|step| step.evidence.is_some()) {
        edge.store.setup_facts(platform.id, test).await?
    } else {
        SetupFacts::default()
    };
    let setup = Setup {
        platform,
        facts: &facts,
        takes_samples: edge.samples(platform).is_ok(),
    };
    Ok(steps(&guide, &setup))
}

/// What is known about the setup of a platform.
pub struct Setup<'a> {
    pub platform: &'a Platform,
    pub facts: &'a SetupFacts,
    /// Whether samples count among the accepted messages, which therefore show nothing about the store.
    pub takes_samples: bool,
}

/// Returns the steps with what was last seen of each.
pub fn steps(guide: &[Step], setup: &Setup<'_>) -> Vec<SetupStep> {
    let shown = |step: &Step| {
        let seen = step
            .evidence
            .map_or_else(Seen::nothing, |evidence| setup.judge(evidence));
        SetupStep {
            title: step.title,
            text: step.text,
            place: step.place,
            state: seen.state,
            last_seen: seen.last,
            last_seen_at: seen.at,
            next: seen.next,
            can_query: matches!(step.evidence, Some(SetupEvidence::Query(_)))
                && setup.platform.has_credential(),
            can_test: matches!(step.evidence, Some(SetupEvidence::RequestedTest(..)))
                && setup.platform.has_credential(),
            is_in_settings: matches!(
                step.evidence,
                Some(SetupEvidence::Setting(..) | SetupEvidence::Credentials(_))
            ),
        }
    };
    guide.iter().map(shown).collect()
}

/// What was last seen of a step.
struct Seen {
    state: SetupState,
    last: Option<String>,
    at: Option<Timestamp>,
    next: Option<String>,
}

impl Seen {
    const fn nothing() -> Self {
        Self {
            state: SetupState::Unknown,
            last: None,
            at: None,
            next: None,
        }
    }

    fn done(last: &str, at: Option<Timestamp>) -> Self {
        Self {
            state: SetupState::Done,
            last: Some(last.to_owned()),
            at,
            next: None,
        }
    }

    fn open(last: &str, next: &str) -> Self {
        Self {
            state: SetupState::Open,
            last: Some(last.to_owned()),
            at: None,
            next: Some(next.to_owned()),
        }
    }

    fn problem(last: String, at: Option<Timestamp>, next: &str) -> Self {
        Self {
            state: SetupState::Problem,
            last: Some(last),
            at,
            next: Some(next.to_owned()),
        }
    }
}

impl Setup<'_> {
    fn judge(&self, evidence: SetupEvidence) -> Seen {
        match evidence {
            SetupEvidence::Invisible(next) => Seen {
                next: Some(next.to_owned()),
                ..Seen::nothing()
            },
            SetupEvidence::Request => self.request(),
            SetupEvidence::Message(remedies) => {
                self.refused_for(remedies).unwrap_or_else(|| self.message())
            }
            SetupEvidence::Passage(remedies, reasons) => self
                .refused_for(remedies)
                .unwrap_or_else(|| self.passage(reasons)),
            SetupEvidence::LastMessage(remedies) => match self.refused(|_| true) {
                Some(one) => refusal(one, action(remedies, &one.reason).unwrap_or(CORRECT)),
                None => self.message(),
            },
            SetupEvidence::Setting(name, remedies) => self.setting(name, remedies),
            SetupEvidence::Test(_) => self.test(),
            SetupEvidence::RequestedTest(_, reasons) => self.requested_test(reasons),
            SetupEvidence::Credentials(reasons) => self.credentials(reasons),
            SetupEvidence::Query(reasons) => self.query(reasons),
        }
    }

    /// Returns when a message of the store was last accepted.
    fn accepted_at(&self) -> Option<Timestamp> {
        if self.takes_samples {
            return self.facts.tested_at;
        }
        let mut accepted = self.facts.arrivals.iter();
        accepted
            .find(|one| one.reason.is_empty())
            .map(|one| one.last_at)
    }

    /// Returns the last refusal for one of these reasons, if no message was accepted since.
    fn refused(&self, is_one: impl Fn(&str) -> bool) -> Option<&ArrivalView> {
        let accepted = self.accepted_at();
        let refused = self.facts.arrivals.iter().filter(|one| {
            let is_last = accepted.is_none_or(|at| one.last_at > at);
            !one.reason.is_empty() && is_last && is_one(&one.reason)
        });
        refused.max_by_key(|one| one.last_at)
    }

    /// Returns the problem of the last refusal that one of these remedies is for.
    fn refused_for(&self, remedies: &[Remedy]) -> Option<Seen> {
        let last = self.refused(|reason| action(remedies, reason).is_some())?;
        Some(refusal(last, action(remedies, &last.reason)?))
    }

    fn request(&self) -> Seen {
        let arrived = self.facts.arrivals.iter();
        let arrived = arrived.filter(|one| !(self.takes_samples && one.reason.is_empty()));
        let last = arrived.map(|one| one.last_at).max();
        match last.max(self.accepted_at()) {
            Some(at) => Seen::done("A request arrived", Some(at)),
            None => Seen::open(
                "No request arrived yet",
                "Once the store sends a message, this step is done.",
            ),
        }
    }

    fn message(&self) -> Seen {
        if let Some(at) = self.accepted_at() {
            return Seen::done("A message was accepted", Some(at));
        }
        match self.refused(|_| true) {
            Some(one) => Seen {
                at: Some(one.last_at),
                ..Seen::open(&refused_text(one), CORRECT)
            },
            None => Seen::open(
                "No message was accepted yet",
                "Once the store's first message is accepted, this step is done.",
            ),
        }
    }

    /// Judges a step that a message passed, even if it was then refused for one of these reasons.
    fn passage(&self, reasons: &[&str]) -> Seen {
        match self.refused(|reason| reasons.contains(&reason)) {
            Some(one) => {
                let last = format!("A message came this far, and was refused: {}", one.reason);
                Seen::done(&last, Some(one.last_at))
            }
            None => self.message(),
        }
    }

    fn setting(&self, name: &str, remedies: &[Remedy]) -> Seen {
        const ENTER: &str = "Enter it in the platform's settings.";
        let own = self.platform.store_settings.as_ref();
        let is_set = own.is_some_and(|own| own.get(name).and_then(Value::as_str).is_some());
        if is_set {
            let refused = self.refused_for(remedies);
            return refused.unwrap_or_else(|| Seen::done("The setting has a value", None));
        }
        match self.refused(|_| true) {
            Some(one) => {
                let last = "The setting is missing, and messages are refused".to_owned();
                Seen::problem(last, Some(one.last_at), ENTER)
            }
            None => Seen::open("The setting is missing", ENTER),
        }
    }

    fn test(&self) -> Seen {
        if let Some(at) = self.facts.tested_at {
            return Seen::done("A test notification was accepted", Some(at));
        }
        if let Some(at) = self.accepted_at() {
            let last = "No test notification is among the last 1000, but a message was accepted";
            return Seen::done(last, Some(at));
        }
        match self.refused(|_| true) {
            Some(one) => refusal(one, CORRECT),
            None => Seen::open(
                "No test notification arrived yet",
                "Send one; if none arrives within a minute, check the steps before this one.",
            ),
        }
    }

    /// Judges the last request for a test notification, unless one was accepted since.
    fn requested_test(&self, reasons: &[&str]) -> Seen {
        let has_arrived = |since: Timestamp| self.facts.tested_at.is_some_and(|at| at >= since);
        match &self.facts.store_test {
            Some(StoreTest::Open { at }) => Seen {
                at: Some(*at),
                ..Seen::open(
                    "A test notification is about to be requested",
                    "The result will be shown here within seconds.",
                )
            },
            Some(StoreTest::Accepted { at }) if !has_arrived(*at) => {
                match self.refused(|_| true).filter(|one| one.last_at >= *at) {
                    Some(one) => refusal(one, CORRECT),
                    None => Seen {
                        at: Some(*at),
                        ..Seen::open(
                            "A test notification was requested, and has not arrived yet",
                            "If it does not arrive within a minute, compare the URL at the store with the one shown here.",
                        )
                    },
                }
            }
            Some(StoreTest::Failed { at, why }) if !has_arrived(*at) => {
                Self::failed_test(Some(*at), why, reasons)
            }
            _ => self.unrequested_test(),
        }
    }

    /// Judges a request that failed. If the store declines it for one of these reasons, the reason states what to do.
    fn failed_test(at: Option<Timestamp>, why: &str, reasons: &[&str]) -> Seen {
        if reasons.contains(&why) {
            let last = "The store sends no test notification".to_owned();
            return Seen::problem(last, at, &sentence(why));
        }
        let last = format!("The request failed: {why}");
        Seen {
            at,
            ..Seen::open(&last, "Request another one.")
        }
    }

    /// Judges a test that was not requested, or that arrived.
    fn unrequested_test(&self) -> Seen {
        let seen = self.test();
        if !matches!(seen.state, SetupState::Open) {
            return seen;
        }
        let last = "No test notification was requested yet";
        if self.platform.has_credential() {
            Seen::open(last, "Request one.")
        } else {
            Seen::open(
                last,
                "Enter the credentials in the platform's settings, and request one then.",
            )
        }
    }

    fn credentials(&self, reasons: &[&str]) -> Seen {
        if !self.platform.has_credential() {
            return Seen::open(
                "No credentials are stored",
                "Enter them in the platform's settings.",
            );
        }
        self.refusal_for(reasons).unwrap_or_else(|| {
            Seen::done("Credentials are stored", self.platform.store_credentials_at)
        })
    }

    fn query(&self, reasons: &[&str]) -> Seen {
        let (platform, facts) = (self.platform, self.facts);
        if !platform.has_credential() {
            return Seen::open(
                "Without credentials, the store is not queried",
                "Enter the credentials in the platform's settings; settle then queries the store within minutes.",
            );
        }
        if let Some(refused) = self.refusal_for(reasons) {
            return refused;
        }
        if platform.secret_refused_at.is_some() {
            return Seen {
                at: platform.secret_refused_at,
                ..Seen::open("The store refuses queries", &self.why())
            };
        }
        if facts.is_query_requested {
            return Seen::open(
                "The store is about to be queried",
                "The result will be shown here within seconds.",
            );
        }
        let set_at = platform.store_credentials_at;
        let answered = facts
            .answered_at
            .filter(|at| set_at.is_none_or(|set_at| *at >= set_at));
        match (answered, &facts.failure) {
            (Some(at), _) => Seen::done("The store answered a query", Some(at)),
            (None, Some(why)) => Seen {
                at: facts.failed_at,
                ..Seen::open(
                    &format!("The last query failed: {why}"),
                    "settle repeats the query by itself.",
                )
            },
            (None, None) => Seen::open(
                "The store was not queried yet",
                "settle queries the store within minutes after the credentials are set.",
            ),
        }
    }

    /// Returns the problem of refused credentials, if the store refuses them for one of these reasons.
    fn refusal_for(&self, reasons: &[&str]) -> Option<Seen> {
        let since = self.platform.secret_refused_at?;
        let why = self.facts.refusal.as_deref()?;
        reasons.contains(&why).then(|| {
            let last = "The store refuses queries".to_owned();
            Seen::problem(last, Some(since), &self.why())
        })
    }

    /// Returns why the store refuses the credentials, and what to do about it, as a sentence.
    fn why(&self) -> String {
        let why = self.facts.refusal.as_deref();
        sentence(why.unwrap_or("change the credentials in the platform's settings"))
    }
}

/// Returns what to do about refusals for a reason, if one of these remedies is for it.
fn action(remedies: &[Remedy], reason: &str) -> Option<&'static str> {
    let remedy = remedies.iter().find(|one| one.reason == reason);
    remedy.map(|one| one.action)
}

fn refusal(one: &ArrivalView, next: &str) -> Seen {
    Seen::problem(refused_text(one), Some(one.last_at), next)
}

fn refused_text(one: &ArrivalView) -> String {
    format!("A message was refused: {}", one.reason)
}

/// Returns a text with a capital at its beginning and a full stop at its end.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let sentence: String = first.into_iter().flatten().chain(letters).collect();
    if sentence.ends_with('.') {
        sentence
    } else {
        format!("{sentence}.")
    }
}

#[cfg(test)]
mod tests;
