//! Whether a library says the same as the crate did, request by request.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;
use system_tests::deliveries::{Request, Said};

/// What a library says with one secret: why it refuses, where it does.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// The request as it came, at its own time.
    refusal: Option<String>,
    /// The same with a byte changed.
    changed: Option<String>,
    /// As it came, five minutes later.
    late: Option<String>,
}

/// How many requests were verified, and which were not.
#[derive(Debug, Default)]
pub struct Tally {
    /// Verified with the secret that the receiver knew last.
    pub verified: usize,
    /// Of these, with an older secret too: in the overlap of a rotation.
    pub twice: usize,
    /// Of receivers that got a request at all.
    receivers: usize,
    /// Refused by the crate and the library alike, as the test wanted.
    refused: usize,
    /// Of receivers that were told no secret.
    unknown: usize,
    /// Without any signature that these libraries know.
    asymmetric: usize,
    /// What was verified.
    pub event_types: BTreeSet<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verified, twice, receivers, refused, unknown, asymmetric, event_types } = self;
        write!(
            f,
            "{verified} bodies of {receivers} receivers verified, {twice} of them with two secrets, of {} types; \
             {refused} refused as wanted, {unknown} to receivers without a secret, {asymmetric} signed by v1a alone",
            event_types.len()
        )
    }
}

impl Tally {
    /// Counts all requests of all receivers.
    ///
    /// # Errors
    /// The first request of which the library says something else than the crate.
    pub fn of(receivers: &[Vec<Request>], answers: &[Vec<Answer>]) -> Result<Self, String> {
        let all: Vec<&Request> = receivers.iter().flatten().collect();
        if all.len() != answers.len() {
            return Err(format!("{} requests were kept, and {} were looked at", all.len(), answers.len()));
        }
        let mut tally = Self { receivers: receivers.len(), ..Self::default() };
        for (request, answers) in all.into_iter().zip(answers) {
            tally.count(request, answers).map_err(|wrong| format!("{wrong}: {request:?}"))?;
        }
        if tally.verified == 0 { Err(format!("nothing was verified: {tally}")) } else { Ok(tally) }
    }

    fn count(&mut self, request: &Request, answers: &[Answer]) -> Result<(), String> {
        if request.said.len() != answers.len() {
            return Err(format!("it was looked at with {} secrets", answers.len()));
        }
        for (said, answer) in request.said.iter().zip(answers) {
            agree(said, answer)?;
        }
        let right = request.said.iter().filter(|said| said.refusal.is_none()).count();
        match request.said.first() {
            None => self.unknown += 1,
            Some(_) if request.symmetric_signatures() == 0 => self.asymmetric += 1,
            Some(newest) if newest.refusal.is_some() != request.is_refusal_wanted => {
                return Err("the test wants otherwise".to_owned());
            }
            Some(_) if request.is_refusal_wanted => self.refused += 1,
            Some(_) if right > request.symmetric_signatures() => {
                return Err(format!("{right} secrets verify it"));
            }
            Some(_) => {
                self.verified += 1;
                self.twice += usize::from(right > 1);
                self.event_types.insert(event_type(request));
            }
        }
        Ok(())
    }
}

/// Both find the signature right, and the library sees that a byte was changed and that it came late; or both refuse.
fn agree(said: &Said, answer: &Answer) -> Result<(), String> {
    let has = |refusal: &Option<String>, word: &str| refusal.as_ref().is_some_and(|why| why.contains(word));
    match (&said.refusal, &answer.refusal) {
        (None, None) if !has(&answer.changed, "No matching signature") => Err(format!("a changed byte: {answer:?}")),
        (None, None) if !has(&answer.late, "too old") => Err(format!("five minutes later: {answer:?}")),
        (None, None) | (Some(_), Some(_)) => Ok(()),
        (crates, librarys) => Err(format!("the crate said {crates:?} and the library {librarys:?}")),
    }
}

/// As the body tells it.
fn event_type(request: &Request) -> String {
    let body: serde_json::Value = serde_json::from_slice(&request.raw()).unwrap_or_default();
    let named = [&body["attributes"]["event_type"], &body["event_type"], &body["type"]];
    named.iter().find_map(|name| name.as_str()).unwrap_or_default().to_owned()
}
