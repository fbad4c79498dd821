//! Reads the parts of a request into their types. A type's schema is documentation and check in one: all wrong
//! fields are reported at once. Each part also describes itself for the document of the API.

mod body;
mod check;
mod fields;
pub mod formats;
pub mod near;
mod path;
mod query;
mod shape;
#[cfg(test)]
mod tests;

pub use body::{Body, Csv, Message};
pub use check::FieldErrors;
pub use fields::{Draft, Fields, checked, nullable, secret};
pub use path::{Id, Ids, Stored};
pub use query::{PageQuery, Query};
