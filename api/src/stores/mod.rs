//! The ingress of each store. A store is a folder here, a line in this list, and an arm in the methods of
//! [`crate::edge::Edge`].

pub mod amazon;

use protocols::form::Form;

pub use amazon::report::{Report as SalesReport, Wrong as WrongSale, write as sales_part};

/// The form of each store's platforms, with the steps at the store.
pub fn forms() -> Vec<Form> {
    vec![amazon::form::form()]
}

/// A store's name for people.
pub fn name(store: &str) -> &str {
    match store {
        amazon::STORE => "Amazon",
        other => other,
    }
}

/// Reads the transactions of a store's sales report.
///
/// # Errors
/// Every wrong place of the report.
pub fn sales_report(bytes: &[u8]) -> Result<SalesReport, Vec<WrongSale>> {
    amazon::report::read(bytes)
}
