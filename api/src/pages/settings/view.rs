//! What the screen of settings shows. Pure.

use crate::config::Setting;
use crate::pages::frame::Frame;
use crate::pages::parts::Moment;
use crate::pages::visit::Visit;
use crate::resources::about::About;
use askama::Template;
use domain::SignInId;
use storage::{Role, Session};

/// A group of settings: those with the same first part of their names.
pub struct Group {
    name: String,
    settings: Vec<Setting>,
}

pub struct SignedIn {
    id: SignInId,
    name: String,
    role: Role,
    began: Moment,
    used: Moment,
    ends: Moment,
    is_own: bool,
    /// What is wrong with the reason of its end, and what was entered.
    wrong: Option<(String, String)>,
}

/// Why a session was not ended.
pub struct Refusal {
    pub session: SignInId,
    /// What was expected as the reason.
    pub expected: String,
    pub entered: String,
}

#[derive(Template)]
#[template(path = "settings/page.html")]
pub struct SettingsPage<'a> {
    frame: &'a Frame,
    version: &'static str,
    temporal: Option<String>,
    groups: Vec<Group>,
    sessions: Vec<SignedIn>,
    own_ends: Moment,
    is_admin: bool,
}

impl<'a> SettingsPage<'a> {
    /// The screen over these facts. A session of one app is shown none of the settings, which are of all.
    #[must_use]
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        about: &About,
        sessions: Vec<Session>,
        refused: Option<Refusal>,
    ) -> Self {
        let is_of_all = visit.session.app_id.is_none();
        let holds = |one: &Session| one.finished_at.is_none() && visit.now < one.expires_at;
        let signed_in = |one: Session| SignedIn {
            is_own: one.id == visit.session.id,
            wrong: refused
                .as_ref()
                .filter(|of| of.session == one.id)
                .map(|of| (of.expected.clone(), of.entered.clone())),
            id: one.id,
            name: one.name,
            role: one.role,
            began: Moment::ago(one.created_at),
            used: Moment::ago(one.used_at),
            ends: Moment::at(one.expires_at),
        };
        Self {
            frame,
            version: about.version,
            temporal: about.temporal_ui.clone().filter(|_| is_of_all),
            groups: if is_of_all { groups(&about.settings) } else { Vec::new() },
            sessions: sessions.into_iter().filter(holds).map(signed_in).collect(),
            own_ends: Moment::at(visit.session.expires_at),
            is_admin: visit.session.role >= Role::Admin,
        }
    }
}

fn groups(settings: &[Setting]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for setting in settings {
        let name = setting.name.split_once('.').map_or("general", |(group, _)| group);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.settings.push(setting.clone()),
            None => groups.push(Group { name: name.to_owned(), settings: vec![setting.clone()] }),
        }
    }
    groups
}
