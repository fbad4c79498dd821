//! What an operator has set, as all other rooms read it. Changes are made in `admin`.

pub mod destinations;
pub mod listing;
