//! One check of a purchase with its store. Each request respects the platform's rate and the process's number of
//! concurrent requests.

use crate::dependencies::Context;
use crate::settling::repair::pace::Pace;
use crate::settling::store_rate::{Permit, Share, Throttle};
use crate::settling::tokens::{Credential, Found, Scope};
use crate::spans;
use domain::time::HOUR;
use domain::{CollapseKey, Parked, PlatformId, Verification};
use protocols::http::{Reply, Request};
use protocols::stores::{
    AccessRefusal, AccessToken, AcknowledgeAnswer, Answer, Bucket, CheckStep, RepairOutcome,
    RepairStep, RepairTask, Replied, Retry, StoreProtocol, Subject,
};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use storage::{AttemptClass, CredentialRefusal, Error, StoreQuery};
use tokio::time::{Instant, timeout, timeout_at};

/// Maximum wait for one of the concurrent requests. Together with the wait for a permit and the request itself, it fits
/// into the activity's timeout.
const SLOT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a credential whose account lacks a right is not used. Google applies new rights within about a day.
const RIGHTS_RETRY: Duration = HOUR;

/// Maximum duration of a check from its first request on, however many it sends. It fits into the activity's timeout.
const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// Returns the subject of a check.
pub fn subject(known: &StoreQuery) -> Subject {
    Subject {
        platform: known.platform_id,
        environment: known.environment,
        app_user_id: known.app_user_id.clone(),
        receipt_id: known.receipt_id.clone(),
        package_name: known.package_name.clone(),
        known: known.purchase.clone(),
        reported_at: known.reported_at,
        reported: known.reported.clone(),
        secret: known.secret.clone(),
        own: known.of_store.clone(),
    }
}

/// Checks a purchase. Returns the store's answer, or `None` if a request was not sent because this process sends too
/// many. `Refused` and `Parked` may be returned without a request, if the credential or an id cannot be sent.
pub async fn send(
    context: &Context,
    store: &dyn StoreProtocol,
    subject: &Subject,
) -> Result<Option<Answer>, Error> {
    let mut check = Check::new(context, subject);
    let mut replies = Vec::new();
    loop {
        let (request, bucket) = match store.next(subject, &replies) {
            CheckStep::Send(request, bucket) => (*request, bucket),
            CheckStep::Done(answer) => return Ok(Some(check.finish(answer))),
        };
        match check.send(store, request, bucket).await? {
            RequestResult::Replied(replied) => replies.push(replied),
            RequestResult::Not(answer) => return Ok(answer),
        }
    }
}

/// Stores the customer that an answer about a purchase names, also as an external id if the app passes its own ids to
/// the store.
pub async fn note_customer(
    context: &Context,
    store: &dyn StoreProtocol,
    subject: &Subject,
    key: CollapseKey,
    name: &str,
) -> Result<(), Error> {
    let database = &context.store;
    database.note_answered_customer(key, name).await?;
    if store.has_app_ids(subject, name) {
        database.name_answered_customer(key, name).await?;
    }
    Ok(())
}

/// Sends the request that acknowledges a purchase. Returns the store's answer, or `None` if the request was not sent
/// because this process sends too many.
pub async fn acknowledge(
    context: &Context,
    store: &dyn StoreProtocol,
    subject: &Subject,
    request: Request,
    bucket: Bucket,
) -> Result<Option<AcknowledgeAnswer>, Error> {
    let mut check = Check::new(context, subject);
    let answer = match check.send(store, request, bucket).await? {
        RequestResult::Replied(replied) => store.acknowledged(&replied.reply),
        RequestResult::Not(Some(Answer::Retry(retry))) => AcknowledgeAnswer::Retry(retry),
        RequestResult::Not(_) => return Ok(None),
    };
    Ok(Some(match answer {
        AcknowledgeAnswer::Retry(retry) => AcknowledgeAnswer::Retry(check.postponed(retry)),
        answer => {
            check.note_answered();
            answer
        }
    }))
}

