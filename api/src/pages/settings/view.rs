//! What the screen of settings shows. Pure.

use crate::config::Setting;
use crate::pages::action::Action;
use crate::pages::change::{Mistakes, Refused};
use crate::pages::frame::Frame;
use crate::pages::parts::Moment;
use crate::pages::visit::Visit;
use crate::resources::about::About;
use askama::Template;
use storage::{Role, SignIn};

/// A group of settings: those with the same first part of their names.
pub struct Group {
    name: String,
    settings: Vec<Setting>,
}

pub struct SignedIn {
    name: String,
    role: Role,
    began: Moment,
    used: Moment,
    ends: Moment,
    /// What ends it; none for the visitor's own.
    end: Option<Action>,
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
    is_signed_out: bool,
    refused: Refused,
}

impl<'a> SettingsPage<'a> {
    /// The screen over these facts. A sign-in of one app is shown none of the settings, which are of all.
    pub fn new(frame: &'a Frame, visit: &Visit, about: &About, sign_ins: Vec<SignIn>, mistakes: &Mistakes) -> Self {
        let is_of_all = visit.sign_in.app_id.is_none();
        let holds = |one: &SignIn| one.finished_at.is_none() && visit.now < one.expires_at;
        let signed_in = |one: SignIn| SignedIn {
            end: (one.id != visit.sign_in.id).then(|| end(&one, mistakes)),
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
            is_signed_out: visit.query("done").as_deref() == Some("end"),
            refused: mistakes.refused.clone(),
        }
    }
}

fn end(one: &SignIn, mistakes: &Mistakes) -> Action {
    let path = format!("/ui/settings/sign-ins/{}/end", one.id);
    let what = format!("Signs {} out.", one.name);
    Action::new(path, format!("end-{}", one.id), "Sign out", &what, mistakes).about(&one.name).irrevocable()
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
