//! A notification of the App Store as Apple signed it (App Store Server Notifications, version 2).
//! <https://developer.apple.com/documentation/appstoreservernotifications/responsebodyv2decodedpayload>
//!
//! A notification that Apple pushes and one in the history of notifications are read here alike. Each of its parts is
//! verified by itself, and nothing of them counts before that.

use super::chain::Chains;
use super::duty::{self, DutyChange};
use super::jws::{JwsRefusal, VerifiedPayload, Verifier};
use super::signed::{self, Members, SignedRenewal, SignedTransaction, id, integer, text};
use domain::notification::{MAX_ID_BYTES, is_sample_purchase};
use domain::stores::apple::{ProductKind, environment};
use domain::{CollapseKey, Environment, Notification, NotificationKind, PlatformId, Timestamp};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use storage::hex;

/// Reason of a notification about another app.
pub const FOREIGN_BUNDLE: &str = "notification about another bundle";
/// Reason of a notification about an app with another number.
pub const FOREIGN_APP: &str = "notification about another app";
/// Reason of a notification about production at a platform for the sandbox.
pub const FOREIGN_ENVIRONMENT: &str = "notification about another environment";
/// Reason of a notification whose parts are about different purchases or apps.
pub const FOREIGN_PART: &str = "notification with a part of another purchase";
/// Reason of a signed payload that is no notification, such as a request for a retention message.
pub const NO_NOTIFICATION: &str = "signed payload is no notification";

/// Environments of development tools, in which nothing is bought.
const LOCAL: [&str; 2] = ["Xcode", "LocalTesting"];
/// Members that contain a signed text, each with the one in which it lies.
pub(super) const TRANSACTION: &str = "signedTransactionInfo";
const RENEWAL: &str = "signedRenewalInfo";
const APP_TRANSACTION: &str = "signedAppTransactionInfo";

/// The app and the environment of a platform's notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedApp<'a> {
    pub bundle_id: &'a str,
    /// The app's number; `None` if the platform does not have it. Apple names it in production only.
    pub apple_id: Option<i64>,
    /// The environment of the platform. That of production takes notifications about the sandbox, too.
    pub environment: Environment,
}

/// A payload whose signatures were all verified.
pub enum SignedPayload {
    Notification(Box<SignedNotification>),
    /// No notification.
    Other {
        /// The digest of the text.
        digest: String,
    },
}

/// A notification whose signatures were all verified. It has no debug output, since it contains ids of customers.
pub struct SignedNotification {
    /// The id, which is the same on every retry.
    pub id: String,
    /// Name of the type, followed by that of the subtype if there is one.
    pub store_type: String,
    pub signed_at: Timestamp,
    pub kind: NotificationKind,
    /// The transaction that it is about.
    pub transaction: Option<SignedTransaction>,
    /// What it shows, decoded, with a digest of the text and without certificates.
    pub decoded: Value,
    pub(super) app_transaction: Option<Members>,
    app: SignedApp,
    has_foreign_part: bool,
}

/// The app and the environment that a notification names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SignedApp {
    bundle_id: Option<String>,
    apple_id: Option<i64>,
    environment: Option<Environment>,
}

/// The signed parts of a notification, with their signing times.
#[derive(Default)]
struct SignedParts {
    transaction: Option<VerifiedPayload>,
    renewal: Option<VerifiedPayload>,
    app_transaction: Option<VerifiedPayload>,
}