/// Takes a part of a repair, with requests at this pace. Returns `None` if a request was not sent because this process
/// sends too many. Each request has its own time limit, since the number of requests depends on the store.
pub async fn repair(
    context: &Context,
    store: &dyn StoreProtocol,
    subject: &Subject,
    task: &RepairTask,
    pace: &mut Pace,
) -> Result<Option<RepairOutcome>, Error> {
    let mut check = Check::new(context, subject);
    let mut replies = Vec::new();
    loop {
        let (request, bucket) = match store.repair(subject, task, &replies) {
            RepairStep::Send(request, bucket) => (*request, bucket),
            RepairStep::Done(RepairOutcome::Failed(answer)) => {
                return Ok(Some(RepairOutcome::Failed(check.finish(answer))));
            }
            RepairStep::Done(outcome) => return Ok(Some(outcome)),
        };
        pace.wait(bucket).await;
        check = Check::new(context, subject);
        match check.send(store, request, bucket).await? {
            RequestResult::Replied(replied) => replies.push(replied),
            RequestResult::Not(answer) => return Ok(answer.map(RepairOutcome::Failed)),
        }
    }
}

/// A check in progress.
struct Check<'a> {
    context: &'a Context,
    subject: &'a Subject,
    /// The share that the last request used.
    share: Option<Share>,
    /// Latest end of the check, counted from its first request.
    ends_at: Option<Instant>,
    /// Whether the store refused an access token in this check, and a new one was requested.
    is_token_renewed: bool,
}

/// Returns the request with an access token.
fn bearing(request: &Request, token: &SecretString) -> Request {
    let mut request = request.clone();
    let value = format!("Bearer {}", token.expose_secret());
    request.headers.push(("authorization".to_owned(), value));
    request
}

/// Outcome of a request to the store.
enum RequestResult {
    Replied(Replied),
    /// Not sent; contains the answer of the check.
    Not(Option<Answer>),
}

impl<'a> Check<'a> {
    const fn new(context: &'a Context, subject: &'a Subject) -> Self {
        Self {
            context,
            subject,
            share: None,
            ends_at: None,
            is_token_renewed: false,
        }
    }

    /// Sends a request, with the platform's access token if the store issues them.
    async fn send(
        &mut self,
        store: &dyn StoreProtocol,
        request: Request,
        bucket: Bucket,
    ) -> Result<RequestResult, Error> {
        if store.issues_tokens() {
            self.request_with_token(store, request, bucket).await
        } else {
            self.request(request, bucket).await
        }
    }

    /// Sends a request with the platform's access token. If the store refuses the token, drops it and repeats the
    /// request once with a new one.
    async fn request_with_token(
        &mut self,
        store: &dyn StoreProtocol,
        request: Request,
        bucket: Bucket,
    ) -> Result<RequestResult, Error> {
        loop {
            let token = match self.token(store).await? {
                Ok(token) => token,
                Err(not_sent) => return Ok(RequestResult::Not(not_sent)),
            };
            let sent = self.request(bearing(&request, &token), bucket).await?;
            let is_refused = matches!(
                &sent,
                RequestResult::Replied(Replied {
                    reply: Reply::Answer { status: 401, .. },
                    ..
                })
            );
            if !is_refused {
                return Ok(sent);
            }
            let tokens = &self.context.verifier.tokens;
            tokens.discard(self.scope(), &token);
            if std::mem::replace(&mut self.is_token_renewed, true) {
                return Ok(sent);
            }
        }
    }

