//! `/v1/device`: reports, logins and entitlements of apps on devices, authenticated by their platform's publishable
//! key.

mod claims;
pub mod client;
pub mod login;
mod ornaments;
mod request;
pub mod secret;
mod signed;

pub use login::{login, logout};

use crate::answer::{IfNoneMatch, Tagged};
use crate::devices::admission::QuotaKind;
use crate::devices::quota::DEVICE_BYTES;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Query, Unread};
use crate::resources::store_customer;
use axum::Json;
use axum::extract::State;
use client::Client;
use domain::stores::Proof as StoreProof;
use domain::user::ActiveEntitlement;
use domain::{DeviceId, DevicePlace, Timestamp, UserId};
use request::{Checked, DeviceEvents, EVENTS, Receipt, ReportContext};
use schemars::JsonSchema;
use secret::{Proof, Secret};
use serde::{Deserialize, Serialize};
use signed::{UNVERIFIED, limited};
use storage::{AcceptedReports, Claiming, DeviceAccess, DeviceUsage};
use tokio::time::Instant;

/// Device of the request.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DeviceQuery {
    /// Id of the device: the random UUID that the app generated.
    device_id: DeviceId,
}

/// Entitlements available on a device.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeviceEntitlements {
    /// Id of the device's own user, used as `user_id` in its events until a login or a verified claim. A logout changes
    /// it.
    device_user_id: UserId,
    /// Active entitlements, each listed once with the purchase that grants it longest.
    entitlements: Vec<DeviceEntitlement>,
}

/// An entitlement available on a device.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeviceEntitlement {
    /// Reference id: the entitlement's name in your own system.
    #[schemars(extend("examples" = ["premium"]))]
    entitlement_ref_id: String,
    /// Display name.
    name: String,
    /// When the purchase expires or renews; null if it does neither, or if the store has not confirmed it yet.
    expiration: Option<Timestamp>,
    /// SKU of the purchase.
    sku_ref_id: Option<String>,
    /// Store of the purchase.
    purchase_platform: String,
}

impl From<DeviceAccess> for DeviceEntitlements {
    fn from(access: DeviceAccess) -> Self {
        let entitlements = access
            .entitlements
            .into_iter()
            .map(DeviceEntitlement::from)
            .collect();
        Self {
            device_user_id: access.device_user_id,
            entitlements,
        }
    }
}

impl From<ActiveEntitlement> for DeviceEntitlement {
    fn from(one: ActiveEntitlement) -> Self {
        Self {
            entitlement_ref_id: one.entitlement_ref_id,
            name: one.name,
            expiration: one.expiration,
            sku_ref_id: one.sku_ref_id,
            purchase_platform: one.purchase_platform,
        }
    }
}

