//! The HTTP edge with a real storage behind it and an engine that records what it is told.

mod actions;
mod dispatching;
mod edge;
mod refusals;
mod resources;
