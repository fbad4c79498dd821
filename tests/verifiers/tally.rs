//! Compares the verdicts of other languages' libraries with those of the crates, for each request.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;
use system_tests::deliveries::{KeyResult, Request, Version};

/// A library's verdicts on a request with one key. Each is the refusal, or `None` if the signature is accepted.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// For the unchanged request, at its own time.
    refusal: Option<String>,
    /// For the request with one byte of its body changed.
    changed: Option<String>,
    /// For the request with another time in its header.
    moved: Option<String>,
    /// For the unchanged request, with another key of the same version.
    stranger: Option<String>,
    /// For the unchanged request, more than five minutes later.
    late: Option<String>,
}

/// Numbers of requests verified with keys of one version.
#[derive(Debug, Default)]
pub struct Count {
    /// Requests verified with the only trusted key: before a rotation.
    pub before: usize,
    /// Requests verified with the newest and an older key: during the overlap of a rotation.
    pub overlap: usize,
    /// Requests verified with the newest key only, while an older one refused: after the overlap.
    pub after: usize,
    /// Event types of the verified requests.
    pub event_types: BTreeSet<String>,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            before,
            overlap,
            after,
            event_types,
        } = self;
        let (all, types) = (before + overlap + after, event_types.len());
        write!(
            f,
            "{all} bodies of {types} types ({before} before, {overlap} in and {after} after an overlap)"
        )
    }
}

#[derive(Debug, Default)]
pub struct Tally {
    pub v1: Count,
    pub v1a: Count,
    /// Number of receivers with at least one request.
    receivers: usize,
    /// Number of signatures that both the crate and the library refuse, as the test expected.
    refused: usize,
    /// Number of requests to receivers that trusted no key.
    unknown: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            v1,
            v1a,
            receivers,
            refused,
            unknown,
        } = self;
        write!(
            f,
            "verified for {receivers} receivers: by v1 {v1}, by v1a {v1a}; {refused} refused as wanted, {unknown} to \
             receivers without a key"
        )
    }
}

impl Tally {
    /// Counts all requests of all receivers.
    ///
    /// # Errors
    /// The first request on which the library and the crate disagree, or that no key verifies.
    pub fn of(receivers: &[Vec<Request>], answers: &[Vec<Answer>]) -> Result<Self, String> {
        let all: Vec<&Request> = receivers.iter().flatten().collect();
        if all.len() != answers.len() {
            return Err(format!(
                "{} requests were kept, and {} were verified",
                all.len(),
                answers.len()
            ));
        }
        let mut tally = Self {
            receivers: receivers.len(),
            ..Self::default()
        };
        for (request, answers) in all.into_iter().zip(answers) {
            tally
                .count(request, answers)
                .map_err(|wrong| format!("{wrong}: {request:?}"))?;
        }
        Ok(tally)
    }

    fn count(&mut self, request: &Request, answers: &[Answer]) -> Result<(), String> {
        if request.results.len() != answers.len() {
            return Err(format!("it was verified with {} keys", answers.len()));
        }
        for (result, answer) in request.results.iter().zip(answers) {
            agree(result, answer)?;
        }
        if request.results.is_empty() {
            self.unknown += 1;
            return Ok(());
        }
        self.count_version(request, Version::V1)?;
        self.count_version(request, Version::V1a)
    }

    /// Counts the results of the keys of one version.
    fn count_version(&mut self, request: &Request, version: Version) -> Result<(), String> {
        let results: Vec<&KeyResult> = request
            .results
            .iter()
            .filter(|result| result.version() == version)
            .collect();
        let signatures = request.signatures(version);
        let right = results
            .iter()
            .filter(|result| result.refusal.is_none())
            .count();
        let count = match version {
            Version::V1 => &mut self.v1,
            Version::V1a => &mut self.v1a,
        };
        match results.first() {
            None if signatures > 0 => return Err(format!("no key is known for its {version:?}")),
            None => return Ok(()),
            Some(newest) if newest.refusal.is_some() != request.is_refusal_wanted => {
                return Err("the test expected the other verdict".to_owned());
            }
            Some(_) if request.is_refusal_wanted => self.refused += 1,
            Some(_) if right > signatures => {
                return Err(format!("{right} keys verify its {version:?}"));
            }
            Some(_) => {
                match (right, results.len()) {
                    (1, 1) => count.before += 1,
                    (1, _) => count.after += 1,
                    _ => count.overlap += 1,
                }
                count.event_types.insert(event_type(request));
            }
        }
        Ok(())
    }
}

/// Checks that the crate and the library agree. If both accept the signature, the library must refuse the changed body,
/// the changed time, the other key and, with a secret, the late request. No library checks the time with a public key.
fn agree(result: &KeyResult, answer: &Answer) -> Result<(), String> {
    let has = |refusal: &Option<String>, part: &str| {
        refusal.as_ref().is_some_and(|why| why.contains(part))
    };
    let is_past = result.version() == Version::V1a || has(&answer.late, "too old");
    let mut wrong = [&answer.changed, &answer.moved, &answer.stranger].into_iter();
    match (&result.refusal, &answer.refusal) {
        (None, None) if !wrong.all(|refusal| has(refusal, "No matching signature")) => Err(
            format!("a changed byte, another time or a key that signed nothing: {answer:?}"),
        ),
        (None, None) if !is_past => Err(format!("five minutes later: {answer:?}")),
        (None, None) | (Some(_), Some(_)) => Ok(()),
        (crates, librarys) => Err(format!(
            "the crate returned {crates:?} and the library {librarys:?}"
        )),
    }
}

/// Returns a request's event type, from the field that its kind of body uses.
fn event_type(request: &Request) -> String {
    let body: serde_json::Value = serde_json::from_slice(&request.raw()).unwrap_or_default();
    let named = [
        &body["attributes"]["event_type"],
        &body["event_type"],
        &body["type"],
    ];
    named
        .iter()
        .find_map(|name| name.as_str())
        .unwrap_or_default()
        .to_owned()
}
