//! The views of a platform's settings and deletion. This module is pure.

use super::listed::entered;
use super::progress::ConnectStep;
use super::steps::Connected;
use super::view::Head;
use crate::cell::Fact;
use crate::change::{Mistakes, Refused};
use crate::described::Group;
use crate::frame::Frame;
use crate::visit::Visit;
use askama::Template;

#[derive(Template)]
#[template(path = "connect/settings.html")]
pub struct SettingsPage<'a> {
    frame: &'a Frame,
    head: Head,
    path: String,
    /// The fields of the form; empty for a visitor who may not change them.
    groups: Vec<Group>,
    /// The values, for a visitor who may not change them.
    facts: Vec<Fact>,
    mistakes: Vec<api::error::Field>,
    refused: Refused,
    reason: String,
    wrong_reason: Option<String>,
}

impl<'a> SettingsPage<'a> {
    /// Returns the page of a platform's settings.
    pub fn new(frame: &'a Frame, visit: &Visit, of: &Connected, mistakes: &Mistakes) -> Self {
        Self {
            head: of.head(visit, ConnectStep::Platform),
            path: of.path(visit, "/settings"),
            mistakes: mistakes.refused.fields.clone(),
            refused: Refused {
                fields: Vec::new(),
                ..mistakes.refused.clone()
            },
            reason: entered(&mistakes.sent, "reason"),
            wrong_reason: mistakes.refused.wrong("reason"),
            groups: Vec::new(),
            facts: Vec::new(),
            frame,
        }
    }

    /// Adds the fields of the form.
    #[must_use]
    pub fn with(self, groups: Vec<Group>) -> Self {
        Self { groups, ..self }
    }

    /// Shows values instead of the form.
    #[must_use]
    pub fn read_only(self, facts: Vec<Fact>) -> Self {
        Self { facts, ..self }
    }
}

#[derive(Template)]
#[template(path = "connect/delete.html")]
pub struct DeletePage<'a> {
    frame: &'a Frame,
    head: Head,
    path: String,
    back: String,
    reason: String,
    wrong_reason: Option<String>,
    refused: Refused,
}

impl<'a> DeletePage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, of: &Connected, mistakes: &Mistakes) -> Self {
        Self {
            head: of.head(visit, ConnectStep::Platform),
            path: of.path(visit, "/delete"),
            back: of.path(visit, ""),
            reason: entered(&mistakes.sent, "reason"),
            wrong_reason: mistakes.refused.wrong("reason"),
            refused: mistakes.refused.clone(),
            frame,
        }
    }
}
