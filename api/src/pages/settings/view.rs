//! What the screen of settings shows. Pure.

use crate::config::Setting;
use crate::pages::frame::Frame;
use crate::pages::parts::Moment;
use crate::pages::visit::Visit;
use crate::resources::about::About;
use askama::Template;
use domain::SignInId;
use storage::{Role, SignIn};

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

/// Why a sign-in was not ended.
pub struct Refusal {
    pub sign_in: SignInId,
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
    sign_ins: Vec<SignedIn>,
    own_ends: Moment,
    is_admin: bool,
}

impl<'a> SettingsPage<'a> {
    /// The screen over these facts. A sign-in of one app is shown none of the settings, which are of all.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        about: &About,
        sign_ins: Vec<SignIn>,
        refused: Option<Refusal>,
    ) -> Self {
        let is_of_all = visit.sign_in.app_id.is_none();
        let holds = |one: &SignIn| one.finished_at.is_none() && visit.now < one.expires_at;
        let signed_in = |one: SignIn| SignedIn {
            is_own: one.id == visit.sign_in.id,
            wrong: refused
                .as_ref()
                .filter(|of| of.sign_in == one.id)
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
            sign_ins: sign_ins.into_iter().filter(holds).map(signed_in).collect(),
            own_ends: Moment::at(visit.sign_in.expires_at),
            is_admin: visit.sign_in.role >= Role::Admin,
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
