#![doc = include_str!("../README.md")]

pub mod address;
pub mod destinations;
pub mod form;
pub mod http;
pub mod outgoing;
pub mod smtp;
pub mod stores;
pub mod wire;
