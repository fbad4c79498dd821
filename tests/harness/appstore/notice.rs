//! App Store Server Notifications: what is signed, the signed messages, and how the App Store sent them.

use super::call::Call;
use super::purchase::Bought;
use super::{millis, without_nulls};
use crate::sns::PACKAGE;
use api::clock;
use api::stores::apple::signer::Chain;
use domain::Timestamp;
use serde_json::{Map, Value, json};

/// `appAppleId` of the tests' app.
pub const APP_ID: i64 = 1_234_567_890;

/// The result of an attempt that was accepted.
pub const SUCCESS: &str = "SUCCESS";

/// A notification before it is signed.
#[derive(Debug, Clone)]
pub struct Notice {
    /// `notificationUUID`
    pub uuid: String,
    /// `notificationType`, and `subtype` behind a slash if there is one.
    pub kind: String,
    /// `signedDate` of the message and of its parts.
    pub at: Timestamp,
    /// Members of `data`, without the signed ones.
    pub data: Map<String, Value>,
    /// Content of `signedTransactionInfo`.
    pub transaction: Option<Value>,
    /// Content of `signedRenewalInfo`.
    pub renewal: Option<Value>,
    /// Further members of the message, which replace others. Those that are null are left out.
    pub members: Map<String, Value>,
}

impl Notice {
    /// Returns a notification without a purchase.
    fn new(kind: &str, environment: &str, at: Timestamp) -> Self {
        let app_id = (environment == "Production").then_some(APP_ID);
        let data = without_nulls(json!({
            "environment": environment, "bundleId": PACKAGE, "bundleVersion": "1", "appAppleId": app_id,
        }));
        Self {
            uuid: clock::random_uuid().to_string(),
            kind: kind.to_owned(),
            at,
            data: data.as_object().cloned().unwrap_or_default(),
            transaction: None,
            renewal: None,
            members: Map::new(),
        }
    }

    /// Returns a notification about the present state of a purchase. `kind` is the type, and the subtype behind a slash
    /// if there is one.
    pub fn of(kind: &str, bought: &Bought, at: Timestamp) -> Self {
        let mut new = Self::new(kind, bought.environment, at);
        if bought.group.is_some() {
            new.data.insert("status".to_owned(), bought.status.into());
        }
        new.transaction = Some(bought.current().content(bought, at));
        new.renewal = bought.renewal(at);
        new
    }

    /// Returns a notification of the test call.
    pub fn test(environment: &str, at: Timestamp) -> Self {
        Self::new("TEST", environment, at)
    }

    /// Returns this notification about another transaction of the purchase.
    ///
    /// # Panics
    /// When the purchase has no such transaction.
    #[must_use]
    pub fn about(mut self, bought: &Bought, transaction_id: &str) -> Self {
        let mut all = bought.transactions.iter();
        let found = all.find(|one| one.id == transaction_id);
        let found = found.expect("a transaction");
        self.transaction = Some(found.content(bought, self.at));
        self
    }

    /// Returns this notification without renewal information.
    #[must_use]
    pub fn without_renewal(mut self) -> Self {
        self.renewal = None;
        self.data.remove("status");
        self
    }

    /// Returns this notification with a member of `data`.
    #[must_use]
    pub fn with_data(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    /// Returns this notification with a member of the message.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Returns the content of the signed message.
    ///
    /// # Panics
    /// When the chain cannot sign.
    pub fn content(&self, chain: &Chain) -> Value {
        let sign = |content: &Option<Value>| {
            let content = content.as_ref();
            content.map(|content| chain.sign(content).expect("a signed content"))
        };
        let (kind, subtype) = self.split();
        let mut data = self.data.clone();
        for (name, content) in [
            ("signedTransactionInfo", sign(&self.transaction)),
            ("signedRenewalInfo", sign(&self.renewal)),
        ] {
            data.extend(content.map(|content| (name.to_owned(), content.into())));
        }
        let mut content = json!({
            "notificationType": kind, "subtype": subtype, "notificationUUID": self.uuid, "version": "2.0",
            "signedDate": millis(self.at), "data": data,
        });
        for (name, value) in &self.members {
            content[name] = value.clone();
        }
        without_nulls(content)
    }

    fn split(&self) -> (&str, Option<&str>) {
        match self.kind.split_once('/') {
            Some((kind, subtype)) => (kind, Some(subtype)),
            None => (&self.kind, None),
        }
    }

    /// Returns the signed message.
    ///
    /// # Panics
    /// When the chain cannot sign.
    pub fn message(&self, chain: &Chain) -> Message {
        let content = self.content(chain);
        let environment = self.data.get("environment");
        let environment = environment.and_then(Value::as_str).unwrap_or_default();
        let transaction = self.transaction.as_ref();
        let ids = ["transactionId", "originalTransactionId"].into_iter();
        let ids = ids.filter_map(|name| transaction?[name].as_str());
        Message {
            uuid: self.uuid.clone(),
            kind: self.kind.clone(),
            at: self.at,
            environment: environment.to_owned(),
            transactions: ids.map(str::to_owned).collect(),
            signed_payload: chain.sign(&content).expect("a signed message"),
        }
    }
}

/// A signed notification, which can be sent repeatedly.
#[derive(Debug, Clone)]
pub struct Message {
    /// `notificationUUID`
    pub uuid: String,
    /// Type, and the subtype behind a slash if there is one.
    pub kind: String,
    /// `signedDate`
    pub at: Timestamp,
    pub environment: String,
    /// Ids of the transactions that it names.
    transactions: Vec<String>,
    pub signed_payload: String,
}

impl Message {
    /// Returns the body with which it is sent.
    pub fn body(&self) -> String {
        json!({ "signedPayload": self.signed_payload }).to_string()
    }
}

/// A notification in the App Store's history, with its attempts.
#[derive(Debug, Clone)]
pub struct SentNotice {
    pub message: Message,
    /// Time and `sendAttemptResult` of each attempt, oldest first.
    pub attempts: Vec<(Timestamp, &'static str)>,
}

impl From<Message> for SentNotice {
    fn from(message: Message) -> Self {
        let attempts = Vec::new();
        Self { message, attempts }
    }
}

impl SentNotice {
    /// Returns the notification as an entry of the history.
    pub(super) fn body(&self) -> Value {
        let attempts = self
            .attempts
            .iter()
            .map(|(at, result)| json!({ "attemptDate": millis(*at), "sendAttemptResult": result }));
        json!({
            "signedPayload": self.message.signed_payload, "sendAttempts": attempts.collect::<Vec<_>>(),
        })
    }

    /// Whether a request for the history wants the notification.
    pub(super) fn is_listed(&self, call: &Call) -> bool {
        let Message {
            kind,
            at,
            environment,
            transactions,
            ..
        } = &self.message;
        let wanted = &call.body;
        let date = |name: &str| wanted[name].as_i64().unwrap_or_default();
        let (kind, subtype) = match kind.split_once('/') {
            Some((kind, subtype)) => (kind, Some(subtype)),
            None => (kind.as_str(), None),
        };
        let is_of = |name: &str, value: Option<&str>| {
            wanted[name].is_null() || wanted[name].as_str() == value
        };
        let transaction = wanted["transactionId"].as_str();
        let is_failed = self.attempts.iter().all(|(_, result)| *result != SUCCESS);
        environment == call.environment
            && (date("startDate")..=date("endDate")).contains(&millis(*at))
            && is_of("notificationType", Some(kind))
            && is_of("notificationSubtype", subtype)
            && transaction.is_none_or(|id| transactions.iter().any(|known| known == id))
            && (wanted["onlyFailures"] != true || is_failed)
    }
}
