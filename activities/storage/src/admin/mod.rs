//! What an admin changes: apps, platforms, the catalogue, customers, rates, sales, and how long bodies are kept. A change
//! has everything looked at again that it concerns.

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
