//! What the tests add to the program: what a store or a kind of destination costs is its folder here, and its places in
//! this list.

mod destination;
mod store;

use commands::Additions;

pub const ALL: Additions = Additions {
    stores: &[store::ENTRY],
    policies: &[&store::POLICY],
    kinds: &[&destination::Line],
    transports: &[&destination::Lines],
};
