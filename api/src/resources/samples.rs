//! `/v1/platforms/{platform_id}/sample`: sends a signed sample notification to a platform that trusts samples.

use crate::answer::Accepted;
use crate::error::Error;
use crate::extract::{Draft, Stored};
use crate::keys::Acting;
use crate::stores::samples::{NoSample, SampleSettings, SentSample};
use domain::{CollapseKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Platform;

/// A sample notification to send.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "type": "renewed", "receipt_id": "first" }]))]
pub struct SampleRequest {
    /// Type of the notification: the store's name or a short form; by default, the start of a subscription.
    #[serde(rename = "type")]
    store_type: Option<String>,
    /// Name of the purchase: any text, or the id of an earlier sample; a new purchase by default.
    #[schemars(length(min = 1, max = 200))]
    receipt_id: Option<String>,
    /// The store's id for the customer.
    #[schemars(length(min = 1, max = 200))]
    app_user_id: Option<String>,
}

/// An accepted sample notification.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sample {
    /// Id of the message.
    message_id: String,
    /// The store's id for the purchase.
    receipt_id: String,
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// The store's name for the type of the notification.
    #[serde(rename = "type")]
    store_type: &'static str,
    /// When the window ends, unless another notification restarts it.
    due_at: Timestamp,
}

/// `POST /v1/platforms/{platform_id}/sample`: sends a sample. 409 unless this process is a `settle run` with its demo.
pub async fn send(
    edge: Acting,
    Stored(platform): Stored<Platform>,
    mut draft: Draft<SampleRequest>,
) -> Result<Accepted<Sample>, Error> {
    let samples = edge.samples(&platform).map_err(refused)?;
    let store_type = draft
        .body
        .store_type
        .as_deref()
        .map(|name| samples.type_named(name))
        .transpose();
    let store_type = store_type.unwrap_or_else(|expected| {
        draft.wrong.add("type", expected);
        None
    });
    let SampleRequest {
        receipt_id,
        app_user_id,
        ..
    } = draft.finish()?;
    edge.store
        .record_audit_entry("platform.sample", Some(platform.app_id), platform.id)
        .await?;
    let due_at = (edge.clock)().plus_millis(platform.settings.window_ms);
    let sent = edge
        .sample(
            &platform,
            SampleSettings {
                store_type,
                receipt_id,
                app_user_id,
            },
        )
        .await
        .map_err(refused)?;
    let SentSample {
        message_id,
        receipt_id,
        collapse_key,
        store_type,
    } = sent;
    Ok(Accepted(Sample {
        message_id,
        receipt_id,
        collapse_key,
        store_type,
        due_at,
    }))
}

fn refused(why: NoSample) -> Error {
    match why {
        NoSample::Unavailable => Error::Unavailable(why.to_string()),
        NoSample::NotTrusted | NoSample::Refused(_) => Error::Conflict(why.to_string()),
    }
}
