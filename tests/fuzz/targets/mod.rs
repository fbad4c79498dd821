//! The fuzzed inputs, one module each. `check` takes any bytes, and panics where its oracle does not hold.

mod address;
mod admin;
mod cursor;
mod decide;
mod device;
mod envelope;
mod notification;
mod retry_after;
mod rvs;
mod search;
mod world;

/// An input that people outside control.
pub struct Target {
    /// Its name: that of its folder in `corpus`.
    pub name: &'static str,
    /// Reads one input.
    pub check: fn(&[u8]),
}

pub const TARGETS: [Target; 10] = [
    Target {
        name: "envelope",
        check: envelope::check,
    },
    Target {
        name: "notification",
        check: notification::check,
    },
    Target {
        name: "rvs",
        check: rvs::check,
    },
    Target {
        name: "retry_after",
        check: retry_after::check,
    },
    Target {
        name: "device",
        check: device::check,
    },
    Target {
        name: "admin",
        check: admin::check,
    },
    Target {
        name: "cursor",
        check: cursor::check,
    },
    Target {
        name: "search",
        check: search::check,
    },
    Target {
        name: "address",
        check: address::check,
    },
    Target {
        name: "decide",
        check: decide::check,
    },
];

/// Returns the first line of an input, and what follows it.
fn lines(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
