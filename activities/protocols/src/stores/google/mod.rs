//! Google Play's Developer API, version 3: subscriptions, one-time purchases and their orders.
//!
//! See <https://developers.google.com/android-publisher>. What is shown is a [`shown::ShownPurchase`].

pub mod customer;
pub mod money;
pub mod order;
pub mod product;
pub mod shown;
pub mod subscription;

#[cfg(test)]
mod tests;
