//! What people who mean harm do to the addresses that settle listens on, at a size that takes minutes, while a store
//! sends notifications: each is answered 200 within [`witness::MAX_MS`] and memory stays below [`witness::MAX_MIB`].
//! settle may have 1,024 descriptors. It is run by name, on the release binary and a machine that does nothing else:
//! `cargo test --release --workspace --test hostile -- --nocapture --test-threads=1`.

mod connections;
mod crowd;
mod devices;
mod operators;
mod requests;
mod scrapers;
mod strangers;
mod target;
mod witness;
