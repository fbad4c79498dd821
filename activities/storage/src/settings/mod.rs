//! The operator's settings, as all other rooms read them. `admin` changes them.

pub mod app_lock;
pub mod credential;
pub mod destinations;
pub mod listing;
pub mod rates;
pub mod tombstones;
pub mod unnamed;

use schemars::Schema;

/// Removes the default from the schema of a field, because the default depends on more than the field.
pub fn without_default(schema: &mut Schema) {
    schema.remove("default");
}
