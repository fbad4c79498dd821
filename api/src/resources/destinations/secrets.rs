//! Replaces a destination's signing secret, and tests the connection.

use super::shown::{CreatedDestination, DestinationDetail};
use super::{change_of, collect_errors};
use crate::clock;
use crate::error::Error;
use crate::extract::{Body, Draft, Stored, secret};
use crate::keys::Acting;
use crate::resources::schema;
use axum::Json;
use protocols::destinations::{self, Invalid, Rotation};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use storage::Destination;

/// Default number of hours for which the old secret signs too.
const DEFAULT_OVERLAP_HOURS: i64 = 24;
const HOUR_MS: i64 = 3600 * 1000;
/// The detail of the alarm about tests that are refused.
const MANY_TESTS: &str = "somebody tests destinations of this app so often that tests are refused; the audit log names who \
                          (`destination.test`)";

/// A new signing secret.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "overlap_hours": 48 }]))]
pub struct RotateSecret {
    /// The new secret, `whsec_…` or `whsk_…`; generated when absent.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    secret: Option<SecretString>,
    /// Number of hours for which the old secret also signs; 24 when absent. With 0, no old secret signs any longer, not
    /// even one of an earlier rotation.
    #[schemars(range(min = 0, max = 168))]
    overlap_hours: Option<i64>,
}

/// What a test request carries.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "event_type": "user.subscription.renewed" }]))]
pub struct TestRequest {
    /// Send a made-up event of this type, marked as a test, if the destination's kind takes one. No event when absent.
    event_type: Option<String>,
}

/// The result of a test request, which carries no event of anybody.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tested {
    /// Whether the connection works.
    pub ok: bool,
    /// What was found, as text for people.
    pub detail: String,
}

/// `POST …/rotate-secret`: replaces the signing secret. Only this answer shows the new one. Both sign until the overlap
/// ends.
pub async fn rotate(
    edge: Acting,
    Stored(destination): Stored<Destination>,
    draft: Draft<RotateSecret>,
) -> Result<Json<CreatedDestination>, Error> {
    let secret = edge.store.destination_secret(destination.id).await?;
    replace(edge, destination, secret, draft).await
}

/// [`rotate`], unless the secrets are others than those of [`storage::Store::destination_secret_version`]: a form that
/// is sent twice rotates once.
///
/// # Errors
/// As of [`rotate`], and 409 when the secrets were changed.
pub async fn rotate_version(
    edge: Acting,
    Stored(destination): Stored<Destination>,
    draft: Draft<RotateSecret>,
    based_on: &str,
) -> Result<Json<CreatedDestination>, Error> {
    // In this order: secrets that change in between are not those of the version, or are refused when they are replaced.
    let secret = edge.store.destination_secret(destination.id).await?;
    if edge
        .store
        .destination_secret_version(destination.id)
        .await?
        != based_on
    {
        let detail = "its secrets were changed after you opened the form, and the new ones are in use. Open the form \
             again to replace them";
        return Err(Error::Conflict(detail.to_owned()));
    }
    replace(edge, destination, secret, draft).await
}

/// Replaces the signing secret, unless these secrets are no longer the stored ones.
async fn replace(
    edge: Acting,
    destination: Destination,
    secret: SecretString,
    mut draft: Draft<RotateSecret>,
) -> Result<Json<CreatedDestination>, Error> {
    let hours = draft.body.overlap_hours.unwrap_or(DEFAULT_OVERLAP_HOURS);
    let (new_secret, now) = (draft.body.secret.take(), (edge.clock)());
    let rotation = Rotation {
        new_secret,
        until: now.plus_millis(hours * HOUR_MS),
        now,
        random: (edge.random)(),
    };
    let rotated = destinations::rotate(&destination, &secret, &rotation);
    if let Some(wrong) = rotated.as_ref().err().filter(|wrong| wrong.field == "kind") {
        return Err(Error::Unsuitable(format!(
            "expected a destination of kind {}",
            wrong.expected
        )));
    }
    let rotated = collect_errors(rotated.map_err(|wrong| vec![wrong]), &mut draft.wrong);
    draft.finish()?;
    let (change, shown) = rotated
        .map(|changed| change_of(&destination, secret, changed))
        .unwrap_or_default();
    let after = edge
        .store
        .update_destination(destination.id, change, |_| {})
        .await?;
    let detail = DestinationDetail::read(&edge, after).await?;
    Ok(Json(CreatedDestination::new(detail, shown, &[])))
}

/// `POST …/test`: sends one request that carries no event, or a made-up one, and is not stored. The answer is 200 even
/// if the test fails; `ok` and `detail` show the result.
pub async fn test(
    edge: Acting,
    Stored(destination): Stored<Destination>,
    Body(wanted): Body<TestRequest>,
) -> Result<Json<Tested>, Error> {
    let sample = wanted.event_type.as_deref().map(|event_type| {
        let unknown = || Error::invalid("event_type", format!("one of {}", schema::types()));
        schema::sample(event_type).ok_or_else(unknown)
    });
    let sample = sample.transpose()?;
    let secret = edge.store.destination_secret(destination.id).await?;
    let refused = |invalid: Invalid| match invalid.field.as_str() {
        "event_type" => Error::invalid("event_type", invalid.expected),
        _ => Error::Conflict(format!("nothing was sent; {invalid}")),
    };
    let connector = destinations::ready(&destination, &secret, &edge.allowed).map_err(refused)?;
    if connector.bounds_tests() {
        let counted = edge.test_quota.count(destination.id, destination.app_id);
        if counted.as_ref().is_err_and(|refused| refused.is_alarming) {
            edge.store
                .alarm(destination.id, "many_tests", MANY_TESTS)
                .await?;
        }
        counted?;
    }
    edge.store
        .record_audit_entry("destination.test", Some(destination.app_id), destination.id)
        .await?;
    let request = connector
        .test(
            (edge.clock)(),
            &clock::random_uuid().to_string(),
            sample.as_ref(),
        )
        .map_err(refused)?;
    let tested = connector.describe_test(&(edge.send)(request.of(destination.app_id)).await);
    let ok = tested.is_ok();
    Ok(Json(Tested {
        ok,
        detail: connector.redact(&tested.unwrap_or_else(|why| why)),
    }))
}
