//! The settings of operators, as all other rooms read them. Changes are made in `admin`.

pub mod destinations;
pub mod listing;
