//! The App Store: what Apple signs. It verifies no purchases yet.

pub mod chain;
pub mod jws;
mod root;

#[cfg(test)]
mod tests;
