//! The tests' additions to the program. Adding a store or a kind of destination takes a folder in this test and an
//! entry in these lists.

mod destination;
mod store;

use commands::Additions;

pub const ALL: Additions = Additions {
    stores: &[store::ENTRY],
    policies: &[&store::POLICY],
    kinds: &[&destination::Line],
    transports: &[&destination::Lines],
};
