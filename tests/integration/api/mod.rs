//! The HTTP API with a real database and an engine that records signals.

mod accounting;
mod actions;
mod adopting;
mod alike;
mod audit_log;
mod destinations;
mod device_secrets;
mod devices;
mod dispatching;
mod document;
mod edge;
mod forms;
mod google_platforms;
mod keys;
mod logins;
mod names;
mod new_store;
mod nobody;
mod pages;
mod people;
mod quotas;
mod refusals;
mod resources;
mod states;
mod trouble;
mod watching;
