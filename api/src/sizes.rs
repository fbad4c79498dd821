//! Sizes in bytes as text.

/// Units, largest first.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// Parses a size such as `256KiB` or `2 GiB`, in whole units from `KiB` to `TiB`.
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.trim().strip_suffix(unit)?, bytes)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(*unit)
}

/// Returns a size as text, in the largest unit that gives a whole number.
pub fn text(size: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, bytes)| size > 0 && size.is_multiple_of(*bytes));
    unit.map_or_else(
        || format!("{size} bytes"),
        |(unit, bytes)| format!("{}{unit}", size / bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (written, size) in [
            ("1KiB", 1024),
            ("500MiB", 500 << 20),
            ("2GiB", 2 << 30),
            ("3TiB", 3 << 40),
        ] {
            assert_eq!(
                (bytes(written), text(size)),
                (Some(size), written.to_owned())
            );
        }
        assert_eq!(bytes(" 2 GiB "), Some(2 << 30));
        for wrong in ["", "2", "GiB", "2GB", "-1KiB", "1.5GiB", "99999999999TiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
        assert_eq!(text(1000), "1000 bytes");
    }
}
