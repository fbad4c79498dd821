//! Mails to an SMTP server: what arrives, the result of each answer, and that nothing secret is sent in plain text.

use super::ready;
use activities::http::{Http, Parts, of_this_machine};
use domain::{DeliveryId, Timestamp};
use protocols::destinations::{Allowed, Connector, Exchange};
use protocols::http::Rules;
use protocols::smtp::{Reply, Server};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use storage::{Attempt, AttemptClass, EndpointSignal, EventResult, Verdict, fixtures};
use system_tests::mailbox::{Mailbox, Protection};
use uuid::Uuid;

const PASSWORD: &str = "hunter2";
const RETRY: Verdict = Verdict::Retry {
    delay: Duration::from_secs(5),
};
/// The time of the first attempt.
const FIRST: Timestamp = Timestamp::from_millis(1_772_625_600_000);
const HALF_AN_HOUR_MS: i64 = 1_800_000;

/// A destination that uses the SMTP server at a URL.
struct Desk {
    config: Box<dyn Connector>,
    http: Http,
}

impl Desk {
    fn new(url: &str, authority: &[u8], denied: &[&str]) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let mail = Server::parse(url, "settle <settle@example.com>").expect("a server");
        let allowed = Allowed {
            mail: Some(mail),
            ..Allowed::default()
        };
        let fields = json!({ "to": ["ops@example.com", "cto@example.com"] });
        let config = ready::destination("email", &fields, &allowed);
        let tls = ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mail_roots = Some(vec![CertificateDer::from(authority.to_vec())]);
        let denied_networks = denied
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect();
        let parts = Parts {
            tls,
            mail_roots,
            lookup: of_this_machine(),
            transports: Vec::new(),
            total: Duration::from_secs(10),
        };
        Self {
            config,
            http: Http::with_parts(
                Rules {
                    denied_networks,
                    ..Rules::default()
                },
                parts,
            ),
        }
    }

    fn plain(mailbox: &Mailbox) -> Self {
        Self::new(
            &format!("smtp://{}?tls=none", mailbox.address()),
            &mailbox.authority,
            &[],
        )
    }

    fn protected(scheme: &str, mailbox: &Mailbox, authority: &[u8]) -> Self {
        let port = mailbox.address().port();
        Self::new(
            &format!("{scheme}://user:{PASSWORD}@localhost:{port}"),
            authority,
            &[],
        )
    }

    /// Makes attempt `number` at the event, `passed_ms` after the first.
    async fn attempt(&self, number: i64, passed_ms: i64) -> (EventResult, EndpointSignal, Reply) {
        let at = FIRST.plus_millis(passed_ms);
        let letter = json!({ "subject": "[settle] Billing is failing", "text": "Billing is failing\n.\n..\n" });
        let event = Attempt {
            delivery_id: DeliveryId::new(Uuid::from_u128(7)),
            number,
            first_tried_at: (number > 1).then_some(FIRST),
            ..fixtures::attempt("destination.failing", &letter.to_string())
        };
        let request = self
            .config
            .request(at, std::slice::from_ref(&event))
            .expect("a request");
        let reply = self.http.deliver(request).await;
        let exchange = Exchange {
            events: &[event],
            reply: &reply,
            at,
            jitter: 0.5,
        };
        let mut result = self.config.judge(exchange);
        (
            result.events.pop().expect("a verdict"),
            result.endpoint_signal,
            reply.smtp().into_owned(),
        )
    }

    async fn check(&self, number: i64, verdict: Verdict, class: AttemptClass) -> Reply {
        self.check_after(0, number, verdict, class).await
    }

    async fn check_after(
        &self,
        passed_ms: i64,
        number: i64,
        verdict: Verdict,
        class: AttemptClass,
    ) -> Reply {
        let (result, signal, reply) = self.attempt(number, passed_ms).await;
        assert_eq!(
            (result.verdict, result.class),
            (verdict, class),
            "{reply:?}"
        );
        assert_eq!(
            signal == EndpointSignal::Success,
            verdict == Verdict::Delivered,
            "{signal:?}"
        );
        reply
    }
}

