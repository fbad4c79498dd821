//! Naming a customer by the id of another customer. Both are shown, and they are merged only as shown.

use super::address::{PATH, path};
use super::forms::STORE_PURCHASE;
use super::page::{late_now, show_user};
use crate::change::{Mistakes, Refused, texts};
use crate::form::Sent;
use crate::frame::{Frame, PageAddress, html};
use crate::parts::{Code, Sentence};
use crate::visit::Visit;
use api::edge::Shared;
use api::error::Error;
use api::extract::Ids;
use api::resources::naming::{self, Merge, MergedCustomer, NamingPreview, counted};
use api::shell::quoted;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::{AppId, UserId};
use serde_json::{Map, Value};
use storage::{CustomerNames, Owner};

/// The fields of the first form that the confirming form repeats.
const REPEATED: [&str; 4] = [
    "app_user_id",
    STORE_PURCHASE,
    "external_id",
    "analytics_device_id",
];

struct Side {
    title: &'static str,
    path: String,
    own: Option<Code>,
    stores: Vec<Code>,
    id: Code,
    purchases: String,
}

#[derive(Template)]
#[template(path = "customers/merge.html")]
pub struct MergePage<'a> {
    frame: &'a Frame,
    path: String,
    back: String,
    external_id: String,
    sides: [Side; 2],
    owned: String,
    all: String,
    events: Vec<String>,
    /// The destinations that receive the change late.
    late: Option<Sentence>,
    fields: Vec<(&'static str, String)>,
    preview: String,
    reason: String,
    wrong_reason: Option<String>,
    refused: Refused,
}

/// A merge that waits for confirmation, and the form that requested it.
struct Shown {
    app: AppId,
    user: UserId,
    preview: String,
    merge: Merge,
    mistakes: Mistakes,
}

impl<'a> MergePage<'a> {
    fn new(frame: &'a Frame, visit: &Visit, shown: Shown) -> Self {
        let Shown {
            app,
            user,
            preview,
            merge,
            mistakes: Mistakes { sent, refused, .. },
        } = shown;
        let side = |title, of: &MergedCustomer| Side {
            title,
            path: visit.to(&path(app, of.user_id)),
            own: of.external_id.as_ref().map(Code::short),
            stores: of.app_user_ids.iter().map(Code::short).collect(),
            id: Code::short(of.user_id),
            purchases: counted(of.purchases),
        };
        let text = |name: &str| sent.get(name).unwrap_or_default().to_owned();
        Self {
            path: path(app, user),
            back: visit.to(&path(app, user)),
            external_id: text("external_id"),
            owned: counted(merge.to.purchases),
            all: counted(merge.from.purchases + merge.to.purchases),
            events: merge
                .events
                .iter()
                .map(|(name, number)| format!("{number} {name}"))
                .collect(),
            sides: [
                side("This customer", &merge.from),
                side("The customer who has the id", &merge.to),
            ],
            fields: REPEATED
                .iter()
                .filter_map(|name| Some((*name, sent.get(name)?.to_owned())))
                .collect(),
            late: None,
            reason: text("reason"),
            wrong_reason: refused.wrong("reason"),
            // The first form is refused because of the merge. This page explains the merge, so it does not show that
            // refusal.
            refused: if sent.get("preview").is_some() {
                refused
            } else {
                Refused::default()
            },
            preview,
            frame,
        }
    }
}

/// Shows the merge that naming the customer would cause, with the form that confirms it. Without a merge, shows the
/// customer's page with the errors in its form.
pub async fn confirm(
    State(edge): State<Shared>,
    visit: Visit,
    Ids(app, user): Ids<AppId, UserId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let sent = &mistakes.sent;
    let is_wanted =
        mistakes.refused.status == StatusCode::CONFLICT || sent.get("preview").is_some();
    let wanted = wanted(sent).filter(|_| is_wanted);
    let found = match wanted {
        Some((owner, names)) => naming::planned(&edge, app, owner, names).await.ok(),
        None => None,
    };
    let Some(NamingPreview {
        id,
        merge: Some(merge),
        ..
    }) = found.as_ref().map(NamingPreview::from)
    else {
        return show_user(&edge, &visit, Ids(app, user), mistakes).await;
    };
    let body: Map<String, Value> = texts(sent, &REPEATED);
    let place = PageAddress {
        screen: PATH,
        title: "Merge".to_owned(),
        api: format!(
            "PUT /v1/apps/{app}/customers?dry_run=true {}",
            Value::Object(body)
        ),
        command: command(app, sent),
        is_answer: true,
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    let page = MergePage::new(
        &frame,
        &visit,
        Shown {
            app,
            user,
            preview: id,
            merge,
            mistakes,
        },
    );
    let late = late_now(&edge, app).await?;
    html(&MergePage { late, ..page })
}

/// Returns the owner that a form identifies, and the names that it gives.
fn wanted(sent: &Sent) -> Option<(Owner, CustomerNames)> {
    let owner = sent
        .get("app_user_id")
        .map(|id| Owner::AppUser(id.to_owned()));
    let owner = owner.or_else(|| {
        sent.get(STORE_PURCHASE)
            .map(|id| Owner::Receipt(id.to_owned()))
    })?;
    Some((owner, CustomerNames::from(sent.get("external_id")?)))
}

fn command(app: AppId, sent: &Sent) -> String {
    let id = |name: &str| quoted(sent.get(name).unwrap_or_default());
    let owner = match sent.get("app_user_id") {
        Some(_) => format!("--app-user-id={}", id("app_user_id")),
        None => format!("--receipt={}", id(STORE_PURCHASE)),
    };
    format!(
        "settle customer name --app {app} --external-id={} {owner} --dry-run",
        id("external_id")
    )
}
