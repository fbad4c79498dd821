//! What the tests add to the program: what a kind of destination costs is its folder here, and its place in this list.

mod destination;

use api::Additions;

pub const ALL: Additions = Additions {
    kinds: &[&destination::Line],
    transports: &[&destination::Lines],
};
