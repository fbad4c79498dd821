//! Tests of one part with real databases and services, and tests of the harness itself.

mod amazon;
mod api;
mod cli;
mod cli_accounting;
mod cli_customers;
mod cli_destinations;
mod cli_flags;
mod cli_keys;
mod cli_listen;
mod cli_money;
mod cli_postgres;
mod cli_run;
mod cli_secret_urls;
mod cli_settings;
mod cli_strangers;
mod compose;
#[path = "../fuzz/corpora.rs"]
mod corpora;
mod faults;
mod google;
mod harness_amplitude;
mod harness_chaos;
mod harness_play;
mod harness_postgres;
mod harness_processes;
mod harness_receiver;
mod harness_rvs;
mod harness_temporal;
mod listener;
mod mail;
mod migrating;
mod missing_key;
mod own_server;
mod ready;
mod responses;
mod storage;
