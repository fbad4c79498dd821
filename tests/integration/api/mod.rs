//! The HTTP edge with a real storage behind it and an engine that records what it is told.

mod actions;
mod adopting;
mod dispatching;
mod edge;
mod people;
mod refusals;
mod resources;
