//! Tests of the meaning of each part of a database URL.

use super::{Address, Invalid};
use crate::postgres::tls::Tls;
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::config::{ChannelBinding, Host, SslMode, TargetSessionAttrs};

fn parsed(url: &str) -> Address {
    Address::parse(url).unwrap_or_else(|invalid| panic!("{url}: {}", invalid.0))
}

fn refused(url: &str) -> String {
    let Err(Invalid(reason)) = Address::parse(url) else {
        panic!("{url} was accepted")
    };
    reason
}

#[test]
fn a_silent_server_gets_three_seconds() {
    let address = parsed("postgres://h/db");
    assert_eq!(address.timeout, Some(Duration::from_secs(3)));
    let host = &address.hosts[0];
    assert_eq!(host.get_keepalives_idle(), Duration::from_secs(10));
    assert_eq!(host.get_keepalives_interval(), Some(Duration::from_secs(5)));
    assert_eq!(host.get_keepalives_retries(), Some(2));
    assert_eq!(host.get_tcp_user_timeout(), Some(&Duration::from_secs(15)));
}

#[test]
fn limits_in_the_url_replace_the_defaults() {
    let address =
        parsed("postgres://h/db?connect_timeout=9&keepalives_count=7&tcp_user_timeout=800");
    assert_eq!(address.timeout, Some(Duration::from_secs(9)));
    let host = &address.hosts[0];
    assert_eq!(host.get_keepalives_idle(), Duration::from_secs(10));
    assert_eq!(host.get_keepalives_retries(), Some(7));
    assert_eq!(
        host.get_tcp_user_timeout(),
        Some(&Duration::from_millis(800))
    );
    assert_eq!(parsed("postgres://h/db?connect_timeout=0").timeout, None);
}

#[test]
fn every_part_of_a_url_is_honoured() {
    let url = "postgresql://us%40er:p%3Fa%2Fss@h1:5433,h2/d%20b?application_name=a%20b&options=-c%20geqo%3Doff";
    let address = parsed(url);
    assert_eq!(address.hosts.len(), 2);
    for (host, (name, port)) in address.hosts.iter().zip([("h1", 5433), ("h2", 5432)]) {
        assert_eq!(
            (host.get_user(), host.get_password()),
            (Some("us@er"), Some(&b"p?a/ss"[..]))
        );
        assert_eq!(host.get_dbname(), Some("d b"));
        assert_eq!(host.get_application_name(), Some("a b"));
        assert_eq!(host.get_options(), Some("-c geqo=off"));
        assert_eq!(
            (host.get_hosts(), host.get_ports()),
            (&[Host::Tcp(name.to_owned())][..], &[port][..])
        );
    }
    let marked = parsed("postgres://u:p?q@h/db?channel_binding=require");
    assert_eq!(marked.hosts[0].get_password(), Some(&b"p?q"[..]));
    assert_eq!(
        marked.hosts[0].get_channel_binding(),
        ChannelBinding::Require
    );
}

#[test]
fn a_host_is_a_name_an_address_or_a_socket() {
    let socket = parsed("postgres://u@%2Frun%2Fpostgresql/db?sslmode=require");
    assert_eq!(
        socket.hosts[0].get_hosts(),
        [Host::Unix("/run/postgresql".into())]
    );
    assert_eq!(socket.hosts[0].get_ssl_mode(), SslMode::Disable);
    let sockets = parsed("postgres:///db?host=/run/a,/run/b&application_name=a@b");
    assert_eq!(sockets.hosts[1].get_hosts(), [Host::Unix("/run/b".into())]);
    assert_eq!(sockets.hosts[0].get_application_name(), Some("a@b"));
    let both = parsed(
        "postgres:///db?host=a,b&hostaddr=10.0.0.1,10.0.0.2&port=1,2&target_session_attrs=primary",
    );
    let addresses: Vec<&[IpAddr]> = both
        .hosts
        .iter()
        .map(tokio_postgres::Config::get_hostaddrs)
        .collect();
    assert_eq!(
        addresses,
        [
            ["10.0.0.1".parse::<IpAddr>().unwrap()],
            ["10.0.0.2".parse().unwrap()]
        ]
    );
    assert_eq!(both.hosts[1].get_ports(), [2]);
    assert_eq!(
        both.hosts[1].get_target_session_attrs(),
        TargetSessionAttrs::ReadWrite
    );
    assert_eq!(
        parsed("postgres:///db").hosts[0].get_hosts(),
        [Host::Tcp("localhost".to_owned())]
    );
    assert_eq!(
        parsed("postgres://[::1]:7/db").hosts[0].get_hosts(),
        [Host::Tcp("::1".to_owned())]
    );
}

