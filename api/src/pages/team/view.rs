//! The views of the team and of keys. This module is pure.

use super::forms::{create_key, invite, revoke, sign_out};
use super::{KEYS, SCREEN};
use crate::action::{Action, Mistake, labelled};
use crate::cell::Cell;
use crate::change::Mistakes;
use crate::frame::Frame;
use crate::once::{Once, ShownOnce};
use crate::parts::{Badge, Moment, Sentence, Tab, Tabs, Tone};
use crate::visit::Visit;
use askama::Template;
use domain::AppId;
use std::time::Duration;
use storage::{ApiKey, Role, SignIn};

/// A person who is signed in.
pub struct SignedIn {
    name: String,
    role: Role,
    app: String,
    began: Moment,
    used: Moment,
    ends: Moment,
    /// Action that signs the person out; `None` for the visitor's own session.
    end: Option<Action>,
}

#[derive(Template)]
#[template(path = "team/people.html")]
pub struct PeoplePage<'a> {
    frame: &'a Frame,
    tabs: Tabs,
    people: Vec<SignedIn>,
    actions: Vec<Action>,
    secrets: Vec<Once>,
    mistakes: Vec<Mistake>,
    detail: Option<String>,
}

impl<'a> PeoplePage<'a> {
    /// Returns the page of these sessions, which may last up to `longest`.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        all: Vec<SignIn>,
        longest: Duration,
        mistakes: Mistakes,
        once: &ShownOnce,
    ) -> Self {
        let person = |one: SignIn| SignedIn {
            end: (one.id != visit.sign_in.id).then(|| sign_out(visit, &one, &mistakes)),
            app: app(frame, one.app_id),
            name: one.name,
            role: one.role,
            began: Moment::ago(one.created_at),
            used: Moment::ago(one.used_at),
            ends: Moment::at(one.expires_at),
        };
        let people: Vec<SignedIn> = all.into_iter().map(person).collect();
        let actions = vec![invite(frame, visit, longest, &mistakes)];
        let wrong = mistakes.refused.fields;
        Self {
            frame,
            tabs: tabs(visit, SCREEN.path),
            mistakes: labelled(
                actions
                    .iter()
                    .chain(people.iter().filter_map(|one| one.end.as_ref())),
                wrong,
            ),
            people,
            actions,
            secrets: link(visit, once).into_iter().collect(),
            detail: mistakes.refused.detail,
        }
    }

    /// Returns whether anyone other than the visitor is signed in.
    fn has_others(&self) -> bool {
        self.people.iter().any(|one| one.end.is_some())
    }
}

/// Returns the link that was just created.
fn link(visit: &Visit, once: &ShownOnce) -> Option<Once> {
    let (path, expires) = (once.text("path")?, once.text("expires_at")?);
    let person = once.sent.get("name").unwrap_or_default();
    let role = once.sent.get("role").unwrap_or_default();
    let link = once.text("url");
    let reach = match visit.origin.as_str() {
        _ if link.is_some() => "",
        "" => " Put the address of this dashboard in front of it.",
        // A browser accepts the cookie without TLS only from this machine.
        origin if origin.starts_with("http://") => {
            " It works only on this machine, as this dashboard does."
        }
        _ => "",
    };
    Some(Once {
        label: format!("Link for {person}, with the role {role}"),
        value: link.map_or_else(|| format!("{}{path}", visit.origin), str::to_owned),
        note: Some(Sentence::new(&format!(
            "It works once, until {expires}. Send it only to that person.{reach}"
        ))),
    })
}

/// A key that was not revoked.
pub struct KeyRow {
    name: String,
    role: Role,
    app: String,
    created: Moment,
    used: Cell,
    expires: Cell,
    revoke: Action,
}

#[derive(Template)]
#[template(path = "team/keys.html")]
pub struct KeysPage<'a> {
    frame: &'a Frame,
    tabs: Tabs,
    keys: Vec<KeyRow>,
    actions: Vec<Action>,
    secrets: Vec<Once>,
    mistakes: Vec<Mistake>,
    detail: Option<String>,
}

impl<'a> KeysPage<'a> {
    /// Returns the page of the keys among these that were not revoked.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        all: &[ApiKey],
        mistakes: Mistakes,
        once: &ShownOnce,
    ) -> Self {
        let key = |one: &ApiKey| KeyRow {
            name: one.name.clone(),
            role: one.role,
            app: app(frame, one.app_id),
            created: Moment::at(one.created_at),
            used: Cell::or(one.last_used_at, "never"),
            expires: match one.expires_at {
                Some(end) if end <= visit.now => {
                    Cell::from(Badge::new(Tone::Idle, "expired")).and(Some(end))
                }
                end => Cell::or(end.map(Moment::at), "never"),
            },
            revoke: revoke(visit, one, &mistakes),
        };
        let keys: Vec<KeyRow> = all
            .iter()
            .filter(|one| one.revoked_at.is_none())
            .map(key)
            .collect();
        let actions = vec![create_key(frame, visit, &mistakes)];
        let wrong = mistakes.refused.fields;
        Self {
            frame,
            tabs: tabs(visit, KEYS),
            mistakes: labelled(
                actions.iter().chain(keys.iter().map(|one| &one.revoke)),
                wrong,
            ),
            keys,
            actions,
            secrets: created(once).into_iter().collect(),
            detail: mistakes.refused.detail,
        }
    }
}

/// Returns the key that was just created.
fn created(once: &ShownOnce) -> Option<Once> {
    let (key, name, role) = (once.text("key")?, once.text("name")?, once.text("role")?);
    let note =
        "Use it as the bearer token for the API, or as `SETTLE_ADMIN_TOKEN` for the command line.";
    Some(Once {
        label: format!("Key {name}, with the role {role}"),
        value: key.to_owned(),
        note: Some(Sentence::new(note)),
    })
}

/// Returns the tabs of the screen.
fn tabs(visit: &Visit, current: &str) -> Tabs {
    let tab = |(label, path): (&'static str, &str)| Tab {
        label,
        path: visit.to(path),
        is_current: path == current,
    };
    Tabs::new(
        "Team and keys",
        [("Team", SCREEN.path), ("API keys", KEYS)].map(tab),
    )
}

/// Returns the display name of an app.
fn app(frame: &Frame, app: Option<AppId>) -> String {
    let Some(id) = app.map(|id| id.to_string()) else {
        return "All apps".to_owned();
    };
    frame
        .apps
        .iter()
        .find(|app| app.id == id)
        .map_or(id, |app| app.name.clone())
}
