//! Alarms, which need a person, and the audit log: what persons, keys and scripts changed.

mod about;
mod view;

pub use about::About;

use super::Screen;
use super::change::{Refused, texts};
use super::form::Sent;
use super::frame::{Frame, PageAddress, shown};
use super::text::{quoted, with_query};
use super::visit::Visit;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, Id, drafted};
use crate::keys::{Acting, Caller};
use crate::resources::alarms as resources;
use crate::route::Route;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::AlarmId;
use storage::{AlarmFilter, AuditLogFilter, Page, Role};
use view::{AlarmsPage, AuditLogPage, Mistake};

/// Number of alarms or audit entries on a page.
const SHOWN: i64 = 50;

pub const SCREEN: Screen =
    Screen { name: "Alarms and audit log", path: "/ui/alarms", icon: "alarms", key: 'a', routes };

fn routes() -> Vec<Route> {
    vec![
        Route::page(Role::Read, "GET", "/ui/alarms", alarms).summary("What needs a person's attention."),
        Route::page(Role::Support, "POST", "/ui/alarms/{alarm_id}/acknowledge", acknowledge)
            .twin("POST /v1/alarms/{alarm_id}/acknowledge")
            .summary("Notes that a person knows of an alarm."),
        Route::page(Role::Read, "GET", "/ui/audit-log", audit_log).summary("What persons, keys and scripts changed."),
    ]
}

/// `GET /ui/alarms`: those that nobody acknowledged, or all with `?which=all`.
async fn alarms(state: State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    page(&state, &visit, caller, None).await
}

async fn page(
    State(edge): &State<Shared>,
    visit: &Visit,
    caller: Caller,
    mistake: Option<Mistake>,
) -> Result<Response, Error> {
    let is_all = visit.query("which").as_deref() == Some("all");
    let filter = AlarmFilter {
        app_id: caller.app(edge, visit.app).await?,
        open: (!is_all).then_some(true),
        ..AlarmFilter::default()
    };
    let mut found = edge.store.alarms_of(filter, Page { cursor: visit.query("cursor"), limit: SHOWN }).await?;
    if let Some(Mistake { alarm, .. }) = &mistake
        && !found.items.iter().any(|one| one.id == *alarm)
    {
        found.items.insert(0, edge.store.one_alarm(*alarm).await?);
    }
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Alarms".to_owned(),
        api: if is_all { "/v1/alarms".to_owned() } else { "/v1/alarms?open=true".to_owned() },
        command: if is_all { "settle alarm list".to_owned() } else { "settle alarm list --open".to_owned() },
        is_answer: mistake.is_some(),
    };
    let frame = Frame::of(edge, visit, place).await?;
    shown(visit, &AlarmsPage::new(&frame, visit, &found, is_all, mistake), &found)
}

/// `POST /ui/alarms/{alarm_id}/acknowledge`
async fn acknowledge(edge: Acting, visit: Visit, sent: Sent, Id(id): Id<AlarmId>) -> Result<Response, Error> {
    let (state, caller) = (State(Shared::clone(&edge)), edge.caller.clone());
    let Err(error) = note(edge, id, &sent).await else {
        return Ok(Redirect::to(&view::list(&visit)).into_response());
    };
    let Refused { status, fields, detail } = Refused::of(error)?;
    let expected = fields.into_iter().next().map(|wrong| wrong.expected);
    let entered = sent.get("reason").unwrap_or_default().to_owned();
    let page = page(&state, &visit, caller, Some(Mistake { alarm: id, expected, detail, entered })).await?;
    Ok((status, page).into_response())
}

/// Notes what was entered about an alarm, as the person saw it.
async fn note(edge: Acting, id: AlarmId, sent: &Sent) -> Result<(), Error> {
    let note = sent.reason().map_err(|wrong| Error::Invalid(vec![wrong]))?;
    let mut body = texts(sent, &["last_at"]);
    body.insert("note".to_owned(), note.into());
    resources::acknowledge(edge, Id(id), Body(drafted(body)?.finish()?)).await.map(drop)
}

/// `GET /ui/audit-log`
async fn audit_log(State(edge): State<Shared>, visit: Visit, caller: Caller) -> Result<Response, Error> {
    let filter = AuditLogFilter {
        app_id: caller.app(&edge, visit.app).await?,
        subject: visit.query("subject"),
        key_id: None,
        operation: visit.query("operation"),
    };
    let app = filter.app_id.map(|id| id.to_string()).unwrap_or_default();
    let (operation, subject) = (filter.operation.clone(), filter.subject.clone());
    let chosen = [
        ("app_id", app.as_str()),
        ("operation", operation.as_deref().unwrap_or_default()),
        ("subject", subject.as_deref().unwrap_or_default()),
    ];
    let found = edge.store.audit_log(filter.clone(), Page { cursor: visit.query("cursor"), limit: SHOWN }).await?;
    let place = PageAddress {
        screen: SCREEN.path,
        title: "Audit log".to_owned(),
        api: with_query("/v1/audit-log", &chosen),
        command: command(&chosen),
        ..PageAddress::default()
    };
    let frame = Frame::of(&edge, &visit, place).await?;
    shown(&visit, &AuditLogPage::new(&frame, &visit, &filter, &found), &found)
}

/// The command that lists the same audit entries.
fn command(chosen: &[(&str, &str)]) -> String {
    let filled = chosen.iter().filter(|(_, value)| !value.is_empty());
    let options = filled.map(|(name, value)| format!(" --{} {}", name.trim_end_matches("_id"), quoted(value)));
    std::iter::once("settle audit-log".to_owned()).chain(options).collect()
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_of_the_audit_log_has_its_filters() {
        assert_eq!(command(&[("app_id", ""), ("operation", ""), ("subject", "")]), "settle audit-log");
        let chosen = [("app_id", "a1"), ("operation", "key.create"), ("subject", "it's")];
        assert_eq!(command(&chosen), "settle audit-log --app a1 --operation key.create --subject 'it'\\''s'");
    }
}
