//! Changes by an admin: apps, platforms, the catalogue, customers, rates, sales, and retention. A change causes a
//! recheck of everything that it concerns.

pub mod adopt;
pub mod apps;
pub mod catalogue;
pub mod customers;
pub mod destinations;
pub mod platforms;
pub mod purchases;
pub mod rates;
pub mod retention;
pub mod sales;
