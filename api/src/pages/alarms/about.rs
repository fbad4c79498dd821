//! The subject of an alarm, with its page. This module is pure.

use crate::catalogue::product_path;
use crate::frame::Frame;
use crate::text::counted;
use crate::visit::Visit;
use storage::{Alarm, Role};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Name of the customer, platform or destination.
    pub name: String,
    /// The page that shows what to do.
    pub path: String,
}

impl About {
    /// Returns the customer, platform or destination that an alarm is about; `None` if it concerns all apps.
    pub fn of(alarm: &Alarm, visit: &Visit) -> Option<Self> {
        if let Some(path) = customer(alarm, visit) {
            return Some(Self {
                name: "the customer".to_owned(),
                path,
            });
        }
        let name = alarm.about.clone()?;
        page(alarm).map(|path| Self {
            name,
            path: visit.to(&path),
        })
    }
}

/// Returns the form that adds the product which the alarm reports as missing, for visitors who may add it.
pub fn missing_product(alarm: &Alarm, visit: &Visit, frame: &Frame) -> Option<String> {
    let (app, sku) = (alarm.app_id?, alarm.unlisted_sku()?);
    frame
        .may(Role::Operator)
        .then(|| visit.to(&product_path(app, sku)))
}

/// Returns the number of customers that an alarm currently affects.
pub fn customers(alarm: &Alarm) -> Option<String> {
    alarm.customers.map(|number| counted(number, "customer"))
}

/// Returns the page of the customer that an alarm is about.
fn customer(alarm: &Alarm, visit: &Visit) -> Option<String> {
    let (app, user) = (alarm.app_id?, alarm.gathering_user()?);
    Some(visit.to(&format!("/ui/customers/{app}/{user}")))
}

fn page(alarm: &Alarm) -> Option<String> {
    let rest = if alarm.kind.starts_with("topic") {
        "/topics"
    } else {
        ""
    };
    let platform = alarm
        .platform_id
        .map(|id| format!("/ui/connect/platforms/{id}{rest}"));
    platform.or_else(|| {
        alarm
            .destination_id
            .map(|id| format!("/ui/destinations/{id}"))
    })
}
