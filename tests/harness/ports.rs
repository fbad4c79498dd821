//! Free ports for programs that are configured with a port.
//!
//! The ports are below 32768: the system assigns higher ones by itself, and Temporal stores ports in PostgreSQL as
//! `smallint`. Parallel test processes share them with lock files: a process holds a block of ports until it ends, so
//! that the port of a program that is down or restarting stays reserved.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

const LOWEST: u16 = 20_000;
const BLOCKS: u16 = 399;
const PORTS: u16 = 32;

/// The blocks of ports that this process holds.
struct Blocks {
    /// Number of the block to try next.
    next: u16,
    /// Ports of the current block that have not been returned yet.
    left: std::ops::Range<u16>,
    locked: Vec<File>,
}

static BLOCKS_OF_PROCESS: Mutex<Blocks> = Mutex::new(Blocks {
    next: 0,
    left: 0..0,
    locked: Vec::new(),
});

/// Returns a port of 127.0.0.1 that nothing listens on, and that no other call returns, in this test process or
/// another.
///
/// # Panics
/// When no port is free.
pub fn free() -> u16 {
    let mut blocks = BLOCKS_OF_PROCESS
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    loop {
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        if let Some(port) = blocks.left.find(is_free) {
            return port;
        }
        blocks.add();
    }
}

impl Blocks {
    fn add(&mut self) {
        while self.next < BLOCKS {
            let number = self.next;
            self.next += 1;
            let path = std::env::temp_dir().join(format!("settle-test-ports-{number}"));
            // Another user's file cannot be opened: that block is taken too.
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path);
            if let Ok(file) = file
                && file.try_lock().is_ok()
            {
                self.locked.push(file);
                let first = LOWEST + number * PORTS;
                self.left = first..first + PORTS;
                return;
            }
        }
        panic!("no free port of 127.0.0.1 from {LOWEST} on");
    }
}
