//! What the pages of one destination show beside its overview: what was sent to it, and its settings. Pure.

use super::head::{DELIVERIES, Head, RESEND, SETTINGS, SETTINGS_FORM, notice};
use super::view::Sheet;
use crate::error::Field;
use crate::pages::action::{Action, Input, Mistakes};
use crate::pages::described::{BASED_ON, Group};
use crate::pages::frame::Frame;
use crate::pages::parts::{Badge, Code, Moment, Sentence};
use crate::pages::text::{amount, delivery_status, with_query};
use crate::pages::visit::Visit;
use crate::resources::forms::Form;
use askama::Template;
use storage::{DeliveryStatus, DeliveryView, Destination, Paged, Role};

/// The statuses of deliveries, in the order of the filter.
const STATUSES: [DeliveryStatus; 6] = [
    DeliveryStatus::Pending,
    DeliveryStatus::Waiting,
    DeliveryStatus::Delivered,
    DeliveryStatus::Superseded,
    DeliveryStatus::Skipped,
    DeliveryStatus::Failed,
];

pub struct DeliveryListRow {
    path: String,
    name: String,
    id: Code,
    status: Badge,
    attempts: i64,
    error: Option<Sentence>,
    at: Moment,
    due: Option<Moment>,
}

pub struct Chosen {
    value: &'static str,
    label: Badge,
    is_on: bool,
}

#[derive(Template)]
#[template(path = "destinations/deliveries.html")]
pub struct DeliveriesPage<'a> {
    frame: &'a Frame,
    head: Head,
    rows: Vec<DeliveryListRow>,
    statuses: Vec<Chosen>,
    has_filter: bool,
    older: Option<String>,
    all: String,
    resend: String,
}

impl<'a> DeliveriesPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, head: Head, found: &Paged<DeliveryView>, status: &str) -> Self {
        let path = format!("/ui/destinations/{}{DELIVERIES}", head.id);
        let older = |cursor: &String| visit.to(&with_query(&path, &[("status", status), ("cursor", cursor)]));
        let chosen = |one: DeliveryStatus| Chosen {
            value: one.as_str(),
            label: delivery_status(one),
            is_on: one.as_str() == status,
        };
        Self {
            frame,
            rows: found.items.iter().map(|one| row(one, visit)).collect(),
            statuses: STATUSES.map(chosen).into(),
            has_filter: !status.is_empty(),
            older: found.next_cursor.as_ref().map(older),
            all: visit.to(&path),
            resend: head.page(RESEND, visit),
            head,
        }
    }
}

fn row(one: &DeliveryView, visit: &Visit) -> DeliveryListRow {
    DeliveryListRow {
        path: visit.to(&format!("/ui/deliveries/{}", one.id)),
        name: one.event_type.clone(),
        id: Code::short(one.id),
        status: delivery_status(one.status),
        attempts: one.attempts,
        error: one.last_error.as_deref().map(Sentence::new),
        at: Moment::ago(one.finished_at.unwrap_or(one.created_at)),
        due: one.next_due_at.filter(|_| one.status == DeliveryStatus::Pending).map(Moment::until),
    }
}

/// The destination whose settings are shown.
pub struct Subject<'d> {
    pub destination: &'d Destination,
    /// Number of deliveries that are still pending for it.
    pub pending: i64,
    pub version: String,
}

#[derive(Template)]
#[template(path = "destinations/settings.html")]
pub struct SettingsPage<'a> {
    frame: &'a Frame,
    head: Head,
    sheet: Sheet,
    groups: Vec<Group>,
    mistakes: Vec<Field>,
    detail: Option<String>,
    is_form_wrong: bool,
    may_change: bool,
    actions: Vec<Action>,
    notice: Option<&'static str>,
}

impl<'a> SettingsPage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        subject: &Subject<'_>,
        groups: Vec<Group>,
        form: Form,
        mistakes: Mistakes,
    ) -> Self {
        let destination = subject.destination;
        let is_form_wrong = mistakes.action == SETTINGS_FORM;
        let reason = mistakes.sent.get("reason").filter(|_| is_form_wrong).unwrap_or_default().to_owned();
        let may_change = frame.may(Role::Operator);
        let signs = form.guide.iter().any(|step| step.copy.is_some());
        Self {
            frame,
            head: Head::new(visit, destination, SETTINGS),
            groups,
            actions: if may_change { finals(subject, signs, &mistakes) } else { Vec::new() },
            detail: mistakes.detail.clone(),
            is_form_wrong,
            may_change,
            notice: visit.query("done").as_deref().and_then(notice),
            mistakes: mistakes.fields.clone(),
            sheet: Sheet {
                groups: Vec::new(),
                form,
                path: format!("/ui/destinations/{}/settings", destination.id),
                reason,
                mistakes: if is_form_wrong { mistakes.fields } else { Vec::new() },
                detail: None,
            },
        }
    }
}

/// What replaces its secret, if its requests are signed, and what deletes it.
fn finals(Subject { destination, pending, version }: &Subject<'_>, signs: bool, mistakes: &Mistakes) -> Vec<Action> {
    let action = |name: &'static str, title, what: &str| {
        Action::new(format!("/ui/destinations/{}/{name}", destination.id), name, title, what, mistakes)
    };
    let hours = [("24", "1 day"), ("0", "not at all"), ("1", "1 hour"), ("48", "2 days"), ("168", "7 days")];
    let rotate = action(
        "rotate-secret",
        "New secret",
        "A new secret is made and shown once. Until the old one ends, requests carry a signature of each.",
    );
    let rotate = rotate
        .with(Input::choice("overlap_hours", "How long the old one signs too", &hours))
        .with(Input::text("secret", "Secret (empty: a new one is made)").of("password"))
        .with(Input::text(BASED_ON, "").of("hidden").value(version));
    let pending = match pending {
        0 => String::new(),
        1 => " 1 delivery that is still pending is never sent.".to_owned(),
        pending => format!(" {} deliveries that are still pending are never sent.", amount(*pending)),
    };
    let what = format!(
        "Deletes the destination with its settings and secrets.{pending} What was sent stays in the ledger. This \
         cannot be taken back."
    );
    let delete = action("delete", "Delete", &what);
    let delete = delete.with(Input::text("name", "Its name, to confirm").required()).irrevocable();
    signs.then_some(rotate).into_iter().chain([delete]).collect()
}
