//! Forms that a kind of destination or a store describes: their fields for a template, and the submitted values as the
//! body of a request. A new kind of destination or a new store needs no template of its own.

mod body;
#[cfg(test)]
mod tests;
mod values;
mod view;

pub use body::{changes, creation, wrong_lines};
pub use values::values;
pub use view::{BASED_ON, Entered, Group, Known, groups, hash, inside};
