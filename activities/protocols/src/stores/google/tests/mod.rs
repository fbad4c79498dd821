//! The fields that are read.

mod fields;

use domain::Timestamp;

fn at() -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000)
}
