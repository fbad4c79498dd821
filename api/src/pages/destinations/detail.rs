//! The view of a destination's settings. This module is pure.

use super::head::{Head, SETTINGS, Stands};
use super::view::{Sheet, old_secret};
use crate::action::{Action, Input, Mistake, labelled};
use crate::change::Mistakes;
use crate::described::{BASED_ON, Group};
use crate::frame::Frame;
use crate::text::amount;
use crate::visit::Visit;
use api::resources::forms::Form;
use askama::Template;
use domain::Timestamp;
use storage::{Destination, Role};

/// The destination whose settings are shown.
pub struct ViewedDestination<'d> {
    pub destination: &'d Destination,
    pub stands: Stands,
    /// Number of deliveries that are still pending for the destination.
    pub pending: i64,
    pub version: String,
    pub now: Timestamp,
}

#[derive(Template)]
#[template(path = "destinations/settings.html")]
pub struct SettingsPage<'a> {
    frame: &'a Frame,
    head: Head,
    sheet: Sheet,
    groups: Vec<Group>,
    mistakes: Vec<Mistake>,
    detail: Option<String>,
    is_form_wrong: bool,
    may_change: bool,
    actions: Vec<Action>,
}

impl<'a> SettingsPage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        subject: &ViewedDestination<'_>,
        groups: Vec<Group>,
        form: Form,
        mistakes: Mistakes,
    ) -> Self {
        let destination = subject.destination;
        let is_form_wrong = mistakes.is_of("settings");
        let reason = mistakes
            .sent
            .get("reason")
            .filter(|_| is_form_wrong)
            .unwrap_or_default()
            .to_owned();
        let may_change = frame.may(Role::Operator);
        let signs = form.guide.iter().any(|step| step.copy.is_some());
        let actions = if may_change {
            finals(subject, signs, &mistakes)
        } else {
            Vec::new()
        };
        Self {
            frame,
            head: Head::new(visit, destination, subject.stands, SETTINGS),
            groups,
            detail: mistakes.refused.detail.clone(),
            is_form_wrong,
            may_change,
            mistakes: labelled(&actions, mistakes.refused.fields.clone()),
            actions,
            sheet: Sheet {
                groups: Vec::new(),
                form,
                path: format!("/ui/destinations/{}/settings", destination.id),
                reason,
                mistakes: if is_form_wrong {
                    mistakes.refused.fields
                } else {
                    Vec::new()
                },
                detail: None,
            },
        }
    }
}

/// Returns the actions at the end of the page: rotating the secret, if requests are signed, and deleting the
/// destination.
fn finals(
    ViewedDestination {
        destination,
        pending,
        version,
        now,
        ..
    }: &ViewedDestination<'_>,
    signs: bool,
    mistakes: &Mistakes,
) -> Vec<Action> {
    let action = |name: &'static str, title, what: &str| {
        Action::new(
            format!("/ui/destinations/{}/{name}", destination.id),
            name,
            title,
            what,
            mistakes,
        )
    };
    let hours = [
        ("24", "1 day"),
        ("0", "not at all"),
        ("1", "1 hour"),
        ("48", "2 days"),
        ("168", "7 days"),
    ];
    let old = old_secret(&destination.settings, *now)
        .map_or_else(String::new, |until| format!(" {}", until.plain()));
    let what = format!(
        "Creates a new secret and shows it once. Until the old one expires, requests are signed with both. \
         After a leak choose `not at all`: it also ends secrets that were replaced earlier.{old}"
    );
    let rotate = action("rotate-secret", "New secret", &what);
    let rotate = rotate
        .with(Input::choice(
            "overlap_hours",
            "How long the old secret stays valid",
            &hours,
        ))
        .with(Input::text("secret", "Secret (leave empty to create one)").of("password"))
        .with(Input::text(BASED_ON, "").of("hidden").value(version));
    let pending = match pending {
        0 => String::new(),
        1 => " 1 pending delivery will never be sent.".to_owned(),
        pending => format!(
            " {} pending deliveries will never be sent.",
            amount(*pending)
        ),
    };
    let what = format!(
        "Deletes the destination with its settings and secrets.{pending} What was sent stays in the ledger. This \
         cannot be undone."
    );
    let delete = action("delete", "Delete", &what);
    let delete = delete
        .with(Input::text("name", "Type its name to confirm").required())
        .irrevocable();
    signs
        .then_some(rotate)
        .into_iter()
        .chain([delete])
        .collect()
}
