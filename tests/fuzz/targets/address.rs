//! The URL of a PostgreSQL database. The input has three lines: the password before and after a marker, and the rest of
//! the URL.
//!
//! The password must appear in no error and in no debug output of the result, even if it is not percent-encoded and a
//! part of it is parsed as the host or database; and percent-encoded values must be decoded.

use super::lines;
use std::fmt::Write;
use storage::{InvalidAddress, PostgresAddress};

const MARKER: &str = "hunter2";

pub fn check(data: &[u8]) {
    let (before, rest) = lines(data);
    let (after, rest) = lines(rest);
    let [Ok(before), Ok(after), Ok(rest)] = [before, after, rest].map(std::str::from_utf8) else {
        return;
    };
    encoded(before, after, rest);
    if [before, after, rest]
        .iter()
        .any(|part| part.contains(MARKER))
    {
        return;
    }
    let url = format!("postgres://settle:{before}{MARKER}{after}@{rest}");
    match PostgresAddress::parse(&url) {
        Err(InvalidAddress(reason)) => assert!(!reason.contains(MARKER), "{url}: {reason}"),
        Ok(address) => {
            assert!(!address.hosts.is_empty(), "{url}");
            for host in &address.hosts {
                let is_password = host
                    .get_password()
                    .is_some_and(|password| contains(password, MARKER));
                let shown = format!("{host:?}");
                // After a question mark, it may be the value of a parameter.
                let is_parameter =
                    !is_password && [before, after].iter().any(|part| part.contains('?'));
                assert!(is_parameter || !shown.contains(MARKER), "{url}: {shown}");
                let same = address.hosts.first().expect("a host");
                assert_eq!(
                    (host.get_user(), host.get_password()),
                    (same.get_user(), same.get_password()),
                    "{url}"
                );
                assert_eq!(host.get_dbname(), same.get_dbname(), "{url}");
            }
        }
    }
}

/// Checks that the database's user, password and name are decoded unchanged, whatever characters they contain.
fn encoded(user: &str, password: &str, name: &str) {
    if [user, password, name].iter().any(|part| part.is_empty()) {
        return;
    }
    let url = format!(
        "postgres://{}:{}@localhost/{}",
        escaped(user),
        escaped(password),
        escaped(name)
    );
    let address =
        PostgresAddress::parse(&url).unwrap_or_else(|invalid| panic!("{url}: {}", invalid.0));
    let [host] = address.hosts.as_slice() else {
        panic!("{url}: {} hosts", address.hosts.len())
    };
    assert_eq!(
        (host.get_user(), host.get_password()),
        (Some(user), Some(password.as_bytes())),
        "{url}"
    );
    assert_eq!(host.get_dbname(), Some(name), "{url}");
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02X}").expect("a text");
        all
    })
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}