    /// Returns the platform's access token, after requesting one if there is none. The error is the answer of the
    /// check.
    async fn token(
        &mut self,
        store: &dyn StoreProtocol,
    ) -> Result<Result<SecretString, Option<Answer>>, Error> {
        let tokens = &self.context.verifier.tokens;
        let issued_for = self.subject.issued_for();
        let credential = Credential {
            scope: self.scope(),
            issued_for: &issued_for,
        };
        let ends_at = *self
            .ends_at
            .get_or_insert_with(|| Instant::now() + CHECK_TIMEOUT);
        let flight = match timeout_at(ends_at, tokens.find(credential, Instant::now())).await {
            Ok(Found::Valid(token)) => return Ok(Ok(token)),
            Ok(Found::Flight(flight)) => flight,
            Err(_) => return Ok(Err(None)),
        };
        let requested_at = Instant::now();
        Ok(match self.request_token(store).await? {
            Ok(issued) => Ok(flight.land(issued, requested_at)),
            // The store refuses the credential, so it will refuse the current token too.
            Err(Some(Answer::Refused(refusal))) => Err(Some(Answer::Refused(refusal))),
            Err(not_issued) => flight.postpone(requested_at).ok_or(not_issued),
        })
    }

    /// Returns the scope in which the access token is valid.
    fn scope(&self) -> Scope {
        Scope {
            platform: self.subject.platform,
            environment: self.subject.environment,
        }
    }

    /// Signs an access token, or requests one. The error is the answer of the check.
    async fn request_token(
        &mut self,
        store: &dyn StoreProtocol,
    ) -> Result<Result<AccessToken, Option<Answer>>, Error> {
        let at = self.context.store.now().await?;
        if let Some(signed) = store.own_token(self.subject, at) {
            return Ok(signed.map_err(Some));
        }
        let (request, bucket) = match store.token_request(self.subject, at) {
            Ok((request, bucket)) => (*request, bucket),
            Err(answer) => return Ok(Err(Some(answer))),
        };
        let reply = match self.request(request, bucket).await? {
            RequestResult::Replied(replied) => replied.reply,
            RequestResult::Not(answer) => return Ok(Err(answer)),
        };
        let issued = store.token(self.subject, &reply);
        Ok(issued.map_err(|answer| Some(self.finish(answer))))
    }

    async fn request(&mut self, request: Request, bucket: Bucket) -> Result<RequestResult, Error> {
        let (context, verifier) = (self.context, &self.context.verifier);
        let share = Share {
            platform: self.subject.platform,
            bucket,
        };
        self.share = Some(share);
        let Ok(Ok(_slot)) = timeout(SLOT_TIMEOUT, verifier.in_flight.acquire()).await else {
            return Ok(RequestResult::Not(None));
        };
        match verifier.rate.reserve(share, Instant::now()) {
            Permit::At(at) if self.ends_at.is_some_and(|end| end < at) => {
                return Ok(RequestResult::Not(None));
            }
            Permit::At(at) => tokio::time::sleep_until(at).await,
            Permit::Later => return Ok(RequestResult::Not(None)),
            Permit::Paused(until) => {
                return Ok(RequestResult::Not(Some(Answer::Retry(paused(until)))));
            }
        }
        // By the database's clock, since the time is compared with times in rows.
        let at = context.store.now().await?;
        let began = Instant::now();
        let ends_at = *self.ends_at.get_or_insert(began + CHECK_TIMEOUT);
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let sending = spans::request(request.into(), |request| context.http.deliver(request));
        let sent = timeout_at(ends_at, sending).await;
        metrics::histogram!("settle_verification_seconds").record(began.elapsed());
        let Ok(reply) = sent else {
            let late = Retry::new("timeout", format!("{host} did not respond in time"));
            return Ok(RequestResult::Not(Some(Answer::Retry(late))));
        };
        let reply = naming(&host, reply.http().into_owned());
        Ok(RequestResult::Replied(Replied { reply, at }))
    }

    /// Returns the answer of the check. If the store throttles the last request, pauses its share.
    fn finish(&self, answer: Answer) -> Answer {
        match answer {
            Answer::Retry(retry) => Answer::Retry(self.postponed(retry)),
            answer => {
                self.note_answered();
                answer
            }
        }
    }

    /// Notes that the store does not throttle the share of the last request.
    fn note_answered(&self) {
        if let Some(share) = self.share {
            self.context.verifier.rate.answered(share);
        }
    }

