//! The addresses of the customer pages.

use crate::visit::Visit;
use domain::{AppId, CollapseKey, UserId};

/// The search for a customer.
pub const PATH: &str = "/ui/customers";

/// Address of a customer's page.
pub fn path(app: AppId, user: UserId) -> String {
    format!("{PATH}/{app}/{user}")
}

/// Address of a purchase's page.
pub fn purchase_path(visit: &Visit, key: CollapseKey) -> String {
    visit.to(&format!("/ui/purchases/{key}"))
}
