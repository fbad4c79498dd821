//! Extracts the parts of a request: path, query and body. The schema of a type is both its documentation and its check,
//! and one response lists all invalid fields. Each part also describes itself for `/openapi.json`.

mod body;
mod check;
mod fields;
pub mod formats;
mod listed;
mod patch;
mod path;
mod query;
pub mod shape;
#[cfg(test)]
mod tests;

pub use body::{Body, BodyLimit, Csv, Message, Unread};
pub use check::{Budget, FieldErrors, MAX_BYTES, is_plain, no_id, none_of, object};
pub use fields::{Draft, Fields, checked, drafted, drafted_by, nullable, part_by, schema, secret};
pub use listed::Listed;
pub use patch::{Patch, admit_null};
pub use path::{Id, Ids, Stored};
pub use query::{PageQuery, Query, typed};
