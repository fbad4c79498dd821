//! The fuzz targets, one module each. `check` accepts any bytes, and panics if a law is violated.

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

/// An input that outsiders control.
pub struct Target {
    /// Name of the target and of its folder in `corpus`.
    pub name: &'static str,
    /// Checks one input.
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

/// Returns the first line of an input, and the rest.
fn lines(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
