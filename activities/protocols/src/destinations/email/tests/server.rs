//! The configured SMTP server.

use super::super::config::redact;
use super::super::request::test;
use super::*;
use crate::smtp::Security;
use secrecy::ExposeSecret as _;

#[test]
fn tls_is_required_unless_plain_text_is_chosen() {
    for (url, expected, security) in [
        (
            "smtps://mail.example.com",
            "smtps://mail.example.com:465",
            Security::Tls,
        ),
        (
            "smtps://u:p@mail.example.com:1465",
            "smtps://mail.example.com:1465",
            Security::Tls,
        ),
        (
            "smtp://mail.example.com",
            "smtp://mail.example.com:587",
            Security::StartTls,
        ),
        (
            "smtp://u:p@mail.example.com?tls=required",
            "smtp://mail.example.com:587",
            Security::StartTls,
        ),
        (
            "smtp://localhost:1025?tls=none",
            "smtp://localhost:1025",
            Security::Plain,
        ),
        (
            "smtp://[::1]:1025/?tls=none",
            "smtp://[::1]:1025",
            Security::Plain,
        ),
    ] {
        let server = Server::parse(url, "settle@example.com").unwrap();
        assert_eq!(
            (server.url.as_str(), server.security),
            (expected, security),
            "{url}"
        );
    }
}

#[test]
fn a_wrong_server_is_refused_without_its_password() {
    for wrong in [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtps://user@mail.example.com",
        "smtps://:hunter2@mail.example.com",
        "smtp://user:hunter2@mail.example.com?tls=none",
        "smtp://user:hunter2@mail.example.com?tls=opportunistic",
        "smtps://user:hunter2@mail.example.com/path",
        "smtps://user:hunter2@mail.example.com#part",
    ] {
        let (field, expected) = Server::parse(wrong, "settle@example.com").unwrap_err();
        assert_eq!(field, "mail.url", "{wrong}");
        assert!(!expected.contains("hunter2"), "{expected}");
    }
    for wrong in [
        "",
        "settle",
        "a@b, c@d",
        "settle@exämple.com",
        "settle@[127.0.0.1]",
        "s <a@b>\r\nBcc: <c@d>",
    ] {
        assert_eq!(
            Server::parse("smtps://mail.example.com", wrong)
                .unwrap_err()
                .0,
            "mail.from",
            "{wrong}"
        );
    }
}

#[test]
fn the_password_is_decoded_and_shown_nowhere() {
    let server = allowed().mail.unwrap();
    let login = server.login.clone().unwrap();
    assert_eq!(
        (login.user.as_str(), login.password.expose_secret()),
        ("user", PASSWORD)
    );
    let request = test(&config(), Timestamp::default(), "1", None).unwrap();
    let shown = format!("{server:?} {:?} {:?} {request:?}", allowed(), config());
    for secret in [PASSWORD, "p%40ss"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_password_in_a_reply_is_redacted() {
    let (plain, login) = ("AHVzZXIAcEBzcy93b3Jk", "cEBzcy93b3Jk");
    for (text, shown) in [
        (
            "535 no such password: p@ss/word".to_owned(),
            "535 no such password: [redacted]",
        ),
        (
            format!("501 AUTH PLAIN {plain} of user"),
            "501 AUTH PLAIN [redacted] of user",
        ),
        (
            format!("501 {login}, p@ss/word"),
            "501 [redacted], [redacted]",
        ),
        (format!("501 {}", &plain[..19]), "501 [redacted]"),
        (format!("501 {}", &login[..6]), "501 [redacted]"),
        ("501 p@ss/w".to_owned(), "501 [redacted]"),
        ("501 p@ss/".to_owned(), "501 p@ss/"),
        (
            "nothing to hide: \u{e9}".to_owned(),
            "nothing to hide: \u{e9}",
        ),
    ] {
        assert_eq!(redact(&config(), &text), shown, "{text}");
    }
    // A password of another length is encoded with padding.
    let server = Server::parse(
        "smtps://user:hunter22@mail.example.com",
        "settle@example.com",
    )
    .unwrap();
    let padded = Config { server, ..config() };
    assert_eq!(
        redact(&padded, "501 AHVzZXIAaHVudGVyMjI= aHVudGVyMjI="),
        "501 [redacted]= [redacted]="
    );
    let server = Server::parse("smtps://mail.example.com", "settle@example.com").unwrap();
    assert_eq!(
        redact(&Config { server, ..config() }, "p@ss/word"),
        "p@ss/word",
        "there is no login"
    );
}
