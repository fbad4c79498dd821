//! The user and the device that an event belongs to.

use super::settings::{Settings, UserIdSource};
use storage::{Rendered, Unsent};

/// Ids that Amplitude refuses, in lower case and without surrounding spaces: placeholders that faulty programs send
/// (<https://amplitude.com/docs/apis/analytics/http-v2>). settle refuses these and more (`domain::placeholder`) as
/// customer ids. A customer who got one of those additional ids in an earlier version is still sent, because Amplitude
/// accepts the id.
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
/// Maximum length of an id in characters. Amplitude would truncate a longer one, and the result could identify another
/// user.
const MAX_ID_LENGTH: usize = 1024;
/// The remedy for any refused id, as part of an error.
const OTHER_ID: &str = "set the integration to identify customers by settle's own id (`--user-id user_id`), then \
     resend";
/// The remedy for an id that is too short, as part of an error.
const LOWER: &str = "lower it (`--min-id-length`) if the project accepts such ids";

/// The user and the device that an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's id in Amplitude; `None` while the user has no external id and the setting sends events without one.
    pub user_id: Option<String>,
    /// The customer's Amplitude device id, if there is one that Amplitude accepts; else settle's id of the purchase's
    /// first user, which links the two users in Amplitude when the first is merged into another. Storage gives all
    /// deliveries of an event the same ids, because Amplitude would count a retry with another device id as a second
    /// event.
    pub device_id: String,
}

/// Returns the identity of an event, or why it is not sent yet, or never will be. The reason contains no id.
pub fn of(settings: &Settings, unsent: &Unsent) -> Result<Identity, Rendered> {
    let (Some(user), Some(first)) = (unsent.user_id, unsent.first_user_id) else {
        return Err(Rendered::Skip {
            why: "it is not about a customer, and Amplitude accepts only events about customers"
                .into(),
        });
    };
    let user_id = match (settings.user_id, unsent.external_id.as_deref()) {
        (UserIdSource::UserId, _) => Some(user.to_string()),
        (UserIdSource::ExternalId, Some(id)) => {
            Some(usable(id, settings.min_id_length)?.to_owned())
        }
        (UserIdSource::ExternalId, None) => settings
            .without_external_id
            .put_aside(&unsent.event_type)
            .map_or(Ok(None), Err)?,
    };
    let own = unsent
        .analytics_device_id
        .as_deref()
        .filter(|id| is_usable(settings, id));
    Ok(Identity {
        user_id,
        device_id: own.map_or_else(|| first.to_string(), str::to_owned),
    })
}

/// Returns the metric's label for a refused external id; `None` if the id is valid or not sent.
pub fn wrong(settings: &Settings, unsent: &Unsent) -> Option<&'static str> {
    let id = unsent
        .external_id
        .as_deref()
        .filter(|_| settings.user_id == UserIdSource::ExternalId)?;
    refused(id, settings.min_id_length).map(|(reason, _)| reason)
}

pub fn is_usable(settings: &Settings, id: &str) -> bool {
    refused(id, settings.min_id_length).is_none()
}

fn usable(id: &str, min_id_length: u64) -> Result<&str, Rendered> {
    refused(id, min_id_length).map_or(Ok(id), |(_, why)| Err(Rendered::Refuse { why }))
}

/// Returns why an id is refused: a metric's label, and a sentence with the remedy. Waiting is no remedy, since an
/// external id never changes. `None` if the id is accepted.
fn refused(id: &str, min_id_length: u64) -> Option<(&'static str, String)> {
    if FORBIDDEN.contains(&id.trim().to_lowercase().as_str()) {
        let why = "is one that Amplitude rejects because it identifies nobody";
        return Some((
            "forbidden",
            format!("the customer's external id {why}: {OTHER_ID}"),
        ));
    }
    let length = id.chars().count();
    if u64::try_from(length).is_ok_and(|length| length < min_id_length) {
        let why = format!(
            "is shorter than the `min_id_length` of {min_id_length}: {LOWER}, or {OTHER_ID}"
        );
        return Some(("short", format!("the customer's external id {why}")));
    }
    let why = || {
        format!("the customer's external id is longer than {MAX_ID_LENGTH} characters: {OTHER_ID}")
    };
    (length > MAX_ID_LENGTH).then(|| ("long", why()))
}

#[cfg(test)]
mod tests {
    use super::FORBIDDEN;
    use domain::placeholder::placeholder;

    #[test]
    fn what_amplitude_refuses_is_a_placeholder_everywhere() {
        for id in FORBIDDEN {
            assert!(placeholder(id).is_some(), "{id:?}");
        }
    }
}
