//! The HTTP edge with a real storage behind it and an engine that records what it is told.

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
