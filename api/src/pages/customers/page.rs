//! The page of one customer, with the errors in one of its forms.

use super::address::PATH;
use super::day::PastDay;
use super::record::CustomerRecord;
use super::transfers::undone;
use super::view::CustomerPage;
use crate::change::{Mistakes, Refused};
use crate::frame::{Frame, PageAddress, shown};
use crate::notice::Notice;
use crate::parts::Sentence;
use crate::visit::Visit;
use api::edge::{Edge, Shared};
use api::error::Error;
use api::extract::Ids;
use api::resources::customer_day::CustomerDay;
use api::resources::customer_detail::destinations_of;
use api::resources::explain::customer::{ExplainedCustomer, explained};
use api::resources::undelivered::delayed;
use axum::extract::State;
use axum::response::Response;
use domain::{AppId, UserId};

/// `GET /ui/customers/{app_id}/{user_id}`
pub async fn show(
    State(edge): State<Shared>,
    visit: Visit,
    of: Ids<AppId, UserId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    show_user(&edge, &visit, of, mistakes).await
}

/// Returns the page of a customer, with the errors in one of its forms.
pub async fn show_user(
    edge: &Edge,
    visit: &Visit,
    Ids(app, user): Ids<AppId, UserId>,
    mistakes: Mistakes,
) -> Result<Response, Error> {
    let record = CustomerRecord::of(edge, app, user).await?;
    let explained = explained_event(edge, visit, &record).await?;
    let past = past(edge, visit, &record).await?;
    let place = PageAddress {
        screen: PATH,
        title: "Customer".to_owned(),
        api: format!("/v1/apps/{app}/customers/{user}"),
        command: format!("settle customer show --app {app} --user-id {user}"),
        is_answer: mistakes.is_answer(),
    };
    let detail = &record.read.detail;
    let transfers = detail.transfers.iter().map(|one| &one.transfer);
    let undone = || undone(transfers, visit.now).map(Notice::good);
    let undone = Notice::is_of(visit, "undone").then(undone).flatten();
    let late = ["move", "move-other-case", "undone"]
        .iter()
        .any(|done| Notice::is_of(visit, done));
    let late = delayed(&record.read.destinations).filter(|_| late);
    let mut frame = Frame::of(edge, visit, place).await?.announcing(undone);
    frame.notice = frame.notice.map(|notice| Notice {
        detail: late.as_deref().map(Sentence::new),
        ..notice
    });
    let page = CustomerPage::new(&frame, visit, &record, explained)
        .seen(past)
        .with(visit, &record, &mistakes);
    shown(visit, &page, detail)
}

/// Returns the app's destinations that receive a change late, as sentences; `None` if all receive it at once.
pub async fn late_now(edge: &Edge, app: AppId) -> Result<Option<Sentence>, Error> {
    let destinations = destinations_of(edge, app).await?;
    Ok(delayed(&destinations).as_deref().map(Sentence::new))
}

/// Returns the customer's state at the end of the day in the address, if there is one.
async fn past(
    edge: &Edge,
    visit: &Visit,
    record: &CustomerRecord,
) -> Result<Option<PastDay>, Error> {
    let Some(on) = visit.query("on") else {
        return Ok(None);
    };
    let found = CustomerDay::of(edge, record.app.id, record.user(), on.clone()).await;
    Ok(Some(match found {
        Ok(day) => PastDay::new(visit, day),
        Err(error) => {
            let Refused { fields, .. } = Refused::of(error)?;
            let expected = fields.first().map(|wrong| wrong.expected.as_str());
            PastDay::wrong(on, expected.unwrap_or_default())
        }
    }))
}

/// Returns why a destination did not receive events of a type about the customer, if the address requests it.
async fn explained_event(
    edge: &Edge,
    visit: &Visit,
    record: &CustomerRecord,
) -> Result<Option<ExplainedCustomer>, Error> {
    let wanted = visit.query("destination_id");
    let found = record
        .read
        .destinations
        .iter()
        .find(|one| Some(one.id.to_string()) == wanted);
    let Some(destination) = found else {
        return Ok(None);
    };
    let event_type = visit.query("type").unwrap_or_default();
    let explained = explained(edge, record.user(), destination, event_type).await?;
    Ok(Some(explained))
}