fn body(reply: &Reply) -> &str {
    match reply {
        Reply::Answer { text, .. } => text,
        Reply::Failure { message, .. } => message,
    }
}

#[tokio::test]
async fn a_mail_arrives_as_it_is() {
    let mailbox = Mailbox::start(Protection::None);
    let reply = Desk::plain(&mailbox)
        .check(1, Verdict::Delivered, AttemptClass::Success)
        .await;
    assert_eq!(body(&reply), "queued");
    let mails = mailbox.mails();
    assert_eq!(
        (mails.len(), mails[0].to.clone()),
        (1, vec!["ops@example.com".into(), "cto@example.com".into()])
    );
    assert_eq!(mails[0].header("Subject"), "[settle] Billing is failing");
    assert!(
        mails[0]
            .text
            .trim_end()
            .ends_with("\n\nBilling is failing\n.\n.."),
        "dots stay: {}",
        mails[0].text
    );
    let commands = mailbox.commands();
    assert!(
        commands[0] == "EHLO example.com"
            && commands[1].starts_with("MAIL FROM:<settle@example.com>")
    );
}

#[tokio::test]
async fn a_postponed_mail_is_repeated_with_the_same_message_id() {
    let mailbox = Mailbox::start(Protection::None);
    let desk = Desk::plain(&mailbox);
    for (command, line) in [
        ("RCPT", "451 4.3.0 later"),
        ("DATA", "452 full"),
        (".", "451 later"),
    ] {
        mailbox.answer_next(command, line);
        if command == "RCPT" {
            mailbox.answer_next(command, line);
        }
        desk.check(1, RETRY, AttemptClass::ServerError).await;
    }
    mailbox.answer_next("CONNECT", "421 closing");
    desk.check(1, RETRY, AttemptClass::Throttled).await;
    desk.check(1, Verdict::Delivered, AttemptClass::Success)
        .await;
    desk.check(2, Verdict::Delivered, AttemptClass::Success)
        .await;
    let mails = mailbox.mails();
    assert_eq!((mails.len(), &mails[0]), (2, &mails[1]), "the same bytes");
    assert_eq!(
        mails[0].header("Message-ID"),
        "<00000000-0000-0000-0000-000000000007@example.com>"
    );
}

