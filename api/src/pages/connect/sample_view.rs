//! The view of a sample. This module is pure.

use super::listed::entered;
use super::progress::ConnectStep;
use super::steps::Connected;
use super::view::Head;
use crate::change::{Mistakes, Refused};
use crate::frame::Frame;
use crate::parts::Sentence;
use crate::text::{PURCHASE_ID, capital};
use crate::visit::Visit;
use api::stores::purchase_id;
use askama::Template;
use domain::CollapseKey;
use storage::Role;

pub struct SampleType {
    name: &'static str,
    meaning: &'static str,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "connect/sample.html")]
pub struct SamplePage<'a> {
    frame: &'a Frame,
    head: Head,
    path: String,
    first_path: String,
    types: Vec<SampleType>,
    why: Option<Sentence>,
    may_send: bool,
    sent: Option<String>,
    /// Label of the input for a purchase's id.
    purchase_id: &'static str,
    purchase: String,
    customer: String,
    wrong_type: Option<String>,
    wrong_purchase: Option<String>,
    wrong_customer: Option<String>,
    reason: String,
    wrong_reason: Option<String>,
    refused: Refused,
}

impl<'a> SamplePage<'a> {
    /// Returns the page of a platform, with the types of its samples, or with the reason why it accepts none.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        of: &Connected,
        types: &'static [(&'static str, &'static str)],
        why: Option<String>,
    ) -> Self {
        let of_type = |(name, meaning): &(&'static str, &'static str)| SampleType {
            name,
            meaning,
            is_chosen: false,
        };
        Self {
            head: of.head(visit, ConnectStep::Sample),
            path: of.path(visit, "/sample"),
            first_path: of.path(visit, "/first"),
            types: types.iter().map(of_type).collect(),
            why: why.map(|why| Sentence::new(&capital(&why))),
            may_send: frame.may(Role::Operator),
            sent: None,
            purchase_id: purchase_id(&of.platform.store).unwrap_or(PURCHASE_ID),
            purchase: String::new(),
            customer: String::new(),
            wrong_type: None,
            wrong_purchase: None,
            wrong_customer: None,
            reason: String::new(),
            wrong_reason: None,
            refused: Refused::default(),
            frame,
        }
    }

    /// Adds the purchase of the sample that was sent, and the errors in the form.
    #[must_use]
    pub fn with(mut self, sent: Option<CollapseKey>, mistakes: &Mistakes) -> Self {
        for one in &mut self.types {
            one.is_chosen = mistakes.sent.get("type") == Some(one.name);
        }
        Self {
            sent: sent.map(|key| format!("/ui/purchases/{key}")),
            purchase: entered(&mistakes.sent, "receipt_id"),
            customer: entered(&mistakes.sent, "app_user_id"),
            wrong_type: mistakes.refused.wrong("type"),
            wrong_purchase: mistakes.refused.wrong("receipt_id"),
            wrong_customer: mistakes.refused.wrong("app_user_id"),
            reason: entered(&mistakes.sent, "reason"),
            wrong_reason: mistakes.refused.wrong("reason"),
            refused: mistakes.refused.clone(),
            ..self
        }
    }
}
