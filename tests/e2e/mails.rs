//! Mails about events: sent over TLS with a login, repeated until the server takes them, and given up when it refuses
//! one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use system_tests::folder::Folder;
use system_tests::mailbox::{Mailbox, Protection};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const PASSWORD: &str = "a-password-of-mails-93c1";
const PURCHASED: &str = "user.subscription.purchased";
const CANCELLED: &str = "user.subscription.cancelled";

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_repeated_until_taken_and_no_log_has_the_password() {
    let (mailbox, folder) = (Mailbox::start(Protection::Tls), Folder::new("mails"));
    let authorities = folder.path().join("authorities.pem");
    let pem =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&mailbox.authority));
    std::fs::write(&authorities, pem).expect("a file of authorities");
    let variables = [
        ("SETTLE_MAIL_URL", format!("smtps://settle:{PASSWORD}@localhost:{}", mailbox.address().port())),
        ("SETTLE_MAIL_FROM", "settle <settle@example.com>".to_owned()),
        ("SSL_CERT_FILE", authorities.display().to_string()),
        ("SETTLE_LOG", "debug".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let mut world = World::start(Setting { window_seconds: 1, variables, ..Setting::default() }).await;
    let id = add(&world).await;

    mailbox.answer_next(".", "451 4.3.0 later");
    world.send("SUBSCRIPTION_PURCHASED", "mails").await;
    wait_status(&world, &id, PURCHASED, "delivered").await;
    let attempts = mailbox.attempts();
    let taken: Vec<bool> = attempts.iter().map(|mail| mail.is_taken).collect();
    assert_eq!((taken, &attempts[0].text), (vec![false, true], &attempts[1].text), "the same mail twice");
    assert!(attempts[0].header("Message-ID").ends_with("@example.com>"), "{attempts:?}");

    mailbox.answer_next("RCPT", "550 5.1.1 no such user");
    world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "mails").await;
    let failed = wait_status(&world, &id, CANCELLED, "failed").await;
    assert_eq!((&failed["attempts"], &failed["last_error"]), (&json!(1), &json!("the mail server answered 550")));
    assert_eq!(mailbox.mails().len(), 1);
    let commands = mailbox.commands();
    assert!(commands.iter().all(|command| command.starts_with('*')), "{commands:?}");
    assert!(commands.iter().any(|command| command.starts_with("*AUTH ")), "{commands:?}");
    let logs = world.installation.logs();
    let hidden = [PASSWORD.to_owned(), STANDARD.encode(format!("\0settle\0{PASSWORD}"))];
    assert!(hidden.iter().all(|hidden| !logs.contains(hidden)), "the password is in the log");
    world.finish().await;
}

/// Adds a destination of mails that waits a second between attempts, and returns its id.
async fn add(world: &World) -> String {
    let body = json!({
        "kind": "email", "name": "on-call", "to": ["ops@example.com"], "events": [PURCHASED, CANCELLED], "schedule": [1, 1, 1],
    });
    let created = world.api.post(&format!("/v1/apps/{}/destinations", world.app_id), &body).await.ok();
    created["id"].as_str().expect("an id").to_owned()
}

/// Waits until the delivery of this event to the destination has the status, and returns it.
async fn wait_status(world: &World, id: &str, event_type: &str, status: &str) -> Value {
    wait::until(SOON, &format!("{event_type} {status}"), async || {
        let deliveries = world.deliveries("mails").await;
        let found = deliveries.iter().find(|one| one["destination_id"] == id && one["event_type"] == event_type);
        found.filter(|one| one["status"] == status).cloned().ok_or_else(|| format!("{found:?}"))
    })
    .await
}
