//! The dashboard: signing in, forged requests, what it shows and what it never shows.

mod alarms;
mod catalogue;
mod connect;
mod customers;
mod destinations;
mod events;
mod forms;
mod headers;
mod home;
mod live;
mod moving;
mod past;
mod purchases;
mod screens;
mod sign_in;
mod team;
mod twins;
pub mod visitor;
