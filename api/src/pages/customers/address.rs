//! The addresses of the customer pages.

use crate::visit::Visit;
use domain::{AppId, CollapseKey, UserId};

/// Path of the search for a customer.
pub const PATH: &str = "/ui/customers";

/// Returns the path of a customer's page.
pub fn path(app: AppId, user: UserId) -> String {
    format!("{PATH}/{app}/{user}")
}

/// Returns the path of a purchase's page.
pub fn purchase_path(visit: &Visit, key: CollapseKey) -> String {
    visit.to(&format!("/ui/purchases/{key}"))
}
