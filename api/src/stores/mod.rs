//! The ingress of each store. A store is a folder here and a line in this list.

pub mod amazon;

pub use amazon::report::{Report as SalesReport, Wrong as WrongSale, write as sales_part};

/// The transactions of a store's sales report.
///
/// # Errors
/// Everything that is wrong in it.
pub fn sales_report(bytes: &[u8]) -> Result<SalesReport, Vec<WrongSale>> {
    amazon::report::read(bytes)
}
