//! The stores that we hear. A store is a folder of one name here and a line in this list.

pub mod amazon;
