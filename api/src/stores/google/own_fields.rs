//! The platform fields that only Google Play has. The package name is not one of them: all platforms have it.
//!
//! Each error is one sentence that says what to enter. It repeats nothing that was entered, because that may be a
//! secret.

use super::settings::{PUSH_ACCOUNT, PUSH_AUDIENCE, SERVICE_ACCOUNT, SUBSCRIPTION};
use crate::stores::WrongOwnField;
use domain::text::trimmed;
use protocols::stores::google::account::ServiceAccount;
use protocols::stores::google::acknowledge::{ACKNOWLEDGE, Acknowledger};
use protocols::stores::google::customer::{ACCOUNT_IDS, AccountIds};
use protocols::stores::google::request::PackageName;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use storage::StorePart;
use url::Url;

/// Names of all fields.
pub const NAMES: [&str; 6] = [
    SERVICE_ACCOUNT,
    SUBSCRIPTION,
    PUSH_ACCOUNT,
    PUSH_AUDIENCE,
    ACKNOWLEDGE,
    ACCOUNT_IDS,
];

/// Flags of `settle platform update` that set the credentials.
pub const CREDENTIAL_FLAGS: &str = "--store-setting service_account=@FILE";

const PACKAGE_NAME: &str = "package_name";
/// Maximum length of an account's email address.
const MAX_ACCOUNT_CHARS: usize = 320;
const MAX_AUDIENCE_CHARS: usize = 1000;
const MAX_PROJECT_CHARS: usize = 100;
/// Length of a subscription's id. <https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names>
const SUBSCRIPTION_ID_CHARS: std::ops::RangeInclusive<usize> = 3..=255;
/// End of every service account's email address.
const ACCOUNT_DOMAIN: &str = ".gserviceaccount.com";
/// Domain of the accounts with which Google's services act, such as the one that publishes notifications.
const SYSTEM_DOMAIN: &str = "system.gserviceaccount.com";
/// Beginning of the domain of a project's service agents.
const AGENT_DOMAIN: &str = "gcp-sa-";
/// Path of every notification URL.
const NOTIFICATION_PATH: &str = "/v1/stores/";

const EXPECTED_PLACE: &str = "nothing: the package name is a field of the platform itself, `package_name`, not of its \
                              store settings";
const EXPECTED_NAMES: &str = "no fields other than service_account, subscription, push_account, push_audience, \
                              acknowledge and account_ids";
const EXPECTED_PACKAGE: &str = "the package name that the Play Console shows, such as com.example.radio: at least two \
                                parts with a dot between them, each of which begins with a letter and consists of \
                                letters, digits and `_`";
const EXPECTED_SUBSCRIPTION: &str = "the full name of the push subscription, projects/PROJECT_ID/subscriptions/NAME, as \
                                     its page in the Google Cloud console shows it";
const EXPECTED_ACCOUNT: &str = "the email address of the service account in the push subscription's authentication, \
                                such as push@my-project.iam.gserviceaccount.com";
const EXPECTED_OWN_ACCOUNT: &str = "a service account of yours, as chosen in the push subscription's authentication: \
                                    Google's own accounts do not sign pushes";
const EXPECTED_AUDIENCE: &str = "an http or https URL, which you also enter as the audience of the push subscription: \
                                 any URL will do, such as https://settle.example.com/google";
const EXPECTED_PUBLIC_AUDIENCE: &str = "another URL than the notification URL, which contains a secret: choose one, and \
                                        also enter it as the audience of the push subscription";
const EXPECTED_ACKNOWLEDGER: &str =
    "`app` if the app or its server acknowledges purchases, or `settle` if settle does";
const EXPECTED_ACCOUNT_IDS: &str = "`external` if the app passes its own customer ids to Google as obfuscated account \
                                    ids, or `opaque` if it passes other values or none";
const EXPECTED_JSON: &str = "the whole text of the service account's JSON key file, from its first brace to its last: \
                             on the command line, `--store-setting service_account=@FILE` reads it";
const EXPECTED_KEY_FILE: &str = "the key file of a service account, not that of an OAuth client, a user or another \
                                 service: create one in the Google Cloud console, under IAM & Admin, Service Accounts, \
                                 Keys";

/// Checks a text; the error is what is expected instead.
type CheckText = fn(&str) -> Result<(), &'static str>;

/// The settings, with their checks.
const SETTINGS: [(&str, CheckText); 5] = [
    (SUBSCRIPTION, check_subscription),
    (PUSH_ACCOUNT, check_account),
    (PUSH_AUDIENCE, check_audience),
    (ACKNOWLEDGE, check_acknowledger),
    (ACCOUNT_IDS, check_account_ids),
];

/// Reads the fields. All are optional, so that a platform can be created before the push subscription, which needs the
/// platform's notification URL. If the subscription is set and the audience is not, the audience is filled in.
///
/// # Errors
/// Every wrong field.
pub fn read(fields: &Map<String, Value>) -> Result<StorePart, Vec<WrongOwnField>> {
    let mut wrong = misplaced(fields);
    let mut settings = Map::new();
    for (name, check) in SETTINGS {
        let Some(value) = fields.get(name) else {
            continue;
        };
        let text = trimmed(value.as_str().unwrap_or_default());
        match check(text) {
            Ok(()) => drop(settings.insert(name.to_owned(), text.into())),
            Err(expected) => wrong.push(wrong_field(name, expected)),
        }
    }
    let credentials = fields.get(SERVICE_ACCOUNT).map(credentials);
    let credentials = credentials.transpose().unwrap_or_else(|expected| {
        wrong.push(wrong_field(SERVICE_ACCOUNT, expected));
        None
    });
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let subscription = settings.get(SUBSCRIPTION).and_then(Value::as_str);
    if let Some(audience) = subscription.map(default_audience) {
        settings
            .entry(PUSH_AUDIENCE)
            .or_insert_with(|| audience.into());
    }
    Ok(StorePart {
        settings: (!settings.is_empty()).then(|| settings.into()),
        credentials,
    })
}

