//! The HTTP edge with a real storage behind it and an engine that records its signals.

mod accounting;
mod actions;
mod adopting;
mod destinations;
mod dispatching;
mod document;
mod edge;
mod people;
mod refusals;
mod resources;
