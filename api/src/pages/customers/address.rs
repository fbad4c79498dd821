//! Where the pages of customers stand.

use crate::pages::visit::Visit;
use domain::{AppId, CollapseKey, UserId};

/// The search for a customer.
pub const PATH: &str = "/ui/customers";

/// The page of a customer.
pub fn path(app: AppId, user: UserId) -> String {
    format!("{PATH}/{app}/{user}")
}

/// The page of a purchase.
pub fn purchase_path(visit: &Visit, key: CollapseKey) -> String {
    visit.to(&format!("/ui/purchases/{key}"))
}
