//! Attacks on the addresses on which settle listens, at a size that takes minutes, while a store sends notifications:
//! each notification must be answered 200 within [`witness::MAX_MS`], and memory must stay below [`witness::MAX_MIB`].
//! settle may have 1,024 file descriptors. Run it by name, with the release binary and on an otherwise idle machine:
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
