//! The search for a customer.

use super::address::{PATH, path};
use super::view::SearchPage;
use crate::change::Refused;
use crate::form::{Form, Sent};
use crate::frame::{Frame, PageAddress, shown};
use crate::search::{body, command, suggestion};
use crate::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::keys::Caller;
use api::resources::customers::Customer;
use api::resources::search::{Search, customers};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;

/// Returns the address of the search page, with the text that was searched for.
fn place(sent: Option<&Sent>) -> PageAddress {
    let q = sent.and_then(|sent| sent.get("q")).unwrap_or("ID");
    let app = sent.and_then(|sent| sent.get("app_id")?.parse().ok());
    PageAddress {
        screen: PATH,
        title: "Customers".to_owned(),
        api: format!("POST /v1/search {}", body(q, app)),
        command: command(q, app),
        is_answer: sent.is_some(),
    }
}

/// `GET /ui/customers`
pub async fn form(State(edge): State<Shared>, visit: Visit) -> Result<Response, Error> {
    let frame = Frame::of(&edge, &visit, place(None)).await?;
    shown(
        &visit,
        &SearchPage::new(&frame, String::new(), None, None),
        &json!({ "items": [] }),
    )
}

/// `POST /ui/customers`
pub async fn find(
    State(edge): State<Shared>,
    visit: Visit,
    caller: Caller,
    sent: Sent,
    wanted: Result<Form<Search>, Error>,
) -> Result<Response, Error> {
    let q = sent.get("q").unwrap_or_default().to_owned();
    let refused = match wanted {
        Ok(Form(wanted)) => {
            let app = caller.app(&edge, wanted.app_id).await?;
            let mut found = customers(&edge, &wanted.q, app).await?;
            let meant = found.did_you_mean.take();
            let meant = suggestion(&edge, &visit, meant, app).await?;
            if let ([(app, one)], false) = (&found.all[..], found.is_beginning) {
                return Ok(Redirect::to(&visit.to(&path(app.id, one.user_id))).into_response());
            }
            let frame = Frame::of(&edge, &visit, place(Some(&sent))).await?;
            let items: Vec<&Customer> = found.all.iter().map(|(_, one)| one).collect();
            let data = json!({ "items": items });
            return shown(
                &visit,
                &SearchPage::new(&frame, q, Some(found), meant),
                &data,
            );
        }
        Err(error) => Refused::of(error)?,
    };
    let frame = Frame::of(&edge, &visit, place(Some(&sent))).await?;
    let page = SearchPage::new(&frame, q, None, None).refused(refused);
    Ok((
        StatusCode::BAD_REQUEST,
        shown(&visit, &page, &json!({ "items": [] }))?,
    )
        .into_response())
}
