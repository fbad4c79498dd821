//! `POST /v1/device/login` and `POST /v1/device/logout`: the customer who uses the app on a device.

use super::request::{ANALYTICS_DEVICE_ID, is_random};
use super::secret::Proof;
use crate::devices::token::{self, Expected};
use crate::edge::{Edge, Shared};
use crate::error::{Error, Field};
use crate::extract::{Unread, secret};
use crate::resources::naming::hidden_in;
use axum::Json;
use axum::extract::State;
use domain::device::Device;
use domain::{DeviceId, DevicePlace, UserId};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use storage::{DeviceUsage, LoggedIn, Login, Platform, SecretHash};

/// A customer's login in the app.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "device": {
        "id": "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11", "first_launch": "2026-03-01T11:58:00Z", "app_version": "3.1.0",
        "os": { "name": "fireos", "version": "8" }, "sdk_version": "web/1",
    },
    "external_id": "anna@example.com",
}]))]
pub struct DeviceLogin {
    /// Device of the login.
    device: Device,
    /// The customer's external id: a UUID, a SHA-256 hash, or any other text.
    #[schemars(length(min = 1, max = 512), extend("x-identifies" = true))]
    external_id: String,
    /// JSON Web Token from the app's own server, with this id as `sub`; required if the platform has a login secret.
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    token: Option<SecretString>,
}

/// A customer's logout in the app.
#[derive(Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "device": {
        "id": "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11", "first_launch": "2026-03-01T11:58:00Z", "app_version": "3.1.0",
        "os": { "name": "fireos", "version": "8" }, "sdk_version": "web/1",
    },
}]))]
pub struct DeviceLogout {
    /// Device of the logout.
    device: Device,
}

/// A stored login. The response does not reveal whether the customer was known or what moved, because the publishable
/// key is enough to log in.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LoggedInDevice {
    /// Id of the device's own user, used in its events before the first login. A logout changes it.
    device_user_id: UserId,
    /// The customer's external id.
    external_id: String,
    /// Probable mistakes in the request, one sentence each; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// The anonymous user of a device after a logout.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LoggedOutDevice {
    /// Id of the device's own user, used in its events from now on.
    device_user_id: UserId,
}

/// `POST /v1/device/login`
pub async fn login(
    State(edge): State<Shared>,
    Proof { client, secret }: Proof,
    body: Unread<DeviceLogin>,
) -> Result<Json<LoggedInDevice>, Error> {
    let now = (edge.clock)();
    let _place = edge
        .devices
        .admit(&edge.store, client.address, body.bytes())?;
    let mut draft = edge
        .devices
        .checks
        .run(body.bytes(), move || body.read())
        .await?;
    // A login does not depend on this field.
    let left_out = draft.wrong.take(ANALYTICS_DEVICE_ID);
    let place = place(&edge, &client.platform, draft.body.device.id, &secret)?;
    if !draft.wrong.has("device.id") && !is_random(place.device) {
        draft.wrong.add("device.id", RANDOM_ID);
    }
    let DeviceLogin {
        device,
        external_id,
        token,
    } = draft.finish()?;
    let expected = Expected {
        external_id: &external_id,
        device: place.device,
        now,
    };
    let is_signed = prove(&edge, &client.platform, token, expected).await?;
    let (quotas, reporter) = (&edge.devices.quotas, client.reporter());
    let is_new = quotas
        .check_device(&edge.store, reporter, place, now)
        .await?;
    let is_named = quotas
        .check_user(&edge.store, reporter, &external_id, now)
        .await?;
    let login = Login {
        place,
        device,
        secret,
        external_id: external_id.clone(),
        is_signed,
    };
    let LoggedIn { device_user_id, .. } = edge.store.login(login).await?;
    let (devices, users) = (i64::from(is_new), i64::from(is_named));
    quotas.count(
        place,
        reporter.network,
        DeviceUsage {
            devices,
            users,
            ..DeviceUsage::default()
        },
        now,
    );
    edge.wake_for_persons();
    if !is_signed && client.platform.unsigned_login_at.is_none() {
        edge.store
            .note_unsigned_login(client.platform.app_id, client.platform.id)
            .await?;
    }
    let left_out = left_out
        .map(|Field { field, expected }| format!("`{field}` was left out: expected {expected}"));
    let warnings = hidden_in(&external_id)
        .into_iter()
        .chain(left_out)
        .collect();
    Ok(Json(LoggedInDevice {
        device_user_id,
        external_id,
        warnings,
    }))
}

/// `POST /v1/device/logout`
pub async fn logout(
    State(edge): State<Shared>,
    Proof { client, secret }: Proof,
    body: Unread<DeviceLogout>,
) -> Result<Json<LoggedOutDevice>, Error> {
    let _place = edge
        .devices
        .admit(&edge.store, client.address, body.bytes())?;
    let mut draft = edge
        .devices
        .checks
        .run(body.bytes(), move || body.read())
        .await?;
    // A logout does not depend on this field.
    draft.wrong.take(ANALYTICS_DEVICE_ID);
    let place = place(&edge, &client.platform, draft.body.device.id, &secret)?;
    if !draft.wrong.has("device.id") && !is_random(place.device) {
        draft.wrong.add("device.id", RANDOM_ID);
    }
    let DeviceLogout { device } = draft.finish()?;
    Ok(Json(LoggedOutDevice {
        device_user_id: edge.store.logout(place, device, secret).await?,
    }))
}

const RANDOM_ID: &str = "a random UUID (version 4) that the app generated at its first launch";

/// Counts a request of a device against its limits, and returns the device.
fn place(
    edge: &Edge,
    platform: &Platform,
    device: DeviceId,
    secret: &SecretHash,
) -> Result<DevicePlace, Error> {
    let place = DevicePlace {
        platform: platform.id,
        device,
    };
    edge.devices.count(place, Some(secret.clone()))?;
    Ok(place)
}

/// Checks the token of a login. Returns whether the app's own server signed the login.
///
/// # Errors
/// The platform requires signed logins, and the token is missing or invalid.
async fn prove(
    edge: &Edge,
    platform: &Platform,
    token: Option<SecretString>,
    expected: Expected<'_>,
) -> Result<bool, Error> {
    let Some(secret) = edge.store.login_secret(platform.id).await? else {
        return Ok(false);
    };
    let token = token.ok_or(Error::LoginToken(
        "it is missing, and this platform accepts only signed logins",
    ))?;
    token::check(token.expose_secret(), &secret, expected).map_err(Error::LoginToken)?;
    Ok(true)
}
