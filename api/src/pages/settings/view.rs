//! The view of the settings. This module is pure.

use crate::frame::Frame;
use crate::parts::Moment;
use crate::visit::Visit;
use api::config::Setting;
use api::resources::about::About;
use askama::Template;

/// A group of settings: those with the same first part of their names.
pub struct Group {
    name: String,
    settings: Vec<SettingRow>,
}

/// A setting, with its names split at the places where a line may break.
struct SettingRow {
    name: Vec<&'static str>,
    variable: Vec<&'static str>,
    value: String,
}

impl SettingRow {
    fn new(setting: &Setting) -> Self {
        let parts = |name: &'static str| name.split_inclusive(['_', '.']).collect();
        Self {
            name: parts(setting.name),
            variable: parts(setting.variable),
            value: setting.value.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "settings/page.html")]
pub struct SettingsPage<'a> {
    frame: &'a Frame,
    version: &'static str,
    temporal: Option<String>,
    groups: Vec<Group>,
    own_ends: Moment,
}

impl<'a> SettingsPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, about: &About) -> Self {
        Self {
            frame,
            version: about.version,
            temporal: about.temporal_ui.clone(),
            groups: groups(about.settings.as_deref().unwrap_or_default()),
            own_ends: Moment::at(visit.sign_in.expires_at),
        }
    }
}

fn groups(settings: &[Setting]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for setting in settings {
        let name = setting
            .name
            .split_once('.')
            .map_or("general", |(group, _)| group);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.settings.push(SettingRow::new(setting)),
            None => groups.push(Group {
                name: name.to_owned(),
                settings: vec![SettingRow::new(setting)],
            }),
        }
    }
    groups
}
