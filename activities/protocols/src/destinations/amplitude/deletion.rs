//! The request to delete users through the User Privacy API (<https://amplitude.com/docs/apis/analytics/user-privacy>),
//! and the interpretation of its responses.

use super::config::Config;
use crate::http::{Method, REPLY_BYTES, Reply, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const USER_AGENT: &str = concat!("settle/", env!("CARGO_PKG_VERSION"));
/// Path of the deletion API, relative to the URL of the user search.
const PATH: &str = "deletions/users";

/// Returns the request to delete the users with these ids; Amplitude ignores unknown ids. `None` without a secret key:
/// the API key alone does not permit a deletion.
pub fn request(config: &Config, user_ids: &[String]) -> Option<Request> {
    let basic = config.keys.basic()?;
    let url = config.search.join(PATH).ok()?;
    let body = json!({
        "user_ids": user_ids,
        "requester": "settle",
        "ignore_invalid_id": "True",
        "delete_from_org": "False",
    });
    Some(Request {
        method: Method::Post,
        url,
        headers: vec![
            (
                "authorization".to_owned(),
                format!("Basic {}", STANDARD.encode(basic)),
            ),
            ("content-type".to_owned(), "application/json".to_owned()),
            ("user-agent".to_owned(), USER_AGENT.to_owned()),
        ],
        body: body.to_string().into_bytes(),
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: config.is_operator_url,
        app: None,
    })
}

/// Returns whether a reply accepted the request.
///
/// # Errors
/// Returns why the reply did not accept the request, as a sentence that names no id and no key.
pub fn judge(reply: &Reply) -> Result<(), String> {
    match reply {
        Reply::Answer {
            status: 200..=299, ..
        } => Ok(()),
        Reply::Answer {
            status: 401 | 403, ..
        } => Err("Amplitude does not accept the API key with this `secret_key`".to_owned()),
        Reply::Answer { status: 429, .. } => Err("Amplitude is throttling requests".to_owned()),
        Reply::Answer { status, .. } => Err(format!("Amplitude answered {status}")),
        Reply::Failure { message, .. } => Err(format!("no answer: {message}")),
    }
}