/// Verifies a payload and its parts, and reads them.
///
/// # Errors
/// A signature is not valid, or the payload is of an environment in which nothing is bought.
pub fn read(
    chains: &Chains,
    verify: Verifier,
    payload: &str,
    now: Timestamp,
) -> Result<SignedPayload, JwsRefusal> {
    let outer = verify(chains, payload, now)?;
    let digest = hex(digest(&SHA256, payload.as_bytes()).as_ref());
    let (Some(id), Some(name)) = (
        id(&outer.members, "notificationUUID"),
        text(&outer.members, "notificationType"),
    ) else {
        return Ok(SignedPayload::Other { digest });
    };
    let data = ["data", "appData"];
    let data = data
        .iter()
        .find_map(|name| outer.members.get(*name)?.as_object());
    let part = |name: &str| {
        let text = data.and_then(|data| data.get(name)?.as_str());
        text.map(|text| verify(chains, text, now)).transpose()
    };
    let parts = SignedParts {
        transaction: part(TRANSACTION)?,
        renewal: part(RENEWAL)?,
        app_transaction: part(APP_TRANSACTION)?,
    };
    let subtype = text(&outer.members, "subtype");
    let app = SignedApp::of(&outer.members, &parts)?;
    let store_type = match subtype {
        Some(subtype) if name.len() + subtype.len() < MAX_ID_BYTES => format!("{name}.{subtype}"),
        _ => name,
    };
    let transaction = parts.transaction.as_ref();
    let transaction =
        transaction.and_then(|part| SignedTransaction::of(&part.members, part.signed_at));
    Ok(SignedPayload::Notification(Box::new(SignedNotification {
        id,
        signed_at: outer.signed_at,
        kind: kind(&store_type, transaction.as_ref()),
        store_type,
        has_foreign_part: parts.are_foreign(&app),
        decoded: decoded(&outer.members, &parts, &digest),
        app_transaction: parts.app_transaction.map(|part| part.members),
        transaction,
        app,
    })))
}

impl SignedApp {
    /// Returns the app of a notification. That of a withdrawn consent is the one that its own signed part names.
    fn of(outer: &Members, parts: &SignedParts) -> Result<Self, JwsRefusal> {
        let member = |name: &str| outer.get(name).and_then(Value::as_object);
        if let Some(part) = &parts.app_transaction {
            return Self::named(&part.members, text(&part.members, "receiptType"));
        }
        if let Some(purchase) = member("externalPurchaseToken") {
            let id = text(purchase, "externalPurchaseId");
            let is_sandbox = id.is_some_and(|id| id.starts_with("SANDBOX"));
            let name = if is_sandbox { "Sandbox" } else { "Production" };
            return Self::named(purchase, Some(name.to_owned()));
        }
        let mut all = ["data", "summary", "appData"].into_iter();
        all.find_map(member).map_or_else(
            || Ok(Self::default()),
            |data| Self::named(data, text(data, "environment")),
        )
    }

    fn named(members: &Members, name: Option<String>) -> Result<Self, JwsRefusal> {
        if name.as_deref().is_some_and(|name| LOCAL.contains(&name)) {
            return Err(JwsRefusal::Environment);
        }
        Ok(Self {
            bundle_id: text(members, "bundleId"),
            apple_id: integer(members, "appAppleId"),
            environment: name.and_then(|name| environment(&name)),
        })
    }
}

impl SignedParts {
    /// Whether a part is about another app or environment, or the renewal about another purchase than the transaction.
    fn are_foreign(&self, app: &SignedApp) -> bool {
        let name = |part: &Option<VerifiedPayload>, name| {
            let part = part.as_ref()?;
            text(&part.members, name)
        };
        let transaction = &self.transaction;
        let bundle = name(transaction, "bundleId");
        let is_of_app = transaction.is_none() || bundle == app.bundle_id;
        let is_of_environment = [transaction, &self.renewal].into_iter().all(|part| {
            let found = name(part, "environment").and_then(|name| environment(&name));
            part.is_none() || found == app.environment
        });
        let of_transaction = name(transaction, "originalTransactionId");
        let of_renewal = name(&self.renewal, "originalTransactionId");
        let is_of_purchase =
            self.renewal.is_none() || transaction.is_none() || of_renewal == of_transaction;
        !(is_of_app && is_of_environment && is_of_purchase)
    }
}

