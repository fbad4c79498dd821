//! The user and the device that an event belongs to.

use super::settings::{Settings, Unnamed, UserIdIs};
use storage::{Rendered, Unsent};

/// Ids that Amplitude refuses, in lower case and trimmed: the placeholders that faulty programs send
/// (<https://amplitude.com/docs/apis/analytics/http-v2>).
const FORBIDDEN: [&str; 14] = [
    "",
    "-1",
    "0",
    "00000000-0000-0000-0000-000000000000",
    "anonymous",
    "lmy47d",
    "n/a",
    "na",
    "nil",
    "none",
    "null",
    "undefined",
    "unknown",
    "{}",
];
/// Maximum length of an id. A longer one would be cut, and then identify somebody else.
const MOST: usize = 1024;
/// The remedy for any refused id.
const OTHER_ID: &str = "set the integration to name customers by settle's own id (`--user-id user_id`), and redeliver";
/// The remedy for a short one.
const LOWER: &str = "lower it (`--min-id-length`) if the project takes such ids";

/// The user and the device that an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's id in Amplitude; absent while the customer has no external id.
    pub user_id: Option<String>,
    /// Our id of the purchase's first user, always: with another device id a repetition would count as another event. Where
    /// that user was merged into another, it links the two in Amplitude.
    pub device_id: String,
}

/// The identity of an event, or why it cannot be sent, or not yet. No reason repeats an id.
pub fn of(settings: &Settings, unsent: &Unsent) -> Result<Identity, Rendered> {
    let (Some(user), Some(first)) = (unsent.user_id, unsent.first_user_id) else {
        return Err(Rendered::Skip {
            why: "it is about no customer, and Amplitude takes events of customers only".into(),
        });
    };
    let user_id = match (settings.user_id, unsent.external_id.as_deref(), settings.without_external_id) {
        (UserIdIs::UserId, _, _) => Some(user.to_string()),
        (UserIdIs::ExternalId, Some(id), _) => Some(usable(id, settings.min_id_length)?.to_owned()),
        (UserIdIs::ExternalId, None, Unnamed::Send) => None,
        (UserIdIs::ExternalId, None, Unnamed::Wait) => {
            return Err(Rendered::Wait { why: "the customer has no external id yet".into() });
        }
        (UserIdIs::ExternalId, None, Unnamed::Skip) => {
            return Err(Rendered::Skip { why: "the customer has no external id".into() });
        }
    };
    Ok(Identity { user_id, device_id: first.to_string() })
}

/// The stable reason why the customer's external id is refused; `None` when it is valid or not sent.
pub fn wrong(settings: &Settings, unsent: &Unsent) -> Option<&'static str> {
    let id = unsent.external_id.as_deref().filter(|_| settings.user_id == UserIdIs::ExternalId)?;
    refused(id, settings.min_id_length).map(|(reason, _)| reason)
}

fn usable(id: &str, min_id_length: u64) -> Result<&str, Rendered> {
    refused(id, min_id_length).map_or(Ok(id), |(_, why)| Err(Rendered::Refuse { why }))
}

/// Why an id is refused: a stable reason, and a sentence with the remedy, since an external id never changes.
fn refused(id: &str, min_id_length: u64) -> Option<(&'static str, String)> {
    if FORBIDDEN.contains(&id.trim().to_lowercase().as_str()) {
        let why = "is one that Amplitude refuses, because it stands for nobody";
        return Some(("forbidden", format!("the customer's external id {why}: {OTHER_ID}")));
    }
    let length = id.chars().count();
    if u64::try_from(length).is_ok_and(|length| length < min_id_length) {
        let why = format!("is shorter than the `min_id_length` of {min_id_length}: {LOWER}, or {OTHER_ID}");
        return Some(("short", format!("the customer's external id {why}")));
    }
    let why = || format!("the customer's external id is longer than {MOST} characters: {OTHER_ID}");
    (length > MOST).then(|| ("long", why()))
}
