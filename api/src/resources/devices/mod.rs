//! `/v1/device`: what apps on devices report, with the publishable key of their platform.

pub mod login;

pub use login::{login, logout};

use crate::devices::client::Client;
use crate::devices::request::{self, Checked, DeviceEvents, Receipt, Reception};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Draft;
use axum::Json;
use axum::extract::State;
use domain::DevicePlace;
use storage::{AcceptedReports, Claiming};
use tokio::time::Instant;

/// `POST /v1/device/events`
pub async fn report(
    State(edge): State<Shared>,
    client: Client,
    draft: Draft<DeviceEvents>,
) -> Result<Json<Receipt>, Error> {
    let received_at = Instant::now();
    let platform = client.platform.id;
    // A request that is wrong counts too.
    let place = DevicePlace { platform, device: draft.body.device.id };
    edge.devices.limits.check_device(place).map_err(|wait| Error::TooMany { what: "this device", wait })?;
    let limits = &edge.devices.limits;
    let claiming = if limits.may_claim(client.address, received_at) { Claiming::Stored } else { Claiming::Dropped };
    let Checked { request, rejected } = request::check(Reception { platform, at: received_at, claiming }, draft)?;
    let AcceptedReports { accepted, repeated, owing, claims } = edge.store.accept_reports(request).await?;
    limits.count_claims(client.address, claims.new, received_at);
    for (result, number) in [("stored", claims.new), ("dropped", claims.dropped)] {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        metrics::counter!("settle_claims_total", "result" => result).increment(number);
    }
    for (result, number) in [("accepted", accepted), ("repeated", repeated), ("rejected", rejected.len())] {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        metrics::counter!("settle_device_events_total", "result" => result).increment(number);
    }
    if claims.new > 0 && client.platform.can_verify() {
        edge.dispatch.engine().verify_claims(platform);
    }
    owing.into_iter().for_each(|destination| edge.dispatch.engine().stream(destination));
    Ok(Json(Receipt { accepted, repeated, rejected }))
}