impl SignedNotification {
    /// Returns why a platform does not accept the notification, although Apple signed it; `None` if it does.
    pub fn refusal(&self, expected: &ExpectedApp<'_>) -> Option<&'static str> {
        let app = &self.app;
        let is_other_app = app.apple_id.zip(expected.apple_id);
        match () {
            () if app.bundle_id.as_deref() != Some(expected.bundle_id) => Some(FOREIGN_BUNDLE),
            () if is_other_app.is_some_and(|(found, expected)| found != expected) => {
                Some(FOREIGN_APP)
            }
            () if !self.is_of(expected.environment) => Some(FOREIGN_ENVIRONMENT),
            () if self.has_foreign_part => Some(FOREIGN_PART),
            () => None,
        }
    }

    fn is_of(&self, expected: Environment) -> bool {
        match self.app.environment {
            Some(Environment::Sandbox) => true,
            Some(found) => found == expected,
            None => false,
        }
    }

    /// Returns the notification about a purchase, in settle's terms; `None` if it is about none.
    pub fn notification(&self, platform: PlatformId) -> Option<Notification> {
        let purchase_id = &self.transaction.as_ref()?.purchase_id;
        Some(Notification {
            message_id: self.id.clone(),
            collapse_key: CollapseKey::of(platform, purchase_id),
            receipt_id: purchase_id.clone(),
            kind: self.kind,
            store_type: self.store_type.clone(),
            store_time: self.signed_at,
            // An answer names the customer, from the newest period that has one.
            app_user_id: None,
            related_receipt_id: None,
            is_test: is_sample_purchase(purchase_id),
            voided: None,
            refunded: None,
        })
    }

    /// Returns the duty to the store that it opens or closes at this time.
    pub fn duty(&self, platform: PlatformId, now: Timestamp) -> DutyChange {
        duty::of(platform, self, now)
    }
}

/// Returns what is stored of a notification: its members with those of its parts, instead of the signed texts.
fn decoded(outer: &Members, parts: &SignedParts, digest: &str) -> Value {
    let mut all = outer.clone();
    for name in ["data", "appData"] {
        let Some(data) = all.get_mut(name).and_then(Value::as_object_mut) else {
            continue;
        };
        for (name, part) in [
            (TRANSACTION, &parts.transaction),
            (RENEWAL, &parts.renewal),
            (APP_TRANSACTION, &parts.app_transaction),
        ] {
            if let Some(part) = part {
                data.insert(name.to_owned(), Value::Object(part.members.clone()));
            }
        }
    }
    all.insert("sha256".to_owned(), json!(digest));
    Value::Object(all)
}

/// The signed parts of a stored notification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredParts {
    pub transaction: Option<SignedTransaction>,
    pub renewal: Option<SignedRenewal>,
    /// The number of the subscription's state.
    pub status: Option<i64>,
    pub signed_at: Timestamp,
}

impl StoredParts {
    /// Reads the content of a stored notification, as [`SignedNotification::decoded`] has it.
    pub fn of(stored: &Value) -> Self {
        let data = stored.get("data").and_then(Value::as_object);
        let part = |name: &str| {
            let part = data?.get(name)?.as_object()?;
            Some((part, signed::time(part, "signedDate")?))
        };
        let transaction = part(TRANSACTION);
        let renewal = part(RENEWAL);
        let signed_at = stored
            .as_object()
            .and_then(|all| signed::time(all, "signedDate"));
        Self {
            transaction: transaction.and_then(|(part, at)| SignedTransaction::of(part, at)),
            renewal: renewal.and_then(|(part, at)| SignedRenewal::of(part, at)),
            status: data.and_then(|data| integer(data, "status")),
            signed_at: signed_at.unwrap_or_default(),
        }
    }
}

/// Returns the kind of a type. It is only a hint: the signed state decides.
fn kind(store_type: &str, transaction: Option<&SignedTransaction>) -> NotificationKind {
    let (name, subtype) = store_type.split_once('.').unwrap_or((store_type, ""));
    let product = transaction.map(|transaction| transaction.fact.kind);
    match (name, subtype) {
        ("SUBSCRIBED", _) => NotificationKind::SubscriptionPurchased,
        ("DID_RENEW", _) => NotificationKind::Renewed,
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED") => NotificationKind::AutoRenewalOff,
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_ENABLED") => NotificationKind::AutoRenewalOn,
        ("DID_FAIL_TO_RENEW", "GRACE_PERIOD") => NotificationKind::GraceBegan,
        ("EXPIRED", _) => NotificationKind::Expired,
        ("ONE_TIME_CHARGE", _) if product == Some(ProductKind::Consumable) => {
            NotificationKind::ConsumablePurchased
        }
        ("ONE_TIME_CHARGE", _) => NotificationKind::EntitlementPurchased,
        _ => NotificationKind::Unknown,
    }
}
