//! The forms of the team and of keys. Their fields are those of the API. This module is pure.

use super::{KEYS, SCREEN};
use crate::action::{Action, Input};
use crate::change::Mistakes;
use crate::frame::Frame;
use crate::visit::Visit;
use api::times::compact;
use domain::time::DAY;
use std::time::Duration;
use storage::{ApiKey, Role, SignIn};

/// Permissions of each role, in addition to those of the roles before it.
const ROLES: [(Role, &str); 5] = [
    (Role::Metrics, "metrics: read the metrics and nothing else"),
    (
        Role::Read,
        "read: see everything except secrets and notification URLs",
    ),
    (Role::Support, "support: help customers, resend events"),
    (
        Role::Operator,
        "operator: change platforms, destinations and the catalogue",
    ),
    (
        Role::Admin,
        "admin: create apps and keys, invite people, erase customers",
    ),
];

/// The choices for the maximum duration of a session, besides the longest that the settings allow.
const LIFETIMES: [Duration; 3] = [
    Duration::from_secs(3600),
    Duration::from_secs(4 * 3600),
    Duration::from_secs(8 * 3600),
];

/// The choices for the expiry of a key, in days.
const KEY_DAYS: [u32; 3] = [30, 90, 365];

/// Returns the form that invites a person.
pub fn invite(frame: &Frame, visit: &Visit, longest: Duration, mistakes: &Mistakes) -> Action {
    let what =
        "Creates a link that signs in one person. It works once and expires after ten minutes.";
    let shorter = LIFETIMES.iter().filter(|one| **one < longest);
    let shorter = shorter.map(|one| (one.as_secs().to_string(), compact(*one)));
    let choices =
        std::iter::once((String::new(), format!("{} (maximum)", compact(longest)))).chain(shorter);
    Action::new(visit.to(SCREEN.path), "invite", "Invite", what, mistakes)
        .with(Input::text("name", "Name").required())
        .with(role(Role::Read))
        .with(app(frame, visit))
        .with(Input {
            choices: choices.collect(),
            ..Input::text("lifetime_seconds", "Signed in for at most")
        })
}

/// Returns the form that creates a key.
pub fn create_key(frame: &Frame, visit: &Visit, mistakes: &Mistakes) -> Action {
    let what =
        "Give each person and program its own key, with the least privileged role that it needs.";
    let day = |days: u32| {
        let text = visit.now.plus(DAY.saturating_mul(days)).to_string();
        let day = text.split('T').next().unwrap_or_default();
        (
            format!("{day}T00:00:00Z"),
            format!("in {days} days, on {day}"),
        )
    };
    let choices = std::iter::once((String::new(), "never".to_owned())).chain(KEY_DAYS.map(day));
    let least = if visit.sign_in.app_id.is_none() {
        Role::Metrics
    } else {
        Role::Read
    };
    Action::new(visit.to(KEYS), "create-key", "Create a key", what, mistakes)
        .with(Input::text("name", "Name").required())
        .with(role(least).value(Role::Read.as_str()))
        .with(app(frame, visit))
        .with(Input {
            choices: choices.collect(),
            ..Input::text("expires_at", "Expires")
        })
}

/// Returns the form that signs a person out.
pub fn sign_out(visit: &Visit, one: &SignIn, mistakes: &Mistakes) -> Action {
    let path = visit.to(&format!("{}/sign-ins/{}/end", SCREEN.path, one.id));
    let what = format!(
        "Signs {} out immediately. To sign in again, they need another link or a key.",
        one.name
    );
    Action::new(path, format!("end-{}", one.id), "Sign out", &what, mistakes)
        .about(&one.name)
        .irrevocable()
}

/// Returns the form that revokes a key.
pub fn revoke(visit: &Visit, key: &ApiKey, mistakes: &Mistakes) -> Action {
    let path = visit.to(&format!("{KEYS}/{}/revoke", key.id));
    let own = if visit.sign_in.key_id == Some(key.id) {
        "Your own sign-in is one of them. "
    } else {
        ""
    };
    let what = format!(
        "Requests with {} are refused immediately, and all sign-ins started with it end. {own}This cannot be undone.",
        key.name
    );
    Action::new(
        path,
        format!("revoke-{}", key.id),
        "Revoke",
        &what,
        mistakes,
    )
    .about(&key.name)
    .irrevocable()
}

/// Returns the choice of a role, starting with the role `least`.
fn role(least: Role) -> Input {
    let choices = ROLES.iter().filter(|(role, _)| *role >= least);
    let choices = choices
        .map(|(role, label)| (role.as_str().to_owned(), (*label).to_owned()))
        .collect();
    Input {
        choices,
        ..Input::text("role", "Role").required()
    }
}

/// Returns the choice of an app. It includes all apps if the visitor has access to all.
fn app(frame: &Frame, visit: &Visit) -> Input {
    let all = visit
        .sign_in
        .app_id
        .is_none()
        .then(|| (String::new(), "All apps".to_owned()));
    let apps = frame
        .apps
        .iter()
        .map(|app| (app.id.clone(), app.name.clone()));
    let chosen = frame.app.as_deref().unwrap_or_default();
    Input {
        choices: all.into_iter().chain(apps).collect(),
        ..Input::text("app_id", "App")
    }
    .value(chosen)
}