#[test]
fn a_tls_mode_is_at_least_as_strict_as_in_libpq() {
    for (query, mode) in [
        ("", SslMode::Prefer),
        ("sslmode=disable", SslMode::Disable),
        ("sslmode=allow", SslMode::Prefer),
        ("sslmode=prefer&sslrootcert=/none", SslMode::Prefer),
        ("sslmode=require", SslMode::Require),
        ("ssl=true", SslMode::Require),
        ("sslmode=verify-ca", SslMode::Require),
        ("sslmode=verify-full", SslMode::Require),
        ("sslrootcert=system", SslMode::Require),
        ("sslrootcert=system&sslmode=disable", SslMode::Require),
    ] {
        assert_eq!(
            parsed(&format!("postgres://h/db?{query}")).hosts[0].get_ssl_mode(),
            mode,
            "{query}"
        );
    }
    assert_eq!(parsed("postgres://h/db").tls, Tls::default());
}

#[test]
fn a_url_that_cannot_be_honoured_is_refused_without_its_values() {
    for (query, reason) in [
        ("sslmode=strict", "`sslmode` has no valid value"),
        ("gssencmode=require", "gssencmode"),
        ("sslcrl=%2Ftmp%2Fhunter2", "sslcrl"),
        (
            "tcp_user_timeout=hunter2",
            "`tcp_user_timeout` has no valid value",
        ),
        (
            "hostaddr=10.0.0.1,10.0.0.2",
            "it does not name as many ports and addresses as hosts",
        ),
        (
            "host=other",
            "it names hosts both in its parameters and before them",
        ),
        ("connect_timeout=hunter2", "connect_timeout"),
        ("hunter2", "a parameter has no value"),
        (
            "target_session_attrs=standby",
            "`target_session_attrs` must be `read-write`",
        ),
        (
            "target_session_attrs=read-only",
            "`target_session_attrs` must be `read-write`",
        ),
        (
            "target_session_attrs=hunter2",
            "`target_session_attrs` has no valid value",
        ),
    ] {
        let shown = refused(&format!("postgres://u:hunter2@h/db?{query}"));
        assert!(
            shown.contains(reason) && !shown.contains("hunter2"),
            "{query}: {shown}"
        );
    }
}

#[test]
fn a_read_only_host_is_accepted_only_if_it_is_the_only_one() {
    for (url, expected) in [
        ("postgres://h/db", TargetSessionAttrs::ReadWrite),
        ("postgres://a,b/db", TargetSessionAttrs::ReadWrite),
        (
            "postgres://a,b/db?target_session_attrs=read-write",
            TargetSessionAttrs::ReadWrite,
        ),
        (
            "postgres://a,b/db?target_session_attrs=primary",
            TargetSessionAttrs::ReadWrite,
        ),
        (
            "postgres://h/db?target_session_attrs=any",
            TargetSessionAttrs::Any,
        ),
        (
            "postgres://h/db?target_session_attrs=prefer-standby",
            TargetSessionAttrs::Any,
        ),
    ] {
        assert!(
            parsed(url)
                .hosts
                .iter()
                .all(|host| host.get_target_session_attrs() == expected),
            "{url}"
        );
    }
    for value in ["any", "prefer-standby"] {
        let shown = refused(&format!("postgres://a,b/db?target_session_attrs={value}"));
        assert!(
            shown.starts_with("with several hosts `target_session_attrs` must be `read-write`"),
            "{shown}"
        );
    }
}

#[test]
fn an_unencoded_password_appears_in_no_error() {
    for url in [
        "postgres://u:12/cret?hunter2=x@h/db",
        "postgres://u:12/cret?hunter2=%ff@h/db",
        "postgres://u:12/?hunter2@h/db",
        "postgres://u:p@hunter2@h/db",
        "postgres://u:p@h/hunter2@h/db",
    ] {
        let shown = refused(url);
        assert!(!shown.contains("hunter2"), "{url}: {shown}");
    }
    assert!(
        refused("postgres://u:p@ss@h/db").contains("%40"),
        "the error shows the remedy"
    );
    assert_eq!(
        parsed("postgres://u:p%40ss@h/d%40b?options=a@b").hosts[0].get_dbname(),
        Some("d@b")
    );
}