    /// Returns the failure of the last request. If the store throttles that, pauses its share.
    fn postponed(&self, retry: Retry) -> Retry {
        let Some(share) = self.share.filter(|_| retry.is_throttled) else {
            return retry;
        };
        let throttle = Throttle {
            at: Instant::now(),
            retry_after: retry.retry_after,
            jitter: (self.context.random)(),
        };
        let until = self.context.verifier.rate.pause(share, throttle);
        Retry {
            retry_after: Some(until.duration_since(Instant::now())),
            ..retry
        }
    }
}

/// Adds the name of the store's host to a failure to reach it, since no admin chose that host.
fn naming(host: &str, reply: Reply) -> Reply {
    let Reply::Failure { class, message } = reply else {
        return reply;
    };
    let message = match class {
        AttemptClass::Dns => format!("the name {host} cannot be resolved to an allowed address"),
        AttemptClass::Connect => format!("no connection to {host} could be made"),
        AttemptClass::Timeout => format!("{host} did not respond in time"),
        AttemptClass::Reset => format!("{host} closed the connection without a response"),
        AttemptClass::Tls => {
            format!("no TLS connection to {host}: check its certificate, its chain and its name")
        }
        _ => message,
    };
    Reply::Failure { class, message }
}

/// Returns the answer while the store throttles the platform because of another purchase. It counts as a failure, so
/// that verification eventually gives up for this purchase too.
fn paused(until: Instant) -> Retry {
    let retry_after = Some(until.duration_since(Instant::now()));
    Retry {
        retry_after,
        ..Retry::new("paused", "the store throttled our requests a moment ago")
    }
}

/// Raises an alarm. A failure to store it is only logged.
pub async fn raise_alarm(
    context: &Context,
    platform: PlatformId,
    kind: &'static str,
    detail: &str,
) {
    tracing::warn!(platform.id = %platform, kind, "{detail}");
    if let Err(error) = context.store.alarm(Some(platform), kind, detail).await {
        tracing::warn!(platform.id = %platform, kind, %error, "an alarm was not stored");
    }
}

/// Returns the refusal as storage records it. A right that is missing may be granted without any sign.
pub fn credential_refusal(refusal: AccessRefusal) -> CredentialRefusal {
    CredentialRefusal {
        why: refusal.why,
        retry_in: refusal.can_recover.then_some(RIGHTS_RETRY),
    }
}

/// Returns the answer as a metric's label.
pub fn label(answer: &Answer) -> &'static str {
    match answer {
        Answer::Verification(verification) | Answer::Named(verification, _) => {
            verification_label(verification)
        }
        Answer::Refused(_) => "secret_refused",
        Answer::Retry(retry) => retry.class,
    }
}

const fn verification_label(verification: &Verification) -> &'static str {
    match verification {
        Verification::Verified(_) => "verified",
        Verification::Gone => "gone",
        Verification::Parked(Parked::UnknownReceipt | Parked::Believable) => "unknown_receipt",
        Verification::Parked(Parked::WrongCustomer) => "wrong_customer",
        Verification::Unverifiable | Verification::Unreachable { .. } => "unverifiable",
    }
}

pub fn count(answer: &'static str) {
    metrics::counter!("settle_verifications_total", "answer" => answer).increment(1);
}

#[cfg(test)]
mod tests {
    use super::naming;
    use protocols::http::{Failure, Reply};
    use storage::AttemptClass;

    #[test]
    fn a_host_that_cannot_be_reached_is_named() {
        let why = |failure: Failure| match naming("rvs.example", failure.into()) {
            Reply::Failure { message, .. } => message,
            Reply::Answer { .. } => String::new(),
        };
        assert_eq!(
            why(Failure::Dns),
            "the name rvs.example cannot be resolved to an allowed address"
        );
        assert_eq!(
            why(Failure::Connect),
            "no connection to rvs.example could be made"
        );
        assert_eq!(why(Failure::Timeout), "rvs.example did not respond in time");
        let other = Reply::Failure {
            class: AttemptClass::InvalidUrl,
            message: "no".to_owned(),
        };
        assert_eq!(naming("rvs.example", other.clone()), other);
    }
}