/// Checks the package name of a platform, which is part of the URLs at Google.
///
/// # Errors
/// What is expected instead.
pub fn check_package(name: &str) -> Result<(), &'static str> {
    found(PackageName::new(name), EXPECTED_PACKAGE)
}

/// Returns the audience that is filled in: a URL of the subscription. Another subscription has another audience, so a
/// token for one platform is not valid for another.
fn default_audience(subscription: &str) -> String {
    format!("https://pubsub.googleapis.com/{subscription}")
}

/// Returns errors for fields that do not belong here.
fn misplaced(fields: &Map<String, Value>) -> Vec<WrongOwnField> {
    let (package, others): (Vec<&str>, Vec<&str>) = fields
        .keys()
        .map(String::as_str)
        .filter(|name| !NAMES.contains(name))
        .partition(|name| *name == PACKAGE_NAME);
    let mut wrong = Vec::new();
    if !package.is_empty() {
        wrong.push(wrong_field(PACKAGE_NAME, EXPECTED_PLACE));
    }
    if !others.is_empty() {
        wrong.push(wrong_field("*", EXPECTED_NAMES));
    }
    wrong
}

fn wrong_field(field: &'static str, expected: impl Into<String>) -> WrongOwnField {
    WrongOwnField {
        field,
        expected: expected.into(),
    }
}

fn found<T>(value: Option<T>, expected: &'static str) -> Result<(), &'static str> {
    value.map(drop).ok_or(expected)
}

fn check_subscription(text: &str) -> Result<(), &'static str> {
    let parts: Vec<&str> = text.split('/').collect();
    let ["projects", project, "subscriptions", id] = parts[..] else {
        return Err(EXPECTED_SUBSCRIPTION);
    };
    let is_name = is_project(project) && is_subscription_id(id);
    is_name.then_some(()).ok_or(EXPECTED_SUBSCRIPTION)
}

/// Returns whether a text can be a project's id, such as `my-project` or `example.com:my-project`. A push names its
/// project by the id, never by the number.
fn is_project(text: &str) -> bool {
    let is_part =
        |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || "-.:".contains(one);
    text.len() <= MAX_PROJECT_CHARS
        && text.contains(|one: char| one.is_ascii_lowercase())
        && text.chars().all(is_part)
}

fn is_subscription_id(text: &str) -> bool {
    let is_part = |one: char| one.is_ascii_alphanumeric() || "-_.~+%".contains(one);
    SUBSCRIPTION_ID_CHARS.contains(&text.len())
        && text.starts_with(|one: char| one.is_ascii_alphabetic())
        && text.chars().all(is_part)
}

/// Checks the push account. The address must be written as in Google's tokens, which use lower case.
fn check_account(text: &str) -> Result<(), &'static str> {
    let is_part =
        |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || "-.".contains(one);
    let (name, domain) = text.split_once('@').ok_or(EXPECTED_ACCOUNT)?;
    let is_account = text.len() <= MAX_ACCOUNT_CHARS
        && !name.is_empty()
        && name.chars().chain(domain.chars()).all(is_part)
        && domain.ends_with(ACCOUNT_DOMAIN);
    if !is_account {
        return Err(EXPECTED_ACCOUNT);
    }
    if domain == SYSTEM_DOMAIN || domain.starts_with(AGENT_DOMAIN) {
        return Err(EXPECTED_OWN_ACCOUNT);
    }
    Ok(())
}

/// Checks the audience. Anyone who may read a platform may read the audience, so it must not be the notification URL,
/// which Pub/Sub would use by default.
fn check_audience(text: &str) -> Result<(), &'static str> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    let url = Url::parse(text).ok().filter(|url| {
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        is_web && is_visible && text.len() <= MAX_AUDIENCE_CHARS
    });
    let url = url.ok_or(EXPECTED_AUDIENCE)?;
    if url.path().contains(NOTIFICATION_PATH) {
        return Err(EXPECTED_PUBLIC_AUDIENCE);
    }
    Ok(())
}

fn check_acknowledger(text: &str) -> Result<(), &'static str> {
    found(Acknowledger::parse(text), EXPECTED_ACKNOWLEDGER)
}

fn check_account_ids(text: &str) -> Result<(), &'static str> {
    found(AccountIds::parse(text), EXPECTED_ACCOUNT_IDS)
}

/// Returns the credentials that are stored for a key file.
fn credentials(file: &Value) -> Result<SecretString, String> {
    let text = file.as_str().map(trimmed).unwrap_or_default();
    let members: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| EXPECTED_JSON.to_owned())?;
    if members.get("type").and_then(Value::as_str) != Some("service_account") {
        return Err(EXPECTED_KEY_FILE.to_owned());
    }
    ServiceAccount::parse(&text.into()).map_err(|wrong| wrong.to_string())?;
    Ok(json!({ SERVICE_ACCOUNT: text }).to_string().into())
}