#[tokio::test]
async fn a_server_that_postpones_everybody_is_a_failing_destination() {
    let mailbox = Mailbox::start(Protection::None);
    let desk = Desk::plain(&mailbox);
    let failure = EndpointSignal::Failure { pause: None };
    for (line, expected) in [
        ("450 4.7.1 try later", failure.clone()),
        ("452 4.2.2 mailbox full", EndpointSignal::Neutral),
    ] {
        (0..2).for_each(|_| mailbox.answer_next("RCPT", line));
        let (event, signal, _) = desk.attempt(1, 0).await;
        assert_eq!((event.verdict, signal), (RETRY, expected), "{line}");
    }
    for [of_mailbox, of_server] in [["ops", "cto"], ["cto", "ops"]] {
        mailbox.answer_next(&format!("RCPT TO:<{of_mailbox}@"), "452 4.2.2 mailbox full");
        mailbox.answer_next(&format!("RCPT TO:<{of_server}@"), "451 4.7.1 try later");
        let (event, signal, reply) = desk.attempt(1, 0).await;
        assert_eq!((event.verdict, &signal), (RETRY, &failure), "{of_mailbox}");
        assert!(body(&reply).starts_with("4.7.1 try later\n"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_refused_mail_fails_for_good() {
    let mailbox = Mailbox::start(Protection::None);
    let desk = Desk::plain(&mailbox);
    mailbox.answer_next("RCPT", "550 5.1.1 no such user");
    mailbox.answer_next("RCPT", "550 5.1.1 no such user");
    let reply = desk.check(1, Verdict::Failed, AttemptClass::Refused).await;
    let line = "550 5.1.1 no such user";
    let named = format!(
        "5.1.1 no such user\nnot to ops@example.com: {line}\nnot to cto@example.com: {line}"
    );
    assert_eq!(body(&reply), named);
    mailbox.answer_next(".", "554 5.6.0 spam");
    desk.check(1, Verdict::Failed, AttemptClass::Refused).await;
    // The sender is refused, not the mail.
    mailbox.answer_next("MAIL", "550 5.7.1 who are you");
    desk.check(1, RETRY, AttemptClass::ServerError).await;
    assert_eq!(mailbox.mails(), []);
}

#[tokio::test]
async fn a_mail_goes_to_the_recipients_that_are_accepted() {
    let mailbox = Mailbox::start(Protection::None);
    let desk = Desk::plain(&mailbox);
    for (line, passed_ms) in [
        ("550 5.1.1 no such user", 0),
        ("452 4.2.2 mailbox full", HALF_AN_HOUR_MS),
    ] {
        mailbox.answer_next("RCPT TO:<ops@", line);
        let reply = desk
            .check_after(passed_ms, 4, Verdict::Delivered, AttemptClass::Success)
            .await;
        assert_eq!(
            body(&reply),
            format!("queued\nnot to ops@example.com: {line}")
        );
    }
    assert!(
        mailbox
            .mails()
            .iter()
            .all(|mail| mail.to == ["cto@example.com"])
    );
    // If no recipient is accepted now, one may be accepted later.
    mailbox.answer_next("RCPT TO:<ops@", "550 5.1.1 no such user");
    mailbox.answer_next("RCPT TO:<cto@", "452 4.2.2 mailbox full");
    desk.check(1, RETRY, AttemptClass::ServerError).await;
}

#[tokio::test]
async fn a_postponed_recipient_gets_the_mail_with_the_others_and_once() {
    let mailbox = Mailbox::start(Protection::None);
    let desk = Desk::plain(&mailbox);
    mailbox.answer_next("RCPT TO:<cto@", "451 4.7.1 greylisted");
    let (event, signal, reply) = desk.attempt(1, 0).await;
    assert_eq!(
        (event.verdict, signal),
        (RETRY, EndpointSignal::Neutral),
        "the server accepts the other one"
    );
    assert_eq!(
        body(&reply),
        "4.7.1 greylisted\nnot to cto@example.com: 451 4.7.1 greylisted"
    );
    assert_eq!(mailbox.attempts(), [], "nobody has it yet");
    desk.check(2, Verdict::Delivered, AttemptClass::Success)
        .await;
    let mails = mailbox.mails();
    assert_eq!(
        (mails.len(), mails[0].to.clone()),
        (1, vec!["ops@example.com".into(), "cto@example.com".into()])
    );
    // A server that closes the session refuses all recipients, even one accepted before.
    mailbox.answer_next("RCPT TO:<cto@", "421 4.3.2 closing");
    let reply = desk.check(1, RETRY, AttemptClass::Throttled).await;
    assert_eq!(
        (body(&reply), mailbox.attempts().len()),
        ("4.3.2 closing", 1)
    );
}

#[tokio::test]
async fn the_login_is_sent_over_tls_alone() {
    for (scheme, protection) in [("smtps", Protection::Tls), ("smtp", Protection::StartTls)] {
        let mailbox = Mailbox::start(protection);
        let desk = Desk::protected(scheme, &mailbox, &mailbox.authority);
        desk.check(1, Verdict::Delivered, AttemptClass::Success)
            .await;
        let commands = mailbox.commands();
        let plain: Vec<&String> = commands
            .iter()
            .filter(|command| !command.starts_with('*'))
            .collect();
        let expected: &[&str] = if scheme == "smtp" {
            &["EHLO example.com", "STARTTLS"]
        } else {
            &[]
        };
        assert_eq!(plain, expected);
        assert!(
            commands
                .iter()
                .any(|command| command.starts_with("*AUTH PLAIN ")),
            "{commands:?}"
        );
        mailbox.answer_next("AUTH", "535 5.7.8 wrong password");
        desk.check(1, RETRY, AttemptClass::Forbidden).await;
    }
}

#[tokio::test]
async fn a_server_without_trusted_tls_gets_nothing() {
    let other = Mailbox::start(Protection::None);
    for (scheme, protection, expected) in [
        ("smtps", Protection::Tls, AttemptClass::Tls),
        ("smtp", Protection::StartTls, AttemptClass::Tls),
        ("smtp", Protection::None, AttemptClass::Tls),
    ] {
        let mailbox = Mailbox::start(protection);
        Desk::protected(scheme, &mailbox, &other.authority)
            .check(1, RETRY, expected)
            .await;
        let commands = mailbox.commands();
        assert!(
            !commands
                .iter()
                .any(|command| command.contains("AUTH") || command.contains("MAIL")),
            "{commands:?}"
        );
    }
}

#[tokio::test]
async fn replies_before_tls_are_no_replies() {
    // Replies injected by an attacker in the middle: those to a login and to a whole mail.
    let injected = "250-localhost\r\n250 AUTH PLAIN\r\n235 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 ok\r\n250 injected";
    for (command, reply) in [
        ("CONNECT", "220 localhost"),
        ("EHLO", "250-localhost\r\n250 STARTTLS"),
        ("STARTTLS", "220 go"),
    ] {
        let mailbox = Mailbox::start(Protection::StartTls);
        mailbox.answer_next(command, &format!("{reply}\r\n{injected}"));
        let desk = Desk::protected("smtp", &mailbox, &mailbox.authority);
        let answer = desk.check(1, RETRY, AttemptClass::Tls).await;
        assert!(
            body(&answer).contains("before TLS"),
            "{command}: {answer:?}"
        );
        let commands = mailbox.commands();
        assert!(
            !commands.iter().any(|command| command.starts_with('*')),
            "{commands:?}"
        );
        desk.check(1, Verdict::Delivered, AttemptClass::Success)
            .await;
    }
}

#[tokio::test]
async fn a_reply_without_an_end_is_named() {
    let long = format!("250-{}", "a".repeat(100_000));
    for protection in [Protection::None, Protection::StartTls, Protection::Tls] {
        for command in ["CONNECT", "EHLO", "MAIL", "."] {
            let mailbox = Mailbox::start(protection);
            let desk = match protection {
                Protection::None => Desk::plain(&mailbox),
                Protection::StartTls => Desk::protected("smtp", &mailbox, &mailbox.authority),
                Protection::Tls => Desk::protected("smtps", &mailbox, &mailbox.authority),
            };
            mailbox.answer_next(command, &long);
            let answer = desk.check(1, RETRY, AttemptClass::Unreadable).await;
            assert!(
                body(&answer).contains("more than 1000 bytes"),
                "{protection:?} {command}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_or_silent_is_tried_again() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address: SocketAddr = closed.local_addr().expect("its address");
    drop(closed);
    let desk = Desk::new(&format!("smtp://{address}?tls=none"), &[], &[]);
    desk.check(1, RETRY, AttemptClass::Connect).await;
    let mailbox = Mailbox::at(address, Protection::None);
    desk.check(1, Verdict::Delivered, AttemptClass::Success)
        .await;
    assert_eq!(mailbox.mails().len(), 1);
}

#[tokio::test]
async fn a_denied_network_gets_no_mail() {
    let mailbox = Mailbox::start(Protection::None);
    let url = format!("smtp://localhost:{}?tls=none", mailbox.address().port());
    Desk::new(&url, &[], &["127.0.0.0/8", "::1/128"])
        .check(1, RETRY, AttemptClass::ForbiddenAddress)
        .await;
    assert_eq!(mailbox.commands(), [] as [String; 0]);
}
