//! Naming a customer.

use super::{page, path};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Ids, Stored};
use crate::keys::{Acting, Caller};
use crate::pages::change::{Refused, reasoned, texts};
use crate::pages::form::Sent;
use crate::pages::visit::Visit;
use crate::resources::customers::{self, NamedCustomer};
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{AppId, UserId};

const FIELDS: [&str; 4] = ["external_id", "app_user_id", "receipt_id", "analytics_device_id"];

/// `POST /ui/customers/{app_id}/{user_id}`. Another user who has the name already is shown from then on.
pub async fn name(
    edge: Acting,
    State(shared): State<Shared>,
    visit: Visit,
    caller: Caller,
    sent: Sent,
    Ids(app, user): Ids<AppId, UserId>,
) -> Result<Response, Error> {
    let stored = shared.store.app(app).await?;
    let result = match reasoned::<NamedCustomer>(&sent, texts(&sent, &FIELDS)) {
        Ok(draft) => customers::name(edge, Stored(stored), draft).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(named) => Ok(Redirect::to(&visit.to(&format!("{}?done=named", path(app, named.0.user_id)))).into_response()),
        Err(error) => {
            let refused = Refused::of(error)?;
            let page = page(&shared, &visit, &caller, app, user, (&sent, &refused)).await?;
            Ok((refused.status, page).into_response())
        }
    }
}
