//! `/v1/device`: what apps on devices report, with the publishable key of their platform.

pub mod login;

pub use login::{login, logout};

use crate::devices::client::Client;
use crate::devices::request::{self, Checked, DeviceEvents, Receipt};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Draft;
use axum::Json;
use axum::extract::State;
use domain::DevicePlace;
use storage::AcceptedReports;
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
    let Checked { request, rejected } = request::check(platform, draft, received_at)?;
    let AcceptedReports { accepted, repeated, owing } = edge.store.accept_reports(request).await?;
    for (result, number) in [("accepted", accepted), ("repeated", repeated), ("rejected", rejected.len())] {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        metrics::counter!("settle_device_events_total", "result" => result).increment(number);
    }
    owing.into_iter().for_each(|destination| edge.dispatch.engine().stream(destination));
    Ok(Json(Receipt { accepted, repeated, rejected }))
}
