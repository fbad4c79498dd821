//! Moving purchases to another customer. The effects are shown first, and exactly these happen. A new customer is
//! created only if the visitor ticks a box, because an unknown id is usually mistyped.

use super::address::{PATH, path};
use super::forms::STORE_PURCHASE;
use super::page::{late_now, show_user};
use crate::change::{Mistakes, Refused};
use crate::form::Sent;
use crate::frame::{Frame, PageAddress, html};
use crate::parts::{Code, Sentence};
use crate::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::Ids;
use api::resources::naming::{MergedCustomer, counted};
use api::resources::transfers::{self, MovePreview};
use api::shell::quoted;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::{AppId, UserId};
use serde_json::{Map, Value, json};
use storage::{CustomerKey, Owner};

/// The fields of the first form that the confirming form repeats.
const REPEATED: [&str; 3] = ["from", STORE_PURCHASE, "external_id"];
/// Value that matches no preview: the first form always shows one, whatever the move would do.
const NONE: &str = "none";

struct Side {
    title: &'static str,
    path: String,
    own: Option<Code>,
    stores: Vec<Code>,
    id: Code,
    purchases: String,
}

#[derive(Template)]
#[template(path = "customers/move.html")]
pub struct MovePage<'a> {
    frame: &'a Frame,
    path: String,
    back: String,
    external_id: String,
    sides: Vec<Side>,
    /// Whether the id is unknown, so that a customer would be created.
    is_new: bool,
    moving: String,
    events: Vec<String>,
    /// The destinations that receive the change late.
    late: Option<Sentence>,
    fields: Vec<(&'static str, String)>,
    preview: String,
    reason: String,
    wrong_reason: Option<String>,
    refused: Refused,
}

impl<'a> MovePage<'a> {
    fn new(
        frame: &'a Frame,
        visit: &Visit,
        of: (AppId, UserId),
        preview: MovePreview,
        mistakes: Mistakes,
    ) -> Self {
        let ((app, user), Mistakes { sent, refused, .. }) = (of, mistakes);
        let side = |title, of: &MergedCustomer| Side {
            title,
            path: visit.to(&path(app, of.user_id)),
            own: of.external_id.as_ref().map(Code::short),
            stores: of.app_user_ids.iter().map(Code::short).collect(),
            id: Code::short(of.user_id),
            purchases: counted(of.purchases),
        };
        let sides = std::iter::once(side("The customer who loses them", &preview.from));
        let text = |name: &str| sent.get(name).unwrap_or_default().to_owned();
        Self {
            path: format!("{}/move", path(app, user)),
            back: visit.to(&path(app, user)),
            external_id: text("external_id"),
            is_new: preview.to.is_none(),
            moving: counted(preview.purchases),
            events: preview
                .events
                .iter()
                .map(|(name, number)| format!("{number} {name}"))
                .collect(),
            sides: sides
                .chain(
                    preview
                        .to
                        .iter()
                        .map(|to| side("The customer who gets them", to)),
                )
                .collect(),
            fields: REPEATED
                .iter()
                .filter_map(|name| Some((*name, sent.get(name)?.to_owned())))
                .collect(),
            late: None,
            reason: text("reason"),
            wrong_reason: refused.wrong("reason"),
            // The first form is refused so that this page can show what the move would do; the refusal itself is not
            // shown.
            refused: if sent.get("preview").is_some() {
                refused
            } else {
                Refused::default()
            },
            preview: preview.id,
            frame,
        }
    }
}

/// Moves only what the preview showed, and creates a customer only if the box is ticked.
pub fn only_as_shown(sent: &Sent, body: &mut Map<String, Value>) {
    body.insert(
        "preview".to_owned(),
        sent.get("preview").unwrap_or(NONE).into(),
    );
    body.insert(
        "create".to_owned(),
        (sent.get("create") == Some("true")).into(),
    );
}

/// Returns the customer to move as the API identifies them. The form has `external_id/ID`, `app_user_id/ID` or
/// `receipt_id/ID`, or the store's id of a purchase.
pub fn source(sent: &Sent) -> Option<(&str, &str)> {
    let purchase = sent.get(STORE_PURCHASE).map(|id| (STORE_PURCHASE, id));
    purchase.or_else(|| Some(sent.get("from")?.split_once('/').unwrap_or_default()))
}

/// Shows the move that a form would make, with the form that confirms it. If nothing can be moved, shows the customer's
/// page with the errors in its form.
pub async fn confirm(
    State(edge): State<Shared>,
    visit: Visit,
    Ids(app, user): Ids<AppId, UserId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let sent = &mistakes.sent;
    let is_wanted =
        mistakes.refused.status == StatusCode::CONFLICT || sent.get("preview").is_some();
    let wanted = source(sent)
        .and_then(|(field, id)| key(field, id))
        .zip(sent.get("external_id"))
        .filter(|_| is_wanted);
    let planned = match wanted {
        Some((customer, to)) => transfers::planned(&edge, app, customer, to.to_owned())
            .await
            .ok(),
        None => None,
    };
    let Some(preview) = planned else {
        return show_user(&edge, &visit, Ids(app, user), mistakes).await;
    };
    let (field, id) = source(sent).unwrap_or_default();
    let to = sent.get("external_id").unwrap_or_default();
    let body = json!({ "from": { field: id }, "external_id": to });
    let flag = field
        .trim_end_matches("_id")
        .replace("external", "external-id")
        .replace("app_user", "app-user-id");
    let place = PageAddress {
        screen: PATH,
        title: "Move".to_owned(),
        api: format!("POST /v1/apps/{app}/customers/move/preview {body}"),
        command: format!(
            "settle customer move --app {app} --{flag}={} --to={} --dry-run",
            quoted(id),
            quoted(to)
        ),
        is_answer: true,
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    let page = MovePage::new(&frame, &visit, (app, user), preview, mistakes);
    let late = late_now(&edge, app).await?;
    html(&MovePage { late, ..page })
}

fn key(field: &str, id: &str) -> Option<CustomerKey> {
    Some(match field {
        "external_id" => CustomerKey::ExternalId(id.to_owned()),
        "app_user_id" => CustomerKey::Owner(Owner::AppUser(id.to_owned())),
        STORE_PURCHASE => CustomerKey::Owner(Owner::Receipt(id.to_owned())),
        _ => return None,
    })
}
