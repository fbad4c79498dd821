//! The harness: everything that a test needs to use settle from outside, created for each test and removed afterwards.
//!
//! A test talks to running programs through the public HTTP API, signed SNS messages, a webhook receiver and the
//! Temporal server; it never calls settle's code to check a result. Only [`wait`] sleeps. Expectations are *not* here
//! but in the tests, except for the invariants of every test ([`invariants`]).

pub mod amplitude;
pub mod appstore;
pub mod backup;
pub mod browser;
pub mod calendar;
pub mod clock;
pub mod collector;
pub mod compose;
pub mod contract;
pub mod decoded;
pub mod deliveries;
pub mod destinations;
pub mod devices;
pub mod distance;
pub mod documents;
pub mod faulty;
pub mod findings;
pub mod finish;
pub mod folder;
pub mod gate;
pub mod histories;
pub mod history;
pub mod http;
pub mod invariants;
pub mod leases;
pub mod load;
pub mod machine;
pub mod mailbox;
pub mod play;
pub mod pooler;
pub mod ports;
pub mod postgres;
pub mod postgres_pair;
pub mod process;
pub mod promises;
pub mod random;
pub mod raw;
pub mod reaper;
pub mod receiver;
pub mod records;
pub mod released;
pub mod rest;
pub mod rows;
pub mod runs;
pub mod rvs;
pub mod samples;
pub mod script;
pub mod shared;
pub mod signature;
pub mod sns;
pub mod stored;
pub mod subscription;
pub mod tally;
pub mod template;
pub mod temporal;
pub mod wait;
pub mod world;