/// `POST /v1/device/events`
pub async fn report(
    State(edge): State<Shared>,
    client: Client,
    Secret(secret): Secret,
    body: Unread<DeviceEvents>,
) -> Result<Json<Receipt>, Error> {
    let (now, bytes) = ((edge.clock)(), body.bytes());
    edge.devices.quotas.check(
        client.reporter(),
        &[QuotaKind::Events, QuotaKind::Bytes],
        now,
    )?;
    let _place = edge.devices.admit(&edge.store, client.address, bytes)?;
    let received_at = Instant::now();
    let platform = client.platform.id;
    let limits = &edge.devices.limits;
    let claiming = if limits.may_claim(client.address, received_at) {
        Claiming::Stored
    } else {
        Claiming::Dropped
    };
    let context = ReportContext {
        platform,
        proof: store_customer::proof(&client.platform)?,
        secret,
        at: received_at,
        claiming,
        address: client.address,
    };
    let Checked {
        request,
        rejected,
        left_out,
    } = check(&edge, &client, context, body, now).await?;
    let (quotas, place) = (
        &edge.devices.quotas,
        DevicePlace {
            platform,
            device: request.device.id,
        },
    );
    let reporter = client.reporter();
    quotas
        .check_customer(&edge.store, reporter, place, now)
        .await?;
    let is_new = quotas
        .check_device(&edge.store, reporter, place, now)
        .await?;
    let receipts = request.reports.iter().flat_map(|report| &report.signed);
    let answers = signed::answers(receipts);
    let reports = edge.store.accept_reports(request).await?;
    quotas.count(place, reporter.network, used(&reports, is_new), now);
    let AcceptedReports {
        accepted,
        repeated,
        queued_for,
        claims,
        known,
        notified,
        ..
    } = reports;
    limits.count_claims(client.address, claims.new, received_at);
    claims::count(claims, known.len());
    count_events(accepted, repeated, rejected.len());
    let settings = &client.platform.settings;
    for (key, seq) in notified {
        edge.dispatch
            .notify(key, seq, settings.window_ms, settings.max_wait_ms);
    }
    let is_left = claims::decide(&edge, known, answers).await;
    if (claims.new > 0 || is_left) && client.platform.can_verify() {
        edge.dispatch.engine().verify_claims(platform);
    }
    queued_for
        .into_iter()
        .for_each(|destination| edge.dispatch.engine().stream(destination));
    Ok(Json(Receipt {
        accepted,
        repeated,
        rejected,
        left_out,
    }))
}

/// Checks a request on a thread for such work.
async fn check(
    edge: &Shared,
    client: &Client,
    context: ReportContext,
    body: Unread<DeviceEvents>,
    now: Timestamp,
) -> Result<Checked, Error> {
    let (shared, platform) = (edge.clone(), client.platform.clone());
    // A signature takes time to verify, however small the body is.
    let size = match context.proof {
        StoreProof::Signed => usize::MAX,
        StoreProof::Pair | StoreProof::Possession => body.bytes(),
    };
    let checked = edge.devices.checks.run(size, move || {
        let listed = body.read_beside(EVENTS)?;
        // An invalid request counts too.
        let place = DevicePlace {
            platform: platform.id,
            device: listed.draft.body.device.id,
        };
        shared.devices.count(place, context.secret.clone())?;
        let ingress = shared.stores.of(&platform.store);
        let read = |text: &str| {
            let receipt = ingress.and_then(|ingress| ingress.signed_receipt(&platform, text, now));
            receipt.unwrap_or(Err(UNVERIFIED))
        };
        request::check(context, listed, &limited(read))
    });
    checked.await
}

/// Adds the events of a request to the metrics.
fn count_events(accepted: usize, repeated: usize, rejected: usize) {
    for (result, number) in [
        ("accepted", accepted),
        ("repeated", repeated),
        ("rejected", rejected),
    ] {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        metrics::counter!("settle_device_events_total", "result" => result).increment(number);
    }
}

/// Returns what a request adds to its platform's daily usage.
fn used(reports: &AcceptedReports, is_new: bool) -> DeviceUsage {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let devices = i64::from(is_new);
    let bytes = number(reports.stored_bytes).saturating_add(devices * DEVICE_BYTES);
    DeviceUsage {
        events: number(reports.accepted),
        bytes,
        devices,
        users: 0,
    }
}

/// `GET /v1/device/entitlements?device_id=`: the entitlements that are available on a device.
pub async fn entitlements(
    State(edge): State<Shared>,
    Proof { client, secret }: Proof,
    Query(query): Query<DeviceQuery>,
    known: IfNoneMatch,
) -> Result<Tagged<DeviceEntitlements>, Error> {
    let _place = edge.devices.places.take(client.address)?;
    let place = DevicePlace {
        platform: client.platform.id,
        device: query.device_id,
    };
    edge.devices.count(place, Some(secret.clone()))?;
    let access = edge
        .store
        .device_access(client.platform.app_id, place, secret)
        .await?;
    Ok(Tagged {
        revision: None,
        body: access.into(),
        known,
    })
}
