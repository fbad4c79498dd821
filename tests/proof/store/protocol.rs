//! The check of a purchase with an access token: first the purchase is requested, then the order that it names. The
//! store issues the token, unless the platform has a key to sign it. What the store signed is the answer by itself.

use domain::verification::Product;
use domain::{Parked, Snapshot, Timestamp, Verification};
use protocols::http::{Method, REPLY_BYTES, Reply, Request};
use protocols::stores::{
    AccessRefusal, AccessToken, Answer, Bucket, CheckStep, CustomerName, RepairStep, RepairTask,
    Replied, Retry, StoreProtocol, Subject,
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use storage::RepairKind;
use url::Url;

/// How long an access token that the platform's key signed is valid.
const LIFETIME: Duration = Duration::from_secs(900);

#[derive(Debug)]
pub struct ProofProtocol {
    /// The store's URL.
    base: Url,
    /// Number of signed access tokens.
    signed: AtomicUsize,
}

#[derive(Deserialize)]
struct Purchase {
    order: String,
    /// The customer; `None` if the store hides it.
    customer: Option<String>,
    sku: String,
    began_ms: i64,
    expired_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Order {
    country: String,
    paid_until_ms: i64,
}

/// What the store signed about a purchase.
#[derive(Deserialize)]
struct Signed {
    signed_ms: i64,
    purchase: Purchase,
    order: Order,
}

impl Signed {
    /// Returns what was signed last in the open notifications.
    fn newest(subject: &Subject) -> Option<Self> {
        let bodies = subject.reported.iter();
        let signed = bodies.filter_map(|body| Self::deserialize(body.get("signed")?).ok());
        signed.max_by_key(|signed| signed.signed_ms)
    }
}

#[derive(Deserialize)]
struct Token {
    token: String,
    seconds: u64,
}

impl ProofProtocol {
    pub const fn new(base: Url) -> Self {
        Self {
            base,
            signed: AtomicUsize::new(0),
        }
    }

    /// Returns a request for a path, whose parts need no encoding.
    pub fn get(&self, folder: &str, id: &str) -> Result<Request, Answer> {
        let url = self.base.join(&format!("{folder}/{id}"));
        let url =
            url.map_err(|_| Answer::Verification(Verification::Parked(Parked::UnknownReceipt)))?;
        Ok(Request {
            method: Method::Get,
            url,
            headers: Vec::new(),
            body: Vec::new(),
            max_reply_bytes: REPLY_BYTES,
            is_operator_url: true,
            app: None,
        })
    }

    fn step(&self, subject: &Subject, replies: &[Replied]) -> Result<(Request, Bucket), Answer> {
        if let Some(signed) = Signed::newest(subject) {
            let at = Timestamp::from_millis(signed.signed_ms);
            return Err(answer(subject, signed.purchase, signed.order, at));
        }
        if subject.secret.expose_secret().is_empty() && subject.own.credentials.is_none() {
            return Err(Answer::Verification(Verification::Unverifiable));
        }
        let Some(first) = replies.first() else {
            return Ok((
                self.get("purchases", &subject.receipt_id)?,
                bucket("purchases"),
            ));
        };
        let purchase: Purchase = body(&first.reply)?;
        let Some(second) = replies.get(1) else {
            return Ok((self.get("orders", &purchase.order)?, bucket("orders")));
        };
        let order: Order = body(&second.reply)?;
        Err(answer(subject, purchase, order, first.at))
    }
}

/// Returns the bucket of a kind of requests.
pub const fn bucket(name: &'static str) -> Bucket {
    let per_second = 20;
    Bucket { name, per_second }
}

/// Returns the store's answer about the purchase, as of the first request or of the signing.
fn answer(subject: &Subject, purchase: Purchase, order: Order, at: Timestamp) -> Answer {
    let paid_until = Timestamp::from_millis(order.paid_until_ms);
    let snapshot = Snapshot {
        at,
        product: Product::Subscription,
        product_id: Some(purchase.sku),
        purchased_at: Some(Timestamp::from_millis(purchase.began_ms)),
        renews_at: purchase.expired_ms.is_none().then_some(paid_until),
        ends_at: purchase.expired_ms.map(Timestamp::from_millis),
        auto_renewing: Some(purchase.expired_ms.is_none()),
        country: Some(order.country),
        environment: subject.environment,
        ..Snapshot::default()
    };
    let verified = Verification::Verified(Box::new(snapshot));
    match purchase.customer {
        Some(customer) => Answer::Named(verified, CustomerName(customer)),
        None => Answer::Verification(verified),
    }
}

const REFUSED: AccessRefusal =
    AccessRefusal::of_credential("the proof store refuses the credential");

/// Parses the content of a reply.
pub fn body<T: for<'de> Deserialize<'de>>(reply: &Reply) -> Result<T, Answer> {
    match reply {
        Reply::Answer {
            status: 200, body, ..
        } => serde_json::from_str(body)
            .map_err(|_| Answer::Retry(Retry::new("unreadable", "the store's answer is no JSON"))),
        Reply::Answer { status: 404, .. } => Err(Answer::Verification(Verification::Gone)),
        Reply::Answer {
            status: 401 | 403, ..
        } => Err(Answer::Refused(REFUSED)),
        Reply::Answer { .. } => Err(Answer::Retry(Retry::new("status", "the store failed"))),
        Reply::Failure { class, message } => {
            Err(Answer::Retry(Retry::new(class.as_str(), message.clone())))
        }
    }
}

impl StoreProtocol for ProofProtocol {
    fn name(&self) -> &'static str {
        super::STORE
    }

    fn per_second(&self) -> u32 {
        20
    }

    fn give_up_after(&self) -> Duration {
        Duration::from_secs(900)
    }

    fn issues_tokens(&self) -> bool {
        true
    }

    fn own_token(&self, subject: &Subject, _: Timestamp) -> Option<Result<AccessToken, Answer>> {
        let key = subject.own.credentials.as_ref()?;
        let number = self.signed.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Ok(AccessToken {
            token: format!("{}-{number}", key.expose_secret()).into(),
            lifetime: LIFETIME,
        }))
    }

    fn token_request(
        &self,
        subject: &Subject,
        _: Timestamp,
    ) -> Result<(Box<Request>, Bucket), Answer> {
        let request = self.get("token", subject.secret.expose_secret())?;
        Ok((Box::new(request), bucket("token")))
    }

    fn token(&self, _: &Subject, reply: &Reply) -> Result<AccessToken, Answer> {
        let Token { token, seconds } = body(reply)?;
        Ok(AccessToken {
            token: token.into(),
            lifetime: Duration::from_secs(seconds),
        })
    }

    fn next(&self, subject: &Subject, replies: &[Replied]) -> CheckStep {
        match self.step(subject, replies) {
            Ok((request, bucket)) => CheckStep::Send(Box::new(request), bucket),
            Err(answer) => CheckStep::Done(answer),
        }
    }

    fn repairs(&self) -> &'static [RepairKind] {
        &[RepairKind::Notifications, RepairKind::Test]
    }

    fn repair(&self, subject: &Subject, task: &RepairTask, replies: &[Replied]) -> RepairStep {
        super::repair::next(self, subject, task, replies)
    }
}
